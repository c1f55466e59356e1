"""A run is taken back exactly."""

from __future__ import annotations

import numpy as np
import omero.callbacks
import omero.clients
import omero.cmd
import omero.model
import pytest

from omero_pixclf.connector.results.delete import delete_objects
from omero_pixclf.connector.results.ledger import list_run_records
from omero_pixclf.connector.results.rois import read_outlines, save_outlines
from omero_pixclf.connector.results.sink import OmeroSink
from omero_pixclf.connector.results.undo import undo
from omero_pixclf.connector.source import OmeroSource
from omero_pixclf.connector.upload import WellContent, create_container, create_plate, upload_image
from omero_pixclf.errors import MissingError
from omero_pixclf.runs.protocols import ResultImage
from tests.integration.readers import reader
from tests.integration.results import (
    ENCODE,
    counts,
    dots,
    record,
    rows_of,
    store_tables,
    write,
    write_container,
)


def test_undo_removes_exactly_what_the_run_wrote(session, user, sink, info):
    write(sink, info, record("20261121T053000-000000", recipe="cells"))
    before = counts(user)
    write(sink, info, record("20261121T053001-000001"), objects=1200, form="image")
    write_container(sink, info, "20261121T053001-000001")
    assert counts(user) != before
    gone = undo(session, "20261121T053001-000001").removed
    assert counts(user) == before
    assert gone["Roi"] == 1200
    assert [r.run_id for r in list_run_records(session)] == ["20261121T053000-000000"]


def test_undo_of_a_run_that_is_not_there_says_so(session):
    with pytest.raises(MissingError, match="run nowhere"):
        undo(session, "nowhere")


def test_maps_of_a_plate_lie_in_a_dataset_that_goes_with_them(session, user, sink):
    plate = create_plate(session, "plate", [WellContent(0, 0, [reader((1, 1, 8, 8, 1)), reader((1, 1, 8, 8, 1))])])
    infos = list(OmeroSource(session).images([f"Plate:{plate}"]))
    before = counts(user)
    for info in infos:
        with sink.begin(info, record("20261121T053001-000001")) as out:
            out.save_image(
                ResultImage("segmentation", np.zeros((1, 1, 8, 8, 1), np.uint8), channels=["s"], form="image")
            )
            out.complete(record("20261121T053001-000001"))
    after = counts(user)
    assert (after["Dataset"] - before["Dataset"], after["Image"] - before["Image"]) == (1, 2)
    undo(session, "20261121T053001-000001")
    assert counts(user) == before


def test_undo_of_the_later_run_leaves_the_rows_of_the_earlier(session, user, sink, two):
    first, second = two
    write(sink, first, record("20261121T053001-000001"))
    store_tables(sink, "20261121T053001-000001", [first])
    before = counts(user)
    write(sink, second, record("20261121T053002-000002"))
    store_tables(sink, "20261121T053002-000002", two)
    undo(session, "20261121T053002-000002")
    assert rows_of(sink, first) == [first.key]
    assert counts(user) == before
    undo(session, "20261121T053001-000001")
    assert sink.load_tables(first.place.container, "nuclei") == {}


def test_undo_of_the_earlier_run_takes_its_rows_out_of_the_later_tables(session, user, sink, two):
    first, second = two
    write(sink, second, record("20261121T053002-000002"))
    store_tables(sink, "20261121T053002-000002", [second])
    before = counts(user)
    undo(session, "20261121T053002-000002")
    empty = counts(user)
    write(sink, first, record("20261121T053001-000001"))
    store_tables(sink, "20261121T053001-000001", [first])
    write(sink, second, record("20261121T053002-000002"))
    store_tables(sink, "20261121T053002-000002", two)
    undo(session, "20261121T053001-000001")
    assert rows_of(sink, second) == [second.key]
    assert counts(user) == before
    undo(session, "20261121T053002-000002")
    assert counts(user) == empty


@pytest.fixture
def lab(endpoint, new_lab):
    return new_lab(endpoint, "rwra--")


@pytest.fixture
def drawn(lab):
    """A run with two made images, on the first of which a colleague has drawn."""
    owner, colleague = lab.member("owner"), lab.member("colleague")
    mine = owner.session()
    dataset = create_container(mine, "Dataset", "data")
    image = upload_image(mine, reader((1, 1, 20, 30, 1)), dataset=dataset)
    info = next(OmeroSource(mine).images([f"Image:{image}"]))
    sink = OmeroSink(mine, encode=ENCODE)
    with sink.begin(info, record("20261121T053001-000001")) as out:
        out.save_rois(dots(3), name="nuclei", color=(255, 0, 0))
        for kind in ("probabilities", "labels"):
            out.save_image(ResultImage(kind, np.zeros((1, 1, 4, 5, 1), np.float32), channels=["a"], form="image"))
        out.save_image(
            ResultImage("segmentation", np.zeros((1, 1, 4, 5, 1), np.uint8), channels=["a"], form="attachment-h5")
        )
        out.complete(record("20261121T053001-000001", finished=record("20261121T053001-000001").started))
    write_container(sink, info, "20261121T053001-000001")
    made = [i for i in mine.query_ids("select i.id from Image i order by i.id", group=lab.group) if i != image]
    theirs = colleague.session()
    save_outlines(theirs, dots(2), image=made[0], group=lab.group, name="mine", color=(0, 0, 0), mark="")
    return owner, mine, sink, info, made, theirs


def standing(owner):
    """What of a run's results stands, without the images."""
    return {k: n for k, n in counts(owner).items() if k in ("Roi", "Annotation", "OriginalFile")}


