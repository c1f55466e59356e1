"""What OMERO.web and OMERO.parade can show of a table: they read JSON, which knows no NaN and no infinity."""

from __future__ import annotations

import json
from itertools import product
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from omero_pixclf.connector.results.container_tables import drop_empty_columns
from omero_pixclf.connector.results.tables import measure_string_width, to_column
from omero_pixclf.image import ImageInfo, ImageLocation
from omero_pixclf.objects.measure import measure
from omero_pixclf.objects.summary import summarize_image
from omero_pixclf.runs.containers import add_image_columns, make_summary_row
from omero_pixclf.table import Column, Table, concatenate

NAN = float("nan")
TABLE = Table((
    Column("Image", "image", np.array([1, 2])),
    Column("Mean_Area", "double", np.array([3.5, NAN]), "px", "mean area"),
    Column("Mean_Volume", "double", np.array([NAN, NAN])),
    Column("Name", "string", np.array(["a", ""], object)),
))  # fmt: skip


def stored(table: Table) -> list[Any]:
    return [to_column(c, c.values, width=measure_string_width(c)) for c in drop_empty_columns(table).columns]


def test_a_column_without_any_value_is_left_out() -> None:
    assert drop_empty_columns(TABLE).names == ("Image", "Mean_Area", "Name")


def test_a_table_without_rows_keeps_its_columns() -> None:
    assert drop_empty_columns(TABLE.take(np.zeros(2, bool))).names == TABLE.names


def info(n: int, pixels: NDArray[Any], channels: tuple[str, ...], um: float | None) -> ImageInfo:
    t, z, y, x, c = pixels.shape
    place = ImageLocation("Dataset:1", "d")
    return ImageInfo(f"Image:{n}", str(n), (t, z, y, x, c), pixels.dtype.name, channels, (None, um, um), place)


# Of images of a dataset: one with a pixel size, one without; none, one and several objects; signed and float
# pixels; NaN pixels; two channels or one; thin images, whose focus cannot be told.
def scenes() -> list[tuple[ImageInfo, NDArray[Any], NDArray[np.int32]]]:
    found = []
    spots = ([], [(4, 4, 5, 5)], [(2, 2, 4, 9), (12, 3, 6, 3)])
    for n, (dtype, um, boxes) in enumerate(product(("uint16", "int16", "float32"), (None, 0.5), spots)):
        labels = np.zeros((1, 1, 24, 24), np.int32)
        for number, (y, x, height, width) in enumerate(boxes, 1):
            labels[0, 0, y : y + height, x : x + width] = number
        channels = ("DAPI", "GFP") if n % 2 else ("DAPI",)
        pixels = np.random.default_rng(n).integers(0, 9, (1, 1, 24, 24, len(channels))).astype(dtype)
        if dtype == "float32":
            pixels[0, 0, 3:6, 3:6] = (np.nan, np.inf, -np.inf)[n % 3]
        found.append((info(n, pixels, channels, um), pixels, labels))
    thin = np.ones((1, 1, 2, 30, 1), np.int16)
    found.append((info(99, thin, ("DAPI",), None), thin, np.zeros((1, 1, 2, 30), np.int32)))
    return found


def tables() -> tuple[Table, Table]:
    """The summary and the objects of all scenes, as a container's run makes them."""
    rows, objects = [], []
    for image, pixels, labels in scenes():
        maps = np.full((*labels.shape, 2), 0.5, np.float32)
        size, channels = image.pixel_size_um, image.channels
        with np.errstate(invalid="ignore"):
            table = measure(labels, pixels, maps, class_name="A", dims=2, pixel_size_um=size, channels=channels)
            summary = summarize_image(pixels, maps, {"A": labels})
        rows.append(make_summary_row(image, summary, {"A": table}))
        objects.append(add_image_columns(table, image))
    return concatenate(rows), concatenate(objects)


def refuse(word: str) -> None:
    raise AssertionError(f"{word} is no JSON")


@pytest.mark.parametrize("which", [0, 1])
def test_every_value_in_omero_is_one_that_json_has(which: int) -> None:
    for column in stored(tables()[which]):
        assert json.loads(json.dumps(column.values), parse_constant=refuse) == column.values


def test_of_nothing_measured_there_is_no_mean_that_is_zero() -> None:
    columns = {c.name: c for c in stored(tables()[0])}
    counts = columns["Count_A"].values
    empty = [n for n, count in enumerate(counts) if count == 0]
    unscaled = [n for n, (image, _, _) in enumerate(scenes()) if image.pixel_size_um[2] is None]
    for name in (n for n in columns if n.startswith("Mean_")):
        fill = float(columns[name].description.partition("(not measured: ")[2].partition(")")[0])
        assert [columns[name].values[n] for n in empty] == [fill] * len(empty)
        assert fill < min(v for v in columns[name].values if v != fill)
    assert {columns["Mean_Area_um2_of_A"].values[n] for n in unscaled} == {-1.0}
    assert columns["Focus_DAPI"].values[-1] == -1.0  # two pixels high


def test_a_container_of_unsigned_images_has_small_numbers_for_what_it_has_not() -> None:
    unsigned, signed = (measure_one(dtype) for dtype in (np.uint16, np.int16))
    assert (unsigned["Mean_DAPI"].fill, signed["Mean_DAPI"].fill, signed["Std_DAPI"].fill) == (-1.0, -1e300, -1.0)
    both = concatenate([Table(tuple(unsigned.values())), Table(tuple(signed.values()))])
    assert {c.name: c.fill for c in both.columns}["Mean_DAPI"] == -1e300


def measure_one(dtype: Any) -> dict[str, Column]:
    pixels, labels = np.ones((1, 1, 4, 4, 1), dtype), np.ones((1, 1, 4, 4), np.int32)
    return {c.name: c for c in measure(labels, pixels, None, class_name="A", dims=2, channels=["DAPI"]).columns}
