"""Histograms of measurements."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from omero_pixclf.report.histograms import darken_for_white_background, draw_histograms
from omero_pixclf.table import Column, Table

COLORS = {"Nucleus": (255, 0, 0), "Cytoplasm": (0, 255, 0)}
NAN = float("nan")


def objects(areas: list[float], classes: list[str] | None = None, **more: list[float]) -> Table:
    named = classes or ["Nucleus"] * len(areas)
    columns = [
        Column("Class", "string", np.array(named, object)),
        Column("Area_px", "double", np.array(areas), "px"),
    ]
    columns += [Column(name, "double", np.array(values), "µm²" * (name == "Area_um2")) for name, values in more.items()]
    return Table(tuple(columns))


def texts(table: Table) -> list[str]:
    return [p.text for p in draw_histograms(table, title="", colors=COLORS).panels]


def test_every_main_measurement_has_a_panel_that_names_its_median() -> None:
    table = objects([1.0, 2.0, 6.0], Mean_DAPI=[100.0, 200.0, 300.0], Probability_mean=[0.5, 0.75, 1.0])
    assert texts(table) == [
        "Histogram of area. Nucleus: 3, median 2.00 px",
        "Histogram of mean intensity of DAPI. Nucleus: 3, median 200",
        "Histogram of mean probability of the class. Nucleus: 3, median 0.75",
    ]


def test_sizes_are_in_micrometres_where_they_are_known_and_in_pixels_where_not() -> None:
    assert texts(objects([4.0], Area_um2=[NAN])) == ["Histogram of area. Nucleus: 1, median 4.00 px"]
    assert texts(objects([4.0], Area_um2=[1.5])) == ["Histogram of area. Nucleus: 1, median 1.50 µm²"]


def test_volumes_are_shown_where_objects_have_volumes() -> None:
    assert texts(objects([NAN, NAN], Volume_px=[5.0, 7.0])) == ["Histogram of volume. Nucleus: 2, median 6.00"]


def test_classes_are_told_apart_in_the_order_of_their_colours_and_nan_is_left_out() -> None:
    table = objects([1.0, 10.0, NAN, 30.0, np.inf], ["Other", "Cytoplasm", "Nucleus", "Nucleus", "Nucleus"])
    assert texts(table) == [
        "Histogram of area. Nucleus: 1, median 30.0 px; Cytoplasm: 1, median 10.0 px; Other: 1, median 1.00 px"
    ]


@pytest.mark.parametrize("table", [Table(()), objects([]), objects([NAN])], ids=["no columns", "no rows", "only NaN"])
def test_without_objects_there_is_a_page_that_says_so(table: Table) -> None:
    page = draw_histograms(table, title="", colors=COLORS)
    assert page.panels == ()
    assert np.asarray(Image.open(io.BytesIO(page.picture)).convert("L")).min() < 100


@pytest.mark.parametrize("areas", [[5.0], [5.0, 5.0], [0.0, 0.0], [-3.0, 4.0], [1e-12, 1e12], [1.0] * 999 + [1e9]])
def test_any_numbers_can_be_drawn(areas: list[float]) -> None:
    assert draw_histograms(objects(areas), title="x", colors=COLORS).picture.startswith(b"\x89PNG")


def test_a_few_huge_values_do_not_squeeze_the_others() -> None:
    values = [*np.linspace(10, 20, 999).tolist(), 1e9]
    plain, tailed = (
        draw_histograms(objects(v), title="", colors=COLORS).panels[0].picture for v in (values[:-1], values)
    )
    ink = [(np.asarray(Image.open(io.BytesIO(p)).convert("RGB"))[..., 1] < 230).mean() for p in (plain, tailed)]
    assert ink[1] > 0.8 * ink[0]  # as much of the panel is filled


def test_light_class_colours_are_darkened_on_white() -> None:
    assert darken_for_white_background((255, 0, 0)) == (255, 0, 0)
    assert max(darken_for_white_background((255, 255, 255))) <= 150
