"""Which channels and classes a recipe means by names and numbers."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from omero_pixclf.config import Recipe, load_recipe
from omero_pixclf.demo import images
from omero_pixclf.errors import ImageError, UsageError
from omero_pixclf.ilastik.project import ClassLabel, Project, read_project
from omero_pixclf.image import ImageInfo, ImageLocation
from omero_pixclf.runs.planning.channels import class_colors, class_indices, match_channels

PROJECT = read_project(Path(images.__file__).parent / "plate.ilp")


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
