"""Outlines as the ROIs, points and bitmaps that OMERO stores."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_array_equal

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
from omero_pixclf.errors import OutputError
from omero_pixclf.objects.outline import MaskShape, Outline, PolygonShape


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
