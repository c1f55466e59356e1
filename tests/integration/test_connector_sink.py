"""Runs on a server: written, replaced, cleared up and taken back, exactly."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from datetime import datetime, timezone

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from omero_pixclf.connector.ledger import RUN_NS, close_entry, entries_of, entries_on, open_entry, records
from omero_pixclf.connector.removal import remove
from omero_pixclf.connector.rois import read_outlines, rois_marked
from omero_pixclf.connector.sink import OmeroSink
from omero_pixclf.connector.source import OmeroSource
from omero_pixclf.connector.undo import undo
from omero_pixclf.connector.upload import WellContent, create_container, create_plate, upload_image
from omero_pixclf.errors import MissingError, OutputError, ServerError
from omero_pixclf.objects.outline import MaskShape, Outline
from omero_pixclf.record import RunRecord
from omero_pixclf.table import Column, Table
from tests.integration.test_connector_pixels import reader

COUNTED = (
    "Roi",
    "Shape",
    "Annotation",
    "ImageAnnotationLink",
    "DatasetAnnotationLink",
    "PlateAnnotationLink",
    "OriginalFile",
    "Image",
    "Pixels",
    "Channel",
    "Dataset",
    "DatasetImageLink",
)


def write_numbers(path, pixels, info, channels):
    """An encoder that needs no format."""
    path.write_bytes(",".join(channels).encode() + pixels.tobytes())


ENCODE = {"attachment-h5": write_numbers, "attachment-tiff": write_numbers}


def record(run_id, recipe="nuclei", recipe_hash="hash-1", **more):
    facts = {
        "run_id": run_id,
        "image": "",
        "recipe": recipe,
        "recipe_hash": recipe_hash,
        "fingerprint": "Pixels:1",
        "project": "nuclei.ilp",
        "project_sha256": "00",
        "version": "0.1.0",
        "started": datetime(2026, 11, 21, 5, 30, tzinfo=timezone.utc),
    }
    return RunRecord(**{**facts, **more})


def dots(count, at=0):
    """One-pixel objects."""
    return [Outline(i, 0, (MaskShape(0, 0, i + at, i, np.ones((1, 1), bool)),)) for i in range(count)]


def write(sink, info, said, *, objects=3, form="attachment-h5"):
    """A whole run on an image."""
    with sink.begin(info, said) as out:
        ids = out.rois(dots(objects), name="nuclei", color=(255, 0, 0), channel=None)
        out.map("probabilities", np.zeros((1, 1, 4, 5, 2), np.float32), channels=["a", "b"], form=form)
        out.complete(replace(said, finished=said.started, objects={"nuclei": objects}))
    return ids


def counts(person):
    """How many objects of each kind lie in the person's group, by a second client."""
    query = person.client().getSession().getQueryService()
    context = {"omero.group": str(person.group)}
    where = f"x where x.details.group.id = {person.group}"  # a repository's own files are everybody's
    return {k: query.projection(f"select count(x.id) from {k} {where}", None, context)[0][0].val for k in COUNTED}


@pytest.fixture
def dataset(session):
    return create_container(session, "Dataset", "data")


@pytest.fixture
def info(session, dataset):
    image = upload_image(session, reader((1, 1, 20, 30, 1), name="a.tif"), dataset=dataset)
    return next(OmeroSource(session).images([f"Image:{image}"]))


@pytest.fixture
def sink(session):
    return OmeroSink(session, encode=ENCODE)


def summary(*images):
    return Table(
        (
            Column("Image", "image", np.array([int(i.key[6:]) for i in images])),
            Column("N", "long", np.arange(len(images))),
        )
    )


def test_a_run_leaves_rois_a_file_and_a_readable_entry(session, user, sink, info):
    ids = write(sink, info, record("run-1"))
    image = user.gateway().getObject("Image", int(info.key[6:]))
    assert sorted(r.id.val for r in _rois(user, info)) == sorted(ids.tolist())
    (file,) = [a for a in image.listAnnotations() if a.OMERO_TYPE.__name__ == "FileAnnotationI"]
    assert file.getFileName() == "a_probabilities.h5"
    assert file.getNs().endswith("omero_pixclf/probabilities")
    (entry,) = list(image.listAnnotations(ns=RUN_NS))
    said = dict(entry.getValue())
    assert (said["Run ID"], said["State"], said["Image"], said["Objects: nuclei"]) == (
        "run-1",
        "complete",
        info.key,
        "3",
    )
    assert "In work by" not in said


