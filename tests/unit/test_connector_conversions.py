"""What goes over the wire: bitmaps, points, colours, units, names, columns, blocks."""

from __future__ import annotations

import numpy as np
import omero.clients  # first: the other modules of omero are complete only after it
import omero.grid
import pytest
from numpy.testing import assert_array_equal

from omero_pixclf.connector.hierarchy import format_well, parse_key, parse_targets, to_micrometres
from omero_pixclf.connector.results.rois import (
    BATCH,
    BATCH_BYTES,
    format_points,
    make_roi,
    pack_bits,
    parse_points,
    split_for_messages,
    split_into_batches,
    to_signed_rgba,
    unpack_bits,
)
from omero_pixclf.connector.results.tables import measure_string_width, to_column, to_table
from omero_pixclf.connector.source import BLOCK_BYTES, split_region
from omero_pixclf.errors import OutputError, UsageError
from omero_pixclf.image import Region
from omero_pixclf.objects.outline import MaskShape, Outline, PolygonShape
from omero_pixclf.table import Column, Table


def test_mask_bytes_run_on_over_rows_most_significant_bit_first():
    bits = np.array([[1, 0, 1], [0, 1, 0], [1, 1, 1]], dtype=bool)
    assert pack_bits(bits) == bytes([0b10101011, 0b10000000])


@pytest.mark.parametrize("shape", [(1, 1), (3, 5), (8, 8), (17, 31)])
def test_masks_come_back_as_they_were(shape):
    bits = np.random.default_rng(1).random(shape) < 0.4
    assert_array_equal(unpack_bits(pack_bits(bits), shape[1], shape[0]), bits)


def test_masks_cut_from_a_larger_array_are_packed_as_they_look():
    whole = np.random.default_rng(2).random((20, 20)) < 0.5
    part = whole[3:10:2, 5:16]
    assert_array_equal(unpack_bits(pack_bits(part), part.shape[1], part.shape[0]), part)


def test_points_come_back_as_they_were():
    points = np.array([[0, 0], [1023.5, 0.25], [3.125, 2047]])
    assert_array_equal(parse_points(format_points(points)), points)


@pytest.mark.parametrize(
    ("color", "alpha", "expected"),
    [
        ((255, 0, 0), 255, -16776961),
        ((0, 0, 0), 255, 255),
        ((127, 255, 255), 255, 0x7FFFFFFF),
        ((1, 2, 3), 0, 0x01020300),
    ],
)
def test_colours_are_signed_rgba(color, alpha, expected):
    assert to_signed_rgba(color, alpha) == expected


def test_an_object_is_one_roi_with_a_shape_per_plane():
    square = np.array([[0, 0], [4, 0], [4, 4], [0, 4]], dtype=float)
    outline = Outline(
        7, 2, (PolygonShape(2, 0, square), PolygonShape(2, 1, square), MaskShape(2, 3, 5, 6, np.ones((2, 3), bool)))
    )
    roi = make_roi(outline, image=51, name="nuclei", color=(0, 255, 0), mark="m")
    polygons, mask = roi.copyShapes()[:2], roi.copyShapes()[2]
    assert (roi.image.id.val, roi.name.val, roi.description.val) == (51, "nuclei", "m")
    assert [(p.theT.val, p.theZ.val, p.theC) for p in polygons] == [(2, 0, None), (2, 1, None)]  # in all channels
    assert (mask.x.val, mask.y.val, mask.width.val, mask.height.val) == (5.0, 6.0, 3.0, 2.0)
    assert mask.bytes == b"\xfc"


def test_batches_are_bounded_in_number_and_weight():
    light = [Outline(i, 0, (MaskShape(0, 0, 0, 0, np.ones((2, 2), bool)),)) for i in range(BATCH + 1)]
    assert [len(b) for b in split_into_batches(light)] == [BATCH, 1]
    heavy = [Outline(i, 0, (MaskShape(0, 0, 0, 0, np.zeros((8192, 8000), bool)),)) for i in range(3)]
    assert [len(b) for b in split_into_batches(heavy)] == [2, 1]


