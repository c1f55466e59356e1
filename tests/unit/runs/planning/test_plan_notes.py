"""Notes of a plan: other projects of the same name, and axes that may be confused."""

from __future__ import annotations

import dataclasses
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest

from omero_pixclf.config import Recipe, load_recipe
from omero_pixclf.demo import images
from omero_pixclf.ilastik.project import Project, read_project
from omero_pixclf.image import ImageInfo, ImageLocation
from omero_pixclf.provenance import RunRecord
from omero_pixclf.runs.planning.plan import PlanItem, plan_images
from omero_pixclf.runs.planning.plan_notes import format_notes

PROJECT = read_project(Path(images.__file__).parent / "plate.ilp")


NOW = datetime(2026, 11, 21, tzinfo=timezone.utc)


def recipe(**changes: Any) -> Recipe:
    return load_recipe(
        None, {"classifier.project": "plate.ilp", **{k.replace("__", "."): v for k, v in changes.items()}}
    )


def image(shape: tuple[int, int, int, int, int] = (1, 1, 64, 64, 2), key: str = "Image:1", **more: Any) -> ImageInfo:
    return ImageInfo(
        key, "a", shape, "uint16", more.pop("channels", ("",) * shape[4]), place=ImageLocation("Dataset:1"), **more
    )


class Sink:
    """Earlier results of one image."""

    def __init__(self, *earlier: RunRecord) -> None:
        self.earlier = earlier

    def prefetch(self, images: object, recipe: str) -> None:
        """Nothing to look up."""

    def find_records(self, image: ImageInfo, recipe: str) -> list[RunRecord]:
        return [r for r in self.earlier if r.recipe == recipe]

    def explain_refusal(self, image: ImageInfo) -> None:
        """All may be written."""


def earlier(sha256: str, *classes: str, name: str = "plate") -> RunRecord:
    found = dict.fromkeys(classes, 3)
    return RunRecord("old", "Image:1", name, "h", "f", "plate.ilp", sha256, "1", NOW, NOW, "complete", found)


def plan(one: ImageInfo, made: Recipe, with_project: Project, *standing: RunRecord, force: bool = False) -> PlanItem:
    sink: Any = Sink(*standing)
    (item,) = plan_images([one], sink, made, "new", lambda _: None, force=force, project=with_project)
    return item


def test_results_of_another_project_of_the_same_name_are_not_replaced_silently() -> None:
    named = recipe().called_after(PROJECT.name)
    label = PROJECT.classes[0].name
    same = plan(image(), named, PROJECT, earlier(PROJECT.sha256, label))
    assert (same.decision, same.note) == ("replace", "")
    retrained = plan(image(), named, PROJECT, earlier("0" * 64, label))
    assert retrained.decision == "replace"
    assert "another plate.ilp" in retrained.note and "00000000" in retrained.note and "--name" in retrained.note
    foreign = plan(image(), named, PROJECT, earlier("0" * 64, "Mitochondrion"))
    assert foreign.decision == "refused"
    assert all(w in foreign.reason for w in ("run old", "another plate.ilp", "Mitochondrion", "--name", "--force"))
    assert plan(image(), named, PROJECT, earlier("0" * 64, "Mitochondrion"), force=True).decision == "replace"
    own = plan(image(), recipe(name="mine"), PROJECT, earlier("0" * 64, "Mitochondrion", name="mine"))
    assert own.decision == "replace" and "another" in own.note


def on(axes: str) -> Project:
    return dataclasses.replace(PROJECT, lane=dataclasses.replace(PROJECT.lane, axes=axes, shape=None))


@pytest.mark.parametrize(
    ("axes", "shape", "key", "said"),
    [
        ("tyxc", (1, 9, 64, 64, 2), "Image:1", "--dims 2d"),
        ("tyxc", (1, 9, 64, 64, 2), "/data/a.tif", "--axes"),
        ("zyxc", (9, 1, 64, 64, 2), "/data/a.tif", "--axes"),
        ("tyxc", (9, 1, 64, 64, 2), "Image:1", ""),
        ("tyxc", (3, 9, 64, 64, 2), "Image:1", ""),
        ("tzyxc", (1, 9, 64, 64, 2), "Image:1", ""),
        ("yxc", (1, 9, 64, 64, 2), "Image:1", ""),
        ("", (1, 9, 64, 64, 2), "Image:1", ""),
    ],
)
def test_a_time_lapse_stored_as_z_is_told(
    axes: str, shape: tuple[int, int, int, int, int], key: str, said: str
) -> None:
    item = plan(image(shape, key), recipe().called_after(PROJECT.name), on(axes))
    assert item.decision == "due"
    assert said in item.note and bool(item.note) == bool(said)


def test_who_names_the_dimensions_is_told_nothing() -> None:
    for dims in ("2d", "3d"):
        assert plan(image((1, 9, 64, 64, 2)), recipe(objects__dims=dims), on("tyxc")).note == ""


def test_a_note_is_told_once_with_the_number_of_images() -> None:
    assert format_notes(["a", "", "a", "b"]) == ["note on 2 images: a", "note on 1 image: b"]