def _rois(person, info):
    gateway = person.gateway()
    return gateway.getRoiService().findByImage(int(info.key[6:]), None, gateway.SERVICE_OPTS).rois


def test_the_previous_run_is_told(session, sink, info):
    said = record("run-1")
    assert sink.previous(info, "nuclei") == []
    write(sink, info, said)
    (previous,) = sink.previous(info, "nuclei")
    assert previous.identity == said.identity
    assert previous.state == "complete"
    assert previous.objects == {"nuclei": 3}
    assert sink.previous(info, "another recipe") == []


def test_a_second_run_of_the_recipe_replaces_the_first(session, user, sink, info):
    write(sink, info, record("run-1"))
    before = counts(user)
    second = write(sink, info, record("run-2", recipe_hash="hash-2"))
    assert counts(user) == before
    assert [r.run_id for r in sink.previous(info, "nuclei")] == ["run-2"]
    assert sorted(r.id.val for r in _rois(user, info)) == sorted(second.tolist())


def test_a_run_of_another_recipe_leaves_the_first(session, sink, info, user):
    write(sink, info, record("run-1"))
    write(sink, info, record("run-2", recipe="cells"))
    assert len(_rois(user, info)) == 6
    assert len(sink.previous(info, "nuclei")) == len(sink.previous(info, "cells")) == 1


def test_the_old_results_stand_until_the_new_are_complete(session, sink, info, user):
    first = write(sink, info, record("run-1"))
    with sink.begin(info, record("run-2")) as out:
        out.rois(dots(2), name="nuclei", color=(0, 0, 0), channel=None)
        assert set(first.tolist()) < {r.id.val for r in _rois(user, info)}
        out.complete(record("run-2"))
    assert len(_rois(user, info)) == 2


def test_a_failed_image_leaves_nothing_and_keeps_the_old_results(session, user, sink, info):
    write(sink, info, record("run-1"))
    before = counts(user)
    with pytest.raises(RuntimeError, match="disk on fire"), sink.begin(info, record("run-2")) as out:
        out.rois(dots(5), name="nuclei", color=(0, 0, 0), channel=None)
        out.map("segmentation", np.zeros((1, 1, 2, 2, 1), np.uint8), channels=["s"], form="attachment-tiff")
        out.map("segmentation", np.zeros((1, 1, 2, 2, 1), np.uint8), channels=["s"], form="image")
        raise RuntimeError("disk on fire")
    assert counts(user) == before
    assert [r.run_id for r in sink.previous(info, "nuclei")] == ["run-1"]


def test_what_a_killed_run_left_is_cleared_by_the_next(session, user, sink, info):
    with sink.begin(info, record("run-2")) as out:
        out.complete(record("run-2"))
    before = counts(user)
    _killed_run(user, info, "run-1")
    assert counts(user) != before
    assert {r.state for r in sink.previous(info, "nuclei")} == {"running", "complete"}
    with sink.begin(info, record("run-3")) as out:
        assert len(sink.previous(info, "nuclei")) == 2
        out.complete(record("run-3"))
    assert counts(user) == before


_KILLED = """
import os, sys
import numpy as np
from omero_pixclf.connector.login import Login
from omero_pixclf.connector.session import connect
from omero_pixclf.connector.source import OmeroSource
from omero_pixclf.connector.sink import OmeroSink
from tests.integration.test_connector_sink import ENCODE, dots, record

host, port, name, image, run = sys.argv[1:]
with connect(Login(host, port=int(port), user=name)) as session:
    info = next(OmeroSource(session).images([image]))
    with OmeroSink(session, encode=ENCODE).begin(info, record(run)) as out:
        out.rois(dots(4), name="nuclei", color=(0, 0, 0), channel=None)
        out.map("probabilities", np.zeros((1, 1, 4, 5, 2), np.float32), channels=["a", "b"], form="attachment-h5")
        out.map("probabilities", np.zeros((1, 1, 4, 5, 2), np.float32), channels=["a", "b"], form="image")
        print("written", flush=True)
        sys.stdin.read()
"""


