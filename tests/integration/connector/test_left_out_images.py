"""Images in OMERO that cannot be done are accounted for: gone meanwhile, never imported whole, wells without any."""

from __future__ import annotations

from dataclasses import replace

import pytest

from omero_pixclf.app.execute import run_in_session
from omero_pixclf.app.request import RunRequest
from omero_pixclf.config import load_recipe
from omero_pixclf.connector import hierarchy
from omero_pixclf.connector.results.delete import delete_objects
from omero_pixclf.connector.source import OmeroSource
from omero_pixclf.connector.upload import WellContent, create_plate, upload_image
from omero_pixclf.demo import images as demo_images
from omero_pixclf.runs.planning.plan import plan_images
from omero_pixclf.runs.run import RunFinished, RunPlanned
from tests.integration.readers import reader

RECIPE = load_recipe(None, {"classifier.project": "nuclei.ilp"})


def test_an_image_that_goes_while_it_is_listed_is_refused_and_the_others_are_done(session, two, sink, monkeypatch):
    gone, stays = two

    def describe(session, *page, describe=hierarchy._read_image_infos):
        delete_objects(session, "Image", [int(gone.key[6:])], group=session.group_id)
        return describe(session, *page)

    monkeypatch.setattr(hierarchy, "_read_image_infos", describe)
    source = OmeroSource(session)
    plan = {
        i.image.key: i for i in plan_images(source.images([stays.place.container]), sink, RECIPE, "h", lambda _: None)
    }
    assert plan[stays.key].decision == "due"
    assert plan[gone.key].decision == "refused"
    assert "removed" in plan[gone.key].reason and gone.key in plan[gone.key].reason


def test_an_image_that_goes_while_the_run_is_planned_is_refused_and_the_others_are_done(session, two, sink):
    gone, stays = two

    def images():
        yield stays
        delete_objects(session, "Image", [int(gone.key[6:])], group=session.group_id)
        yield gone

    plan = {i.image.key: i for i in plan_images(images(), sink, RECIPE, "h", lambda _: None)}
    assert (plan[stays.key].decision, plan[gone.key].decision) == ("due", "refused")


def test_a_run_counts_images_that_are_gone_and_images_without_pixels(session, dataset, info, tmp_path, monkeypatch):
    image = upload_image(session, reader((1, 1, 80, 80, 2), name="large"), dataset=dataset)
    (stays,) = OmeroSource(session).images([f"Image:{image}"])
    gone = info
    problem = replace(gone, problem=f"{gone.key}: was removed")
    empty = replace(gone, key="Image:999999", shape=(0, 0, 0, 0, 0), dtype="")
    project = f"{demo_images.__file__.rsplit('/', 1)[0]}/plate.ilp"
    recipe = load_recipe(None, {"classifier.project": project})
    monkeypatch.setattr(OmeroSource, "images", lambda self, targets: iter((problem, stays, empty)))
    request = RunRequest((stays.place.container,), recipe, folder=tmp_path)
    events = list(run_in_session(session, request))
    planned = next(e for e in events if isinstance(e, RunPlanned))
    assert [i.decision for i in planned.items] == ["refused", "due", "refused"]
    assert "no pixels" in planned.items[2].reason
    finished = next(e for e in events if isinstance(e, RunFinished))
    assert finished.failed
    assert [o.state for o in finished.outcomes] == ["refused", "done", "refused"]
    listed = next(tmp_path.rglob("failures.csv")).read_text()
    assert gone.key in listed and "Image:999999" in listed and stays.key not in listed


def test_wells_without_images_are_told(session, caplog):
    wells = [WellContent(0, 0, [reader((1, 1, 8, 8, 1), name="a")]), WellContent(1, 1, [])]
    plate = create_plate(session, "plate", wells, acquisition="run")
    assert [i.name for i in OmeroSource(session).images([f"Plate:{plate}"])] == ["a"]
    (said,) = [r.getMessage() for r in caplog.records if "without images" in r.getMessage()]
    assert said == f"Plate:{plate}: 1 well without images: B2"


@pytest.mark.parametrize("target", ["Dataset", "Image"])
def test_nothing_is_told_of_wells_where_there_is_no_plate(session, two, caplog, target):
    key = two[0].key if target == "Image" else two[0].place.container
    list(OmeroSource(session).images([key]))
    assert "well" not in caplog.text
