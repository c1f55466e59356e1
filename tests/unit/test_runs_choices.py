"""What a recipe means by its names, and what is told where a choice was made for people."""

from __future__ import annotations

import dataclasses
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest

from omero_pixclf.config import Recipe, load_recipe
from omero_pixclf.demo import images
from omero_pixclf.errors import ImageError, UsageError
from omero_pixclf.ilastik.project import ClassLabel, Project, read_project
from omero_pixclf.image import ImageInfo, ImageLocation
from omero_pixclf.provenance import RunRecord
from omero_pixclf.runs.planning.channels import class_colors, class_indices, match_channels
from omero_pixclf.runs.planning.plan import PlanItem, plan_images
from omero_pixclf.runs.planning.plan_notes import format_notes

PROJECT = read_project(Path(images.__file__).parent / "plate.ilp")
NOW = datetime(2026, 11, 21, tzinfo=timezone.utc)
RED, GREEN, BLUE = (255, 0, 0), (0, 255, 0), (0, 0, 255)


def project(*classes: tuple[str, tuple[int, int, int]], **changes: Any) -> Project:
    stage = dataclasses.replace(PROJECT.stages[-1], classes=tuple(ClassLabel(*c) for c in classes))
    return dataclasses.replace(PROJECT, stages=(*PROJECT.stages[:-1], stage), **changes)


TWINS = project(("Nucleus", RED), ("Nucleus", GREEN), ("Cell", BLUE))


def recipe(**changes: Any) -> Recipe:
    return load_recipe(
        None, {"classifier.project": "plate.ilp", **{k.replace("__", "."): v for k, v in changes.items()}}
    )


def image(shape: tuple[int, int, int, int, int] = (1, 1, 64, 64, 2), key: str = "Image:1", **more: Any) -> ImageInfo:
    return ImageInfo(
        key, "a", shape, "uint16", more.pop("channels", ("",) * shape[4]), place=ImageLocation("Dataset:1"), **more
    )


def test_two_classes_of_one_name_are_chosen_by_number() -> None:
    with pytest.raises(UsageError, match=r"2 labels called 'Nucleus', numbers 1 and 2.*--label 1"):
        class_indices(recipe(objects__label="Nucleus"), TWINS)
    assert class_indices(recipe(objects__label=["2"]), TWINS) == {"Nucleus 2": 1}
    assert class_indices(recipe(objects__label=["1", "2", "Cell"]), TWINS) == {
        "Nucleus 1": 0,
        "Nucleus 2": 1,
        "Cell": 2,
    }
    assert class_indices(recipe(objects__label=["Nucleus 2"]), TWINS) == {"Nucleus 2": 1}
    assert class_indices(recipe(), TWINS) == {"Nucleus 1": 0}
    assert class_colors(recipe(objects__label=["2", "3"]), TWINS) == {"Nucleus 2": GREEN, "Cell": BLUE}


def test_numbers_choose_classes_of_one_name_each_too_and_names_come_first() -> None:
    assert class_indices(recipe(objects__label=[2]), PROJECT) == {PROJECT.classes[1].name: 1}
    numbered = project(("2", RED), ("1", GREEN))
    assert class_indices(recipe(objects__label="2"), numbered) == {"2": 0}
    for wrong in ("0", "4", "-1", "x", "١"):
        with pytest.raises(UsageError, match=r"has no label.*it has: .*--label"):
            class_indices(recipe(objects__label=wrong), TWINS)


def test_two_channels_of_one_name_are_chosen_by_number() -> None:
    two = image(channels=("DAPI", "DAPI"))
    with pytest.raises(ImageError, match=r"2 channels are called 'DAPI', numbers 0 and 1 .*--channels 0"):
        match_channels(recipe(classifier__channels=["DAPI", "DAPI"]), PROJECT, two)
    assert match_channels(recipe(classifier__channels=[1, 0]), PROJECT, two) == (1, 0)


@pytest.mark.parametrize(
    ("shape", "said"),
    [((1, 2, 64, 64, 1), "--axes cyx"), ((2, 1, 64, 64, 1), "--axes cyx"), ((5, 2, 64, 64, 1), "--axes tcyx")],
)
def test_planes_that_may_be_channels_are_told_with_the_axes_that_help(
    shape: tuple[int, int, int, int, int], said: str
) -> None:
    with pytest.raises(ImageError, match=said):
        match_channels(recipe(), PROJECT, image(shape, key="/data/pages.tif"))
    with pytest.raises(ImageError, match="choose with --channels"):
        match_channels(recipe(), PROJECT, image(shape))


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