def _start_run(person, info, run_id):
    """A run in another process, which has written and not completed."""
    where = person.endpoint
    process = subprocess.Popen(
        [sys.executable, "-c", _KILLED, where.host, str(where.port), person.name, info.key, run_id],
        env={**os.environ, "OMERO_PASSWORD": person.password},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline() == "written\n"
    return process


def _killed_run(person, info, run_id):
    process = _start_run(person, info, run_id)
    process.kill()
    process.communicate()


def test_an_interrupted_replacement_shows_and_is_ended_by_the_next_run(session, user, sink, info):
    write(sink, info, record("run-1"))
    before = counts(user)
    entry = open_entry(session, RUN_NS, record("run-2", image=info.key))
    close_entry(session, entry, record("run-2", image=info.key, state="complete"))
    assert [(r.run_id, r.state) for r in sink.previous(info, "nuclei")] == [
        ("run-2", "complete"),
        ("run-1", "complete"),
    ]
    write(sink, info, record("run-3"))
    assert [r.run_id for r in sink.previous(info, "nuclei")] == ["run-3"]
    assert counts(user) == before


def test_a_resumed_run_takes_over_its_own_debris(session, user, sink, info):
    before = counts(user)
    _killed_run(user, info, "run-1")
    write(sink, info, record("run-1"))
    assert len(_rois(user, info)) == 3
    undo(session, "run-1")
    assert counts(user) == before


def test_a_run_gives_way_to_another_process_at_work_on_the_image(session, user, sink, info):
    before = counts(user)
    process = _start_run(user, info, "run-1")
    try:
        with (
            pytest.raises(OutputError, match=f"{info.key}: run run-1 .* at this moment"),
            sink.begin(info, record("run-2")),
        ):
            pass
        assert len(_rois(user, info)) == 4
        assert [r.run_id for r in sink.previous(info, "nuclei")] == ["run-1"]
    finally:
        process.kill()
        process.communicate()
    write(sink, info, record("run-2"))
    undo(session, "run-2")
    assert counts(user) == before


def test_undo_removes_exactly_what_the_run_wrote(session, user, sink, info):
    write(sink, info, record("run-0", recipe="cells"))
    before = counts(user)
    write(sink, info, record("run-1"), objects=1200, form="image")
    write_container(sink, info, "run-1")
    assert counts(user) != before
    gone = undo(session, "run-1")
    assert counts(user) == before
    assert gone["Roi"] == 1200
    assert [r.run_id for r in records(session)] == ["run-0"]


def write_container(sink, info, run_id, rows=1, attachments=()):
    said = record(run_id, finished=datetime(2026, 11, 21, 6, tzinfo=timezone.utc))
    return sink.finish(
        info.place.container, said, {"summary": summary(info), "objects": summary(*[info] * rows)}, list(attachments)
    )


def test_undo_of_a_run_that_is_not_there_says_so(session):
    with pytest.raises(MissingError, match="run nowhere"):
        undo(session, "nowhere")


def test_tables_stand_on_the_container_and_are_replaced(session, user, sink, info, tmp_path):
    picture = tmp_path / "sheet.png"
    picture.write_bytes(b"png")
    write_container(sink, info, "run-1", attachments=[picture])
    before = counts(user)
    written = write_container(sink, info, "run-2", rows=4, attachments=[picture])
    assert counts(user) == before
    standing = sink.tables(info.place.container, "nuclei")
    assert sorted(standing) == ["objects", "summary"]
    assert_array_equal(standing["objects"]["N"], np.arange(4))
    dataset = user.gateway().getObject("Dataset", int(info.place.container[8:]))
    files = {a.getFileName(): a for a in dataset.listAnnotations() if a.OMERO_TYPE.__name__ == "FileAnnotationI"}
    assert sorted(f"FileAnnotation:{a.getId()}" for a in files.values()) == sorted(written.values())
    tables = [a.getNs() for a in files.values() if a.getFile().getMimetype() == "OMERO.tables"]
    assert sorted(tables) == ["omero_pixclf/objects", "openmicroscopy.org/omero/bulk_annotations"]
    assert b"".join(files["sheet.png"].getFileInChunks()) == b"png"


def test_a_container_without_tables_has_none(sink, info):
    assert sink.tables(info.place.container, "nuclei") == {}


def test_the_tables_of_an_orphan_do_not_touch_its_results(session, user, sink):
    image = upload_image(session, reader((1, 1, 20, 30, 1)))
    info = next(OmeroSource(session).images([f"Image:{image}"]))
    write(sink, info, record("run-1"))
    write_container(sink, info, "run-1")
    assert len(_rois(user, info)) == 3
    assert len(sink.previous(info, "nuclei")) == 1
    assert sorted(sink.tables(info.key, "nuclei")) == ["objects", "summary"]


def test_a_map_becomes_an_image_beside_its_source(session, user, sink, info, dataset):
    maps = np.random.default_rng(0).random((1, 1, 20, 30, 2)).astype(np.float32)
    with sink.begin(replace(info, pixel_size_um=(None, 0.5, 0.25)), record("run-1")) as out:
        out.map("probabilities", maps, channels=["nuclei", "background"], form="image")
        out.complete(record("run-1"))
    (made,) = [i for i in OmeroSource(session).images([f"Dataset:{dataset}"]) if i.key != info.key]
    assert (made.name, made.dtype, made.channels) == ("a.tif probabilities", "float32", ("nuclei", "background"))
    assert made.pixel_size_um == (None, 0.5, 0.25)
    stored = user.gateway().getObject("Image", int(made.key[6:]))
    assert_array_equal(stored.getPrimaryPixels().getPlane(0, 1, 0), maps[0, 0, :, :, 1])
    assert [dict(a.getValue())["Run ID"] for a in stored.listAnnotations(ns=RUN_NS)] == ["run-1"]


def test_maps_of_a_plate_lie_in_a_dataset_that_goes_with_them(session, user, sink):
    plate = create_plate(session, "plate", [WellContent(0, 0, [reader((1, 1, 8, 8, 1)), reader((1, 1, 8, 8, 1))])])
    infos = list(OmeroSource(session).images([f"Plate:{plate}"]))
    before = counts(user)
    for info in infos:
        with sink.begin(info, record("run-1")) as out:
            out.map("segmentation", np.zeros((1, 1, 8, 8, 1), np.uint8), channels=["s"], form="image")
            out.complete(record("run-1"))
    after = counts(user)
    assert (after["Dataset"] - before["Dataset"], after["Image"] - before["Image"]) == (1, 2)
    undo(session, "run-1")
    assert counts(user) == before


@pytest.mark.parametrize(
    ("permissions", "expected"),
    [("rw----", "not visible"), ("rwr---", "read-only"), ("rwra--", None), ("rwrw--", None)],
)
def test_what_a_member_may_do_on_a_colleagues_image(endpoint, new_lab, permissions, expected):
    lab = new_lab(endpoint, permissions)
    owner, member = lab.member("owner"), lab.member("member")
    theirs = owner.session()
    dataset = create_container(theirs, "Dataset", "data")
    image = upload_image(theirs, reader((1, 1, 20, 30, 1)), dataset=dataset)
    info = next(OmeroSource(theirs).images([f"Image:{image}"]))
    sink = OmeroSink(member.session(), encode=ENCODE)
    refused = sink.refusal(info)
    if expected is not None:
        assert expected in refused
        assert info.key in refused
        with pytest.raises(ServerError), sink.begin(info, record("run-1")) as out:
            out.rois(dots(1), name="n", color=(0, 0, 0), channel=None)
        return
    assert refused is None
    ids = write(sink, info, record("run-1"))
    write_container(sink, info, "run-1")
    assert sorted(r.id.val for r in _rois(owner, info)) == sorted(ids.tolist())
    assert {r.details.owner.id.val for r in _rois(owner, info)} == {member.ident}


def test_an_administrator_may_not_write_into_a_private_group(endpoint, new_lab):
    lab = new_lab(endpoint, "rw----")
    theirs = lab.member("owner").session()
    dataset = create_container(theirs, "Dataset", "data")
    image = upload_image(theirs, reader((1, 1, 20, 30, 1)), dataset=dataset)
    info = next(OmeroSource(theirs).images([f"Image:{image}"]))
    refused = OmeroSink(lab.root().session(), encode=ENCODE).refusal(info)
    assert refused.startswith(f"{info.key}: root may not annotate what belongs to {theirs.user_name} in the private")


def test_images_into_a_colleagues_dataset_are_refused_before_the_work(endpoint, new_lab):
    lab = new_lab(endpoint, "rwra--")
    owner, member = lab.member("owner"), lab.member("member")
    theirs = owner.session()
    dataset = create_container(theirs, "Dataset", "data")
    image = upload_image(theirs, reader((1, 1, 20, 30, 1)), dataset=dataset)
    info = next(OmeroSource(theirs).images([f"Image:{image}"]))
    sink = OmeroSink(member.session(), encode=ENCODE, new_images=True)
    assert "may not put images into" in sink.refusal(info)


@pytest.mark.parametrize("role", ["member", "root"])
def test_others_results_on_the_same_image_are_never_touched(endpoint, new_lab, role):
    """Also not by an administrator, and not with the same recipe and the same run's id."""
    lab = new_lab(endpoint, "rwra--")
    owner = lab.member("owner")
    theirs = owner.session()
    dataset = create_container(theirs, "Dataset", "data")
    image = upload_image(theirs, reader((1, 1, 20, 30, 1)), dataset=dataset)
    info = next(OmeroSource(theirs).images([f"Image:{image}"]))
    their_sink = OmeroSink(theirs, encode=ENCODE)
    write(their_sink, info, record("run-1"))
    write_container(their_sink, info, "run-1")
    before, said = counts(owner), _everything(theirs, info)

    mine = (lab.member("member") if role == "member" else lab.root()).session()
    my_sink = OmeroSink(mine, encode=ENCODE)
    assert my_sink.previous(info, "nuclei") == []
    for run in ("run-1", "run-2"):
        write(my_sink, info, record(run))
        write_container(my_sink, info, run)
    undo(mine, "run-2")
    with pytest.raises(MissingError):
        undo(mine, "run-1")
    assert counts(owner) == before
    assert _everything(theirs, info) == said


def _everything(session, info):
    """All that a user's runs left, with its content."""
    rois = [
        (roi, name, [s.bits.tobytes() for s in o.shapes]) for roi, name, o in read_outlines(session, int(info.key[6:]))
    ]
    tables = {
        k: list(t.rows()) for k, t in OmeroSink(session, encode={}).tables(info.place.container, "nuclei").items()
    }
    return rois, tables, entries_of(session)


def test_a_roi_of_a_lost_answer_is_found_before_completing(session, sink, info):
    """What a server carried out after the connection broke is not left over."""
    with sink.begin(info, record("run-1")) as out:
        ids = out.rois(dots(2), name="nuclei", color=(0, 0, 0), channel=None)
        (entry,) = entries_on(session, RUN_NS, info.key)
        OmeroSinkGhost(session, info, entry.mark).save()
        assert len(rois_marked(session, int(info.key[6:]), entry.mark)) == 3
        out.complete(record("run-1"))
    assert rois_marked(session, int(info.key[6:]), entry.mark) == ids.tolist()


class OmeroSinkGhost:
    """A request that arrives late."""

    def __init__(self, session, info, mark):
        self.session, self.info, self.mark = session, info, mark

    def save(self):
        from omero_pixclf.connector.rois import save_outlines

        save_outlines(
            self.session,
            dots(1),
            image=int(self.info.key[6:]),
            group=self.session.group_id,
            name="ghost",
            color=(0, 0, 0),
            channel=None,
            mark=self.mark,
        )


def test_an_entry_that_another_run_cleared_away_fails_the_image(session, sink, info, user):
    before = counts(user)
    with pytest.raises(MissingError), sink.begin(info, record("run-1")) as out:
        out.rois(dots(2), name="nuclei", color=(0, 0, 0), channel=None)
        (entry,) = entries_on(session, RUN_NS, info.key)
        session.write("x", lambda sf: _delete(sf, entry.annotation))
        out.complete(record("run-1"))
    assert counts(user) == before


def test_rois_of_an_image_that_was_removed_meanwhile_are_not_left(session, sink, info, user):
    with pytest.raises(MissingError, match=info.key), sink.begin(info, record("run-1")) as out:
        remove(session, "Image", [int(info.key[6:])], group=session.group_id)
        out.rois(dots(2), name="nuclei", color=(0, 0, 0), channel=None)
        out.complete(record("run-1"))
    assert counts(user)["Roi"] == 0


def _delete(factory, annotation):
    from omero_pixclf.connector.removal import _submit

    _submit(factory, "MapAnnotation", [annotation], {"omero.group": "-1"})


def test_a_users_own_pairs_under_our_namespace_are_left_alone(session, user, sink, info):
    import omero.gateway

    gateway = user.gateway()
    gateway.SERVICE_OPTS.setOmeroGroup(str(user.group))
    pairs = omero.gateway.MapAnnotationWrapper(gateway)
    pairs.setNs(RUN_NS)
    pairs.setValue([["note", "mine"]])
    pairs.save()
    gateway.getObject("Image", int(info.key[6:])).linkAnnotation(pairs)
    write(sink, info, record("run-1"))
    undo(session, "run-1")
    (left,) = list(user.gateway().getObject("Image", int(info.key[6:])).listAnnotations(ns=RUN_NS))
    assert left.getValue() == [("note", "mine")]


def test_an_open_entry_names_its_process(session, info):
    entry = open_entry(session, RUN_NS, record("run-1", image=info.key))
    assert f"process {os.getpid()} " in entries_on(session, RUN_NS, info.key)[0].worker
    assert entry.mark.endswith(f"#{entry.annotation}")


def test_tables_that_changed_since_they_were_merged_are_not_overwritten(session, user, sink, two):
    container = two[0].place.container
    other = OmeroSink(user.session(), encode=ENCODE)
    for each in (sink, other):
        assert each.tables(container, "nuclei") == {}
    _merged(sink, "run-1", two)
    before = counts(user)
    with pytest.raises(OutputError, match=f"{container}: another run stored tables of nuclei"):
        _merged(other, "run-2", two[:1])
    assert counts(user) == before
    assert _rows(other, two[0]) == [i.key for i in two]
    _merged(other, "run-2", two)
    assert counts(user) == before


@pytest.fixture
def two(session, dataset):
    """Two images in one dataset."""
    images = [upload_image(session, reader((1, 1, 20, 30, 1), name=n), dataset=dataset) for n in ("a.tif", "b.tif")]
    return list(OmeroSource(session).images([f"Image:{i}" for i in images]))


def _merged(sink, run_id, infos):
    said = record(run_id, finished=datetime(2026, 11, 21, 6, tzinfo=timezone.utc))
    sink.finish(infos[0].place.container, said, {"summary": summary(*infos)}, [])


def _rows(sink, info):
    return [f"Image:{i}" for i in sink.tables(info.place.container, "nuclei")["summary"]["Image"].tolist()]


def test_undo_of_the_later_run_leaves_the_rows_of_the_earlier(session, user, sink, two):
    first, second = two
    write(sink, first, record("run-1"))
    _merged(sink, "run-1", [first])
    before = counts(user)
    write(sink, second, record("run-2"))
    _merged(sink, "run-2", two)
    undo(session, "run-2")
    assert _rows(sink, first) == [first.key]
    assert counts(user) == before
    undo(session, "run-1")
    assert sink.tables(first.place.container, "nuclei") == {}


def test_undo_of_the_earlier_run_takes_its_rows_out_of_the_later_tables(session, user, sink, two):
    first, second = two
    write(sink, second, record("run-2"))
    _merged(sink, "run-2", [second])
    before = counts(user)
    undo(session, "run-2")
    empty = counts(user)
    write(sink, first, record("run-1"))
    _merged(sink, "run-1", [first])
    write(sink, second, record("run-2"))
    _merged(sink, "run-2", two)
    undo(session, "run-1")
    assert _rows(sink, second) == [second.key]
    assert counts(user) == before
    undo(session, "run-2")
    assert counts(user) == empty
