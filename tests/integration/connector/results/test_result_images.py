"""Images that runs made are results: no input of another run, whoever ran, unless they are named themselves."""

from __future__ import annotations

import numpy as np
import omero.model
import pytest
from omero.rtypes import rint, rstring

from omero_pixclf.config import ClassifierSettings, Recipe
from omero_pixclf.connector.results.annotations import make_reference
from omero_pixclf.connector.results.sink import OmeroSink
from omero_pixclf.connector.results.undo import undo
from omero_pixclf.connector.source import OmeroSource
from omero_pixclf.connector.upload import WellContent, create_container, create_plate, upload_image
from omero_pixclf.objects.summary import ImageSummary
from omero_pixclf.runs.containers import make_summary_row
from omero_pixclf.runs.planning.plan import format_decisions, plan_images
from omero_pixclf.runs.protocols import ResultImage
from omero_pixclf.table import Table
from tests.integration.readers import reader
from tests.integration.results import ENCODE, record

RUN = "20261121T053001-000001"
RECIPE = Recipe(name="nuclei", classifier=ClassifierSettings(project="n.ilp"))


@pytest.fixture
def lab(endpoint, new_lab):
    return new_lab(endpoint, "rwra--")


def make_images(session, info, run_id=RUN, kinds=("segmentation", "labels"), *, recipe="nuclei", complete=True):
    """A run that stores images of its results."""
    said = record(run_id, recipe=recipe)
    sink = OmeroSink(session, encode=ENCODE, new_images=True)
    with sink.begin(info, said) as out:
        for kind in kinds:
            out.save_image(ResultImage(kind, np.zeros((1, 1, 4, 5, 1), np.uint8), channels=["a"], form="image"))
        if complete:
            out.complete(said)


def inputs(session, *targets):
    return [i.key for i in OmeroSource(session).images(targets) if not i.made_by]


def made(session, *targets):
    return {i.name: i.made_by for i in OmeroSource(session).images(targets) if i.made_by}


def test_images_written_beside_their_source_are_no_inputs(session, info):
    make_images(session, info)
    assert inputs(session, info.place.container) == [info.key]
    assert made(session, info.place.container) == {"a.tif segmentation": RUN, "a.tif labels": RUN}
    project = create_container(session, "Project", "p")
    held = omero.model.ProjectDatasetLinkI()
    held.parent, held.child = (
        make_reference("Project", project),
        make_reference("Dataset", int(info.place.container[8:])),
    )
    session.write_once("linking", lambda sf: sf.getUpdateService().saveObject(held), group=session.group_id)
    assert inputs(session, f"Project:{project}") == [info.key]


def test_a_made_image_that_is_named_is_an_input(session, info):
    make_images(session, info, kinds=["labels"])
    (image,) = [i for i in OmeroSource(session).images([info.place.container]) if i.made_by]
    assert inputs(session, image.key) == [image.key]
    assert inputs(session, info.place.container, image.key) == [info.key, image.key]
    make_images(session, next(OmeroSource(session).images([image.key])), "20261121T053002-000002")
    assert inputs(session, info.place.container) == [info.key]  # the results of the result neither
    assert inputs(session, image.key) == [image.key]


def test_what_a_colleague_made_is_no_input(lab):
    owner, colleague = lab.member("owner").session(), lab.member("colleague").session()
    dataset = create_container(owner, "Dataset", "data")
    image = upload_image(owner, reader((1, 1, 20, 30, 1), name="a.tif"), dataset=dataset)
    info = next(OmeroSource(owner).images([f"Image:{image}"]))
    make_images(owner, info)
    assert inputs(colleague, f"Dataset:{dataset}") == [info.key]


@pytest.mark.parametrize("lost", ["entry", "description"])
def test_either_of_its_two_marks_tells_what_a_run_made(session, info, lost):
    make_images(session, info, kinds=["labels"])
    (image,) = [i for i in OmeroSource(session).images([info.place.container]) if i.made_by]
    if lost == "description":
        stored = session.query_objects("select i from Image i where i.id = :id", id=int(image.key[6:]))[0]
        stored.description = rstring("my favourite")
        session.write_once("editing", lambda sf: sf.getUpdateService().saveObject(stored), group=session.group_id)
    else:
        hql = "select l from ImageAnnotationLink l where l.parent.id = :id"
        for one in session.query_objects(hql, id=int(image.key[6:])):
            session.write_once(
                "unlinking", lambda sf, one=one: sf.getUpdateService().deleteObject(one), group=session.group_id
            )
    assert made(session, info.place.container) == {"a.tif labels": RUN}


def test_the_results_dataset_of_a_plate_holds_no_inputs(session):
    plate = create_plate(session, "plate", [WellContent(0, 0, [reader((1, 1, 8, 8, 1), name="A1")])])
    info = next(OmeroSource(session).images([f"Plate:{plate}"]))
    make_images(session, info)
    (dataset,) = session.query_ids("select d.id from Dataset d where d.details.owner.id = :me", me=session.user_id)
    assert inputs(session, f"Dataset:{dataset}") == []
    assert len(made(session, f"Dataset:{dataset}")) == 2
    assert inputs(session, f"Plate:{plate}") == [info.key]