def test_many_small_shapes_are_heavy_too():
    stack = tuple(MaskShape(0, z, 0, 0, np.ones((2, 2), bool)) for z in range(200))
    sizes = [len(b) for b in split_into_batches(Outline(i, 0, stack) for i in range(BATCH))]
    assert len(sizes) > 1
    assert max(sizes) * len(stack) * 1024 <= BATCH_BYTES


def test_an_outline_too_large_for_a_message_is_cut_without_losing_a_pixel():
    bits = np.zeros((30_000, 10_000), bool)
    bits[::997, ::13] = True
    parts = split_for_messages(Outline(1, 0, (MaskShape(0, 4, 7, 9, bits),)))
    assert len(parts) > 1
    masks = [shape for part in parts for shape in part.shapes]
    assert all(m.bits.size // 8 <= BATCH_BYTES and (m.z, m.x) == (4, 7) for m in masks)
    assert [m.y for m in masks] == [9 + sum(len(m.bits) for m in masks[:i]) for i in range(len(masks))]
    assert_array_equal(np.concatenate([m.bits for m in masks]), bits)


def test_a_polygon_too_large_for_a_server_is_refused_with_what_to_do():
    endless = Outline(1, 0, (PolygonShape(0, 0, np.zeros((2_000_000, 2))),))
    with pytest.raises(OutputError, match="rois = mask or labels"):
        split_for_messages(endless)


@pytest.mark.parametrize(
    ("value", "unit", "expected"),
    [
        (0.325, "MICROMETER", 0.325),
        (250.0, "NANOMETER", 0.25),
        (1.5, "MILLIMETER", 1500.0),
        (6500.0, "ANGSTROM", 0.65),
        (1.0, "INCH", 25400.0),
        (1.0, "PIXEL", None),
        (1.0, "REFERENCEFRAME", None),
        (None, None, None),
    ],
)
def test_lengths_are_turned_into_micrometres(value, unit, expected):
    assert to_micrometres(value, unit) == expected


@pytest.mark.parametrize(("row", "column", "name"), [(0, 0, "A1"), (7, 11, "H12"), (25, 0, "Z1"), (31, 47, "AF48")])
def test_wells_are_named_as_on_the_plate(row, column, name):
    assert format_well(row, column) == name


def test_targets_are_read():
    assert parse_targets(["Image:1,2", "Plate:3"]) == [("Image", 1), ("Image", 2), ("Plate", 3)]


@pytest.mark.parametrize("target", ["Image", "Image:", "Image:x", "Roi:1", "image:1", "Image:1,", ":1"])
def test_what_is_no_target_is_refused_with_what_would_be(target):
    with pytest.raises(UsageError, match="expected one of Image:ID"):
        parse_targets([target])


def test_what_is_no_key_is_refused():
    with pytest.raises(UsageError, match="expected an object such as"):
        parse_key("51")


@pytest.mark.parametrize(
    ("start", "stop", "itemsize"),
    [
        ((0, 0, 0, 0, 0), (2, 5, 30, 40, 3), 2),
        ((0, 1, 7, 1000, 0), (1, 3, 2100, 3100, 1), 2),
        ((1, 0, 0, 0, 0), (2, 64, 512, 512, 1), 2),
        ((0, 0, 5, 5, 0), (1, 1, 6, 6, 1), 8),
    ],
)
def test_blocks_cover_a_region_once_and_stay_small(start, stop, itemsize):
    seen = np.zeros(stop, np.uint8)
    for b in split_region(Region(start, stop), itemsize):
        seen[b.t, b.z : b.z + b.depth, b.y : b.y + b.height, b.x : b.x + b.width, b.c] += 1
        assert np.prod(b.shape) * itemsize <= BLOCK_BYTES * 2
    assert seen[Region(start, stop).slices].min() == 1
    assert seen.sum() == np.prod(Region(start, stop).shape)


def test_small_planes_are_fetched_several_at_a_time():
    found = list(split_region(Region((0, 0, 0, 0, 0), (1, 64, 512, 512, 1)), 2))
    assert [b.depth for b in found] == [8] * 8


def test_tiles_lie_on_the_grid():
    found = list(split_region(Region((0, 0, 1000, 1000, 0), (1, 1, 5000, 5000, 1)), 2))
    assert {b.x % 1024 for b in found} == {0, 1000}
    assert {b.y % 1024 for b in found} == {0, 1000}


TABLE = Table(
    (
        Column("Image", "image", np.array([5, 6])),
        Column("Class", "string", np.array(["é", "abc"], dtype=object), "", "the class"),
        Column("Area", "double", np.array([1.5, np.nan]), "µm²", "size"),
        Column("Edge", "bool", np.array([True, False])),
    )
)


def test_columns_come_back_with_kind_values_unit_and_description():
    back = to_table([to_column(c, c.values, width=measure_string_width(c)) for c in TABLE.columns])
    assert [(c.name, c.kind, c.unit, c.description) for c in back.columns] == [
        (c.name, c.kind, c.unit, c.description) for c in TABLE.columns
    ]
    for name in TABLE.names:
        assert_array_equal(back[name], TABLE[name])


@pytest.mark.parametrize("name", ["细胞", "клетка", "🧫 dish", "a [b] (not measured: x)"])
def test_names_in_descriptions_come_back_as_they_were(name):
    column = Column("Count_X", "long", np.array([1, -1]), description=f"objects: {name}")
    made = to_column(column, column.values)
    assert made.description.isascii() and "(not measured: -1)" in made.description
    assert to_table([made]).columns[0].description == f"objects: {name}"


@pytest.mark.parametrize(
    ("values", "fill", "stored"),
    [
        ([2.5, np.nan], -1.0, [2.5, -1.0]),
        ([0.0, np.inf, -np.inf], -1.0, [0.0, -1.0, -1.0]),
        ([-40.0, np.nan], -999.0, [-40.0, -999.0]),
        ([-3.5, np.nan], -1.0, [-3.5, -1e300]),  # declared too high: one that is no measurement is taken
        ([-1e300, np.nan], -1e300, [-1e300, -1e301]),
        ([-1e308, np.nan], -1e300, [-1e308, 1e301]),
        ([], -1.0, []),
    ],
)
def test_what_was_not_measured_is_a_number_that_json_has_and_no_measurement(values, fill, stored):
    column = Column("V", "double", np.array(values), "px", "size", fill)
    made = to_column(column, column.values)
    assert made.values == stored
    if values:
        assert f"(not measured: {stored[-1]:g})" in made.description
    back = to_table([made]).columns[0]
    assert_array_equal(back.values, np.where(np.isinf(column.values), np.nan, column.values))
    assert (back.unit, back.description) == ("px", "size")


def test_descriptions_are_ascii_because_omero_tables_fail_on_the_rest():
    column = Column("V", "double", np.zeros(1), "µm³", "Größe in µm")
    made = to_column(column, column.values)
    assert made.description == r"Gr\xf6\xdfe in um (not measured: -1) [um^3]"
    back = to_table([made]).columns[0]
    assert (back.unit, back.description) == ("µm³", "Größe in um")


def test_zeros_that_an_earlier_version_wrote_for_what_it_had_not_measured_are_not_taken_for_numbers():
    def column(name, values, kind=omero.grid.DoubleColumn):
        return kind(name, "as it was: objects: A", values)

    back = to_table([
        column("Count_A", [0, 23, 5], omero.grid.LongColumn),
        column("Mean_Area_um2_of_A", [0.0, 0.0, 2.5]),
        column("Mean_DAPI_of_A", [0.0, 0.0, 1.5]),
        column("Uncertainty", [0.0, 0.5, 0.25]),
    ])  # fmt: skip
    assert_array_equal(back["Mean_Area_um2_of_A"], [np.nan, np.nan, 2.5])
    assert_array_equal(back["Mean_DAPI_of_A"], [np.nan, 0.0, 1.5])
    assert_array_equal(back["Uncertainty"], [0.0, 0.5, 0.25])


def test_string_columns_are_as_wide_as_their_longest_value_in_bytes():
    assert measure_string_width(Column("S", "string", np.array(["µµ", "abc"], dtype=object))) == 4
    assert measure_string_width(Column("S", "string", np.array([], dtype=object))) == 1
    assert measure_string_width(Column("S", "string", np.array(["", ""], dtype=object))) == 1


def test_a_table_without_rows_keeps_its_columns():
    empty = TABLE.take(np.zeros(0, int))
    back = to_table([to_column(c, c.values, width=measure_string_width(c)) for c in empty.columns])
    assert len(back) == 0
    assert back.names == TABLE.names