def test_undo_leaves_an_image_on_which_others_drew_and_removes_all_else(drawn):
    owner, mine, sink, info, made, theirs = drawn
    undone = undo(mine, "20261121T053001-000001")
    assert undone.kept == (f"Image:{made[0]}: other users drew ROIs on it",)
    assert (undone.removed["Roi"], undone.removed["Image"], undone.removed["MapAnnotation"]) == (3, 1, 2)
    assert standing(owner) == {"Roi": 2, "Annotation": 0, "OriginalFile": 0}
    assert len(read_outlines(theirs, made[0])) == 2
    assert mine.query_ids("select i.id from Image i where i.id in (:ids)", ids=made) == made[:1]
    assert sink.find_records(info, "nuclei") == []


def test_undoing_again_removes_it_once_the_drawings_are_gone(drawn):
    owner, mine, _, _, made, theirs = drawn
    undo(mine, "20261121T053001-000001")
    again = undo(mine, "20261121T053001-000001")
    assert (dict(again.removed), again.kept) == ({}, (f"Image:{made[0]}: other users drew ROIs on it",))
    delete_objects(theirs, "Roi", [roi for roi, *_ in read_outlines(theirs, made[0])], group=theirs.group_id)
    last = undo(mine, "20261121T053001-000001")
    assert (dict(last.removed), last.kept) == ({"Image": 1}, ())
    assert counts(owner)["Image"] == 1
    with pytest.raises(MissingError, match="20261121T053001-000001"):
        undo(mine, "20261121T053001-000001")


def test_a_new_run_replaces_all_but_the_image_on_which_others_drew(drawn, caplog):
    _, mine, sink, info, made, theirs = drawn
    write(sink, info, record("20261121T053002-000002", recipe_hash="hash-2"), objects=4)
    assert [r.run_id for r in sink.find_records(info, "nuclei")] == ["20261121T053002-000002"]
    assert f"Image:{made[0]}: kept, because other users drew ROIs on it" in caplog.text
    assert mine.query_ids("select i.id from Image i where i.id in (:ids)", ids=made) == made[:1]
    assert len(read_outlines(theirs, made[0])) == 2
    undo(mine, "20261121T053002-000002")
    assert undo(mine, "20261121T053001-000001").kept  # what stays is still known as that run's


def test_an_own_drawing_keeps_no_image(drawn):
    """Whoever undoes a run knows of the own ones."""
    _, mine, _, _, made, theirs = drawn
    delete_objects(theirs, "Roi", [roi for roi, *_ in read_outlines(theirs, made[0])], group=theirs.group_id)
    save_outlines(mine, dots(1), image=made[1], group=mine.group_id, name="own", color=(0, 0, 0), mark="")
    assert undo(mine, "20261121T053001-000001").kept == ()


def duplicate(user, image):
    """A copy of an image as OMERO's Duplicate makes it, with copies of its key-values."""
    request = omero.cmd.Duplicate(targetObjects={"Image": [image]})
    client = user.client()
    handle = client.getSession().submit(request, {"omero.group": str(user.group)})
    callback = omero.callbacks.CmdCallbackI(client, handle)
    callback.loop(100, 500)
    answer = callback.getResponse()
    callback.close(True)
    return int(answer.duplicates["ome.model.core.Image"][0])


@pytest.mark.parametrize("which", ["input", "result"])
def test_undo_leaves_copies_of_images_that_omeros_duplicate_made(session, user, sink, info, which):
    run = "20261121T053001-000001"
    write(sink, info, record(run), form="image")
    (result,) = session.query_ids(
        "select i.id from Image i where i.description like :m", m=f"omero\\_pixclf/run {run}%"
    )
    copy = duplicate(user, int(info.key[6:]) if which == "input" else result)
    undo(session, run)
    left = session.query_ids("select i.id from Image i where i.id in (:ids)", ids=[copy, result, int(info.key[6:])])
    assert sorted(left) == sorted([int(info.key[6:]), copy])


def test_a_copy_of_an_input_is_an_input_too(session, user, sink, info):
    write(sink, info, record("20261121T053001-000001"), form="image")
    copy = duplicate(user, int(info.key[6:]))
    (found,) = OmeroSource(session).images([f"Image:{copy}"])
    (dataset,) = session.query_ids("select d.id from Dataset d where d.id = :id", id=int(info.place.container[8:]))
    held = omero.model.DatasetImageLinkI()
    held.parent, held.child = omero.model.DatasetI(dataset, False), omero.model.ImageI(copy, False)
    session.write_once("linking", lambda sf: sf.getUpdateService().saveObject(held), group=session.group_id)
    images = {i.key: i.made_by for i in OmeroSource(session).images([info.place.container])}
    assert found.key == f"Image:{copy}" and images[info.key] == images[f"Image:{copy}"] == ""


def test_neither_undo_nor_a_new_run_removes_an_image_that_somebody_linked_to_the_key_values(session, user, sink, two):
    raw = int(two[1].key[6:])
    for number in (1, 2):
        write(sink, two[0], record(f"20261121T053001-00000{number}", recipe_hash=f"hash-{number}"), form="image")
        (entry,) = session.query_ids(
            "select a.id from ImageAnnotationLink l join l.child a where l.parent.id = :i and a.ns = :ns",
            i=int(two[0].key[6:]),
            ns="omero_pixclf/run",
        )
        held = omero.model.ImageAnnotationLinkI()
        held.parent, held.child = omero.model.ImageI(raw, False), omero.model.MapAnnotationI(entry, False)
        session.write_once(
            "linking", lambda sf, held=held: sf.getUpdateService().saveObject(held), group=session.group_id
        )
    kept = undo(session, "20261121T053001-000002").kept
    assert session.query_ids("select i.id from Image i where i.id = :id", id=raw) == [raw]
    assert kept == (f"Image:{raw}: its description does not name the run",)
