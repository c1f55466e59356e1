"""Plate heat maps and the names of wells."""

from __future__ import annotations

import io
import re
from collections.abc import Sequence

import numpy as np
import pytest
from PIL import Image

from omero_pixclf.report.figures import RenderedFigure
from omero_pixclf.report.heatmap import draw_heat_map, well_means
from omero_pixclf.report.wells import plate_shape, plate_slots, well_name, well_position
from omero_pixclf.table import Column, Table


def page(table: Table, title: str = "x") -> RenderedFigure:
    made = draw_heat_map(table, title=title)
    assert made is not None
    return made


def summary(wells: Sequence[str], counts: Sequence[int], shares: Sequence[float] | None = None) -> Table:
    given = [0.25] * len(wells) if shares is None else shares
    return Table((
        Column("Well_Name", "string", np.array(wells, object)),
        Column("Count_Cell_body", "long", np.array(counts, np.int64), description="objects: Cell body"),
        Column("Area_fraction_Cell_body", "double", np.array(given, np.float64)),
    ))  # fmt: skip


@pytest.mark.parametrize("row", [0, 7, 25, 26, 31])
def test_names_of_wells_are_read_as_they_are_written(row: int) -> None:
    assert well_position(well_name(row, 4)) == (row, 4)


@pytest.mark.parametrize(
    ("name", "place"), [("a1", (0, 0)), (" H012 ", (7, 11)), ("", None), ("A0", None), ("12", None), ("Well 3", None)]
)
def test_names_that_are_no_wells_are_told_apart(name: str, place: tuple[int, int] | None) -> None:
    assert well_position(name) == place


def test_extents_that_no_plate_has_are_not_drawn() -> None:
    table = summary(["A1", "B2"], [1, 2])
    wells = well_means(table, "Count_Cell_body", (10**6, 10**6))
    assert wells is not None and wells.values.shape == (2, 3)
    assert well_means(summary(["A1", "ZZ999"], [1, 2]), "Count_Cell_body") is None
    assert draw_heat_map(summary(["A1", "ZZ999"], [1, 2]), title="x") is None


@pytest.mark.parametrize(("last", "shape"), [("B3", (2, 3)), ("H12", (8, 12)), ("G11", (8, 12)), ("P24", (16, 24))])
def test_a_plate_is_the_smallest_usual_one_that_has_all_wells(last: str, shape: tuple[int, int]) -> None:
    row, column = well_position(last) or (0, 0)
    assert plate_shape(row + 1, column + 1) == shape
    wells = well_means(summary(["A1", last], [1, 2]), "Count_Cell_body")
    assert wells is not None and wells.values.shape == shape


def test_a_well_has_the_mean_of_its_fields_and_the_number_of_them() -> None:
    wells = well_means(summary(["A1", "B3", "A1", "A2"], [10, 7, 20, 0]), "Count_Cell_body")
    assert wells is not None
    np.testing.assert_array_equal(wells.values, [[15, 0, np.nan], [np.nan, np.nan, 7]])
    np.testing.assert_array_equal(wells.fields, [[2, 1, 0], [0, 0, 1]])


def test_nan_is_left_out_of_means() -> None:
    wells = well_means(summary(["A1", "A1", "A2"], [1, 1, 1], [0.5, np.nan, np.nan]), "Area_fraction_Cell_body")
    assert wells is not None
    assert wells.values[0, 0] == 0.5 and np.isnan(wells.values[0, 1])


def test_images_in_which_a_class_was_not_looked_for_are_left_out_of_means() -> None:
    wells = well_means(summary(["A1", "A1", "B2"], [7, -1, -1]), "Count_Cell_body")
    assert wells is not None
    assert (wells.values[0, 0], wells.fields[0, 0], wells.fields[1, 1]) == (7, 1, 0)
    assert np.isnan(wells.values[1, 1])


def test_a_plate_that_is_known_is_drawn_as_it_is_unless_a_well_lies_outside() -> None:
    table = summary(["A1", "B2"], [1, 2])
    known = well_means(table, "Count_Cell_body", (8, 12))
    assert known is not None and known.values.shape == (8, 12)
    wrong = well_means(table, "Count_Cell_body", (1, 1))
    assert wrong is not None and wrong.values.shape == (2, 3)


@pytest.mark.parametrize(
    "table",
    [
        Table(()),
        Table((Column("Count_A", "long", np.array([3])),)),
        summary([], []),
        summary(["not a well"], [3]),
    ],
    ids=["nothing", "a dataset", "no rows", "no wells"],
)
def test_there_is_no_heat_map_off_plates(table: Table) -> None:
    assert draw_heat_map(table, title="x") is None


def test_the_heat_map_is_darker_where_there_is_more() -> None:
    panel = page(summary(["A1", "A2", "A3", "B1", "B2", "B3"], [0, 50, 100, 100, 100, 100])).panels[0]
    image = np.asarray(Image.open(io.BytesIO(panel.picture)).convert("L")).astype(float)
    height, width = image.shape
    dots, left, cell = 150, 0.45, 1.1  # per inch; inches: where the wells begin, and how large they are
    row = image[round(height - (0.2 + 1.75 * cell) * dots)]  # above the numbers of row A
    light = [row[round((left + (n + 0.5) * cell) * dots)] for n in range(3)]
    assert light[0] > light[1] + 50 > light[2] + 100
    assert width < 800


def test_panels_say_in_words_what_they_show() -> None:
    texts = [p.text for p in page(summary(["A1", "A1", "A2"], [4, 6, 90], [0.1, 0.1, 0.5])).panels]
    assert texts == [
        "Plate heat map. Cell body: objects per image, mean of 1 to 2 images: from 5 to 90",
        "Plate heat map. Cell body: area in %, mean of 1 to 2 images: from 10 to 50",
    ]


@pytest.mark.parametrize("counts", [[0, 0], [1, 10**7]])
def test_extreme_numbers_are_drawn(counts: list[int]) -> None:
    assert page(summary(["A1", "P24"], counts), title="x" * 300).picture.startswith(b"\x89PNG")


def test_images_of_a_sparse_or_very_wide_plate_are_not_laid_out_as_a_plate() -> None:
    assert plate_slots(["A1", "H12"]) is None
    assert plate_slots([f"A{n}" for n in range(1, 13) for _ in range(3)]) is None
    columns, slots = plate_slots([f"A{n}" for n in range(1, 13) for _ in range(2)]) or (0, [])
    assert columns == 24 and slots == list(range(24))


def test_the_same_numbers_give_the_same_picture() -> None:
    table = summary(["A1", "B2"], [3, 4])
    first, second = (page(table) for _ in range(2))
    assert first == second
    assert not re.search(rb"tIME|[Dd]ate", first.picture[:100])


def test_panels_are_parts_of_the_page() -> None:
    made = page(summary(["A1", "B2"], [3, 4]))
    whole, *parts = (np.asarray(Image.open(io.BytesIO(p))) for p in (made.picture, *(p.picture for p in made.panels)))
    assert len(parts) == 2 and parts[0].shape == parts[1].shape
    assert np.array_equal(whole[-len(parts[0]) :, : parts[0].shape[1]], parts[0])
    assert np.array_equal(whole[-len(parts[1]) :, -parts[1].shape[1] :], parts[1])
    assert all((part < 128).any() and (part[:, -1] == 255).all() for part in parts), "nothing reaches over the edge"