def test_a_source_with_many_entries_stays_an_input(session, info):
    for number in range(3):
        make_images(session, info, f"20261121T05300{number}-00000{number}", recipe=f"r{number}", kinds=["labels"])
    assert inputs(session, info.place.container) == [info.key]
    undo(session, "20261121T053000-000000")
    left = [i for i in OmeroSource(session).images([info.place.container]) if i.made_by]
    assert len(left) == 2


def test_the_plan_lists_what_runs_made_and_does_nothing_with_it(session, sink, info):
    make_images(session, info)
    images = list(OmeroSource(session).images([info.place.container]))
    items = list(plan_images(images, sink, RECIPE, "hash-2", lambda image: None, force=True))
    assert format_decisions(items) == "1 replace, 2 made by runs"
    assert items[1].reason == f"made by run {RUN}; to use it as input, name it: {items[1].image.key}"


def test_looking_for_makers_takes_a_few_queries_for_a_whole_container(session, dataset, monkeypatch):
    infos = [upload_image(session, reader((1, 1, 4, 4, 1), name=str(n)), dataset=dataset) for n in range(6)]
    make_images(session, next(OmeroSource(session).images([f"Image:{infos[0]}"])), kinds=["labels"])
    asked = []
    rows = type(session).query_rows
    monkeypatch.setattr(type(session), "query_rows", lambda s, hql, **k: asked.append(hql) or rows(s, hql, **k))
    assert len(inputs(session, f"Dataset:{dataset}")) == 6
    assert len(asked) <= 7


def _positions(session, plate, *positions):
    """Set wells' rows and columns, in the order of their ids."""
    wells = session.query_objects("select w from Well w where w.plate.id = :id order by w.id", id=plate)
    for well, (row, column) in zip(wells, positions, strict=True):
        well.row, well.column = (None if n is None else rint(n) for n in (row, column))
        session.write_once(
            "placing", lambda sf, well=well: sf.getUpdateService().saveObject(well), group=session.group_id
        )


@pytest.mark.parametrize("position", [(None, None), (None, 3), (0, None)])
def test_a_well_without_place_is_worked_on_and_has_no_name(session, position):
    wells = [WellContent(0, n, [reader((1, 1, 8, 8, 1), name=f"field {n}")]) for n in range(3)]
    plate = create_plate(session, "plate", wells)
    _positions(session, plate, position, (1, 1), (0, 0))
    images = list(OmeroSource(session).images([f"Plate:{plate}"]))
    assert [(i.name, i.place.well) for i in images] == [("field 2", "A1"), ("field 1", "B2"), ("field 0", "")]
    row = _row(images[2])
    assert row["Well_Name"].tolist() == [""] and row["Well"].tolist() == [images[2].place.well_id]
    (again,) = OmeroSource(session).images([images[2].key])
    assert again.place == images[2].place


def test_wells_without_place_have_an_order(session):
    wells = [WellContent(0, n, [reader((1, 1, 8, 8, 1), name=f"field {n}")]) for n in range(3)]
    plate = create_plate(session, "plate", wells)
    _positions(session, plate, (None, None), (None, None), (None, None))
    assert [i.name for i in OmeroSource(session).images([f"Plate:{plate}"])] == ["field 0", "field 1", "field 2"]


def _row(image):
    return make_summary_row(image, ImageSummary({"n": 2}, {"n": 0.5}, 0.5, (1.0,)), {"n": Table(())})


def test_an_image_that_wells_share_has_a_row_for_each(session):
    shared = upload_image(session, reader((1, 1, 8, 8, 1), name="shared"))
    plate = create_plate(session, "plate", [WellContent(0, n, [reader((1, 1, 8, 8, 1), name="own")]) for n in (1, 0)])
    for well in session.query_objects("select w from Well w join fetch w.wellSamples where w.plate.id = :id", id=plate):
        sample = omero.model.WellSampleI()
        sample.image = omero.model.ImageI(shared, False)
        well.addWellSample(sample)
        session.write_once(
            "sharing", lambda sf, well=well: sf.getUpdateService().saveObject(well), group=session.group_id
        )
    second = session.query_ids("select w.id from Well w where w.plate.id = :id and w.column = 1", id=plate)[0]
    for target, order in ((f"Plate:{plate}", ["A1", "A2"]), (f"Image:{shared}", ["A1", "A2"]),
                          (f"Well:{second}", ["A2", "A1"])):  # fmt: skip
        (image,) = [i for i in OmeroSource(session).images([target]) if i.name == "shared"]
        row = _row(image)
        assert row["Well_Name"].tolist() == order
        assert (row["Image"].tolist(), row["Count_n"].tolist()) == ([shared] * 2, [2, 2])
        assert row["Field"].tolist() == [2, 2]
