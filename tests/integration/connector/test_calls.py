"""A run asks the server for few things per image, and one image that breaks its connection does not end it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from omero_pixclf.app.execute import run_in_omero
from omero_pixclf.app.request import RunRequest
from omero_pixclf.config import ClassifierSettings, ObjectSettings, Recipe
from omero_pixclf.connector.upload import create_container, upload_image
from omero_pixclf.demo.images import plate_field
from omero_pixclf.demo.seed import scene_reader
from omero_pixclf.image import ArrayReader
from omero_pixclf.runs.execution.serial import ImageOutcome
from omero_pixclf.runs.run import RunFinished
from tests.integration.recorded import recording

PROJECT = Path(__file__).parents[3] / "omero_pixclf" / "demo" / "plate.ilp"


@pytest.fixture
def recorded(tmp_path):
    with recording(tmp_path / "data") as made:
        yield made


@pytest.fixture
def person(recorded, new_lab, monkeypatch):
    made = new_lab(recorded.endpoint).member()
    monkeypatch.setenv("OMERO_PASSWORD", made.password)
    return made


def small_images(session, count):
    dataset, whole = create_container(session, "Dataset", "data"), scene_reader(plate_field("A2", 3))
    shape = (*whole.info.shape[:2], 64, 64, whole.info.shape[4])
    ids = []
    for number in range(count):
        place = slice(8 * number, 8 * number + 64)
        info = replace(whole.info, name=f"{number}.tif", shape=shape)
        part = ArrayReader(info, whole.pixels[:, :, place, :64])
        ids.append(upload_image(session, part, dataset=dataset))
    return dataset, ids


def request(dataset, folder, **more):
    recipe = Recipe(
        name="nuclei", classifier=ClassifierSettings(project=str(PROJECT)), objects=ObjectSettings(min_size=20)
    )
    return RunRequest((f"Dataset:{dataset}",), recipe, folder=folder, threads=1, **more)


def run(recorded, person, wanted):
    recorded.calls.clear()
    return list(run_in_omero(person.login, wanted))


def test_a_run_asks_the_server_for_few_things_per_image(recorded, person, tmp_path):
    few, many = 4, 20
    totals = []
    for count in (few, many):
        dataset, _ = small_images(person.session(), count)
        assert not run(recorded, person, request(dataset, tmp_path / str(count)))[-1].failed
        totals.append(recorded.counts())
    grown = totals[1] - totals[0]
    each = {name: count / (many - few) for name, count in grown.items()}
    assert sum(n for name, n in each.items() if name.startswith("ServiceFactory.")) <= 1.1  # one raw store
    assert each["Query.projection"] <= 5
    assert sum(each.values()) <= 14


def test_a_plan_looks_many_images_up_at_once(recorded, person, tmp_path):
    dataset, _ = small_images(person.session(), 12)
    assert not run(recorded, person, request(dataset, tmp_path))[-1].failed
    again = run(recorded, person, request(dataset, tmp_path))
    assert {o.state for o in again if isinstance(o, ImageOutcome)} == {"skipped"}
    assert sum(recorded.counts().values()) < 60


@pytest.mark.parametrize("operation", ["saveAndReturnIds", "getTile"])
def test_an_image_that_breaks_the_connection_again_and_again_fails_and_the_others_are_done(
    recorded, person, tmp_path, operation
):
    dataset, images = small_images(person.session(), 3)
    wanted = request(dataset, tmp_path)
    stores = {}

    def break_connection(seen, arguments):
        """As a server does with a message that is larger than it takes."""
        if seen.operation == "setPixelsId":
            stores[id(seen.servant)] = arguments[0]
        of_image = {
            "saveAndReturnIds": lambda: arguments[0] and arguments[0][0].image.id.val == images[1],
        }.get(seen.operation, lambda: stores.get(id(seen.servant)) == pixels[images[1]])
        if seen.operation == operation and of_image():
            seen.current.con.close(True)

    rows = person.session().query_rows("select p.image.id, p.id from Pixels p where p.image.id in (:ids)", ids=images)
    pixels = dict(rows)
    with recorded.watched_by(break_connection):
        events = run(recorded, person, wanted)
    states = {o.image.key: o.state for o in events if isinstance(o, ImageOutcome)}
    assert isinstance(events[-1], RunFinished)
    assert states == {f"Image:{i}": "failed" if i == images[1] else "done" for i in images}
    (failed,) = [o for o in events if isinstance(o, ImageOutcome) and o.state == "failed"]
    assert "although the server answers" in failed.reason
    again = run(recorded, person, wanted)
    assert not again[-1].failed
