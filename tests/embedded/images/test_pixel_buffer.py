"""Sizes, offsets and bounds of pixels, without a file."""

from __future__ import annotations

import omero
import pytest

from omero_pixclf.embedded.images.pixel_buffer import PixelLayout, sample_type

LAYOUT = PixelLayout(6, 4, 3, 2, 2, "uint16")


def test_sizes_grow_from_sample_to_whole() -> None:
    sizes = (LAYOUT.width, LAYOUT.row_size, LAYOUT.plane_size, LAYOUT.stack_size, LAYOUT.timepoint_size)
    assert sizes == (2, 12, 48, 144, 288)
    assert LAYOUT.total_size == 576


def test_offsets_follow_the_order_xyzct() -> None:
    assert LAYOUT.offset(1, 0, 0, 0) == 12
    assert LAYOUT.offset(0, 1, 0, 0) == 48
    assert LAYOUT.offset(0, 0, 1, 0) == 144
    assert LAYOUT.offset(0, 0, 0, 1) == 288
    assert LAYOUT.offset(3, 2, 1, 1) == LAYOUT.total_size - LAYOUT.row_size


@pytest.mark.parametrize(("axis", "value"), [("x", 6), ("y", 4), ("z", 3), ("c", 2), ("t", 2), ("z", -1)])
def test_coordinates_outside_are_refused(axis: str, value: int) -> None:
    with pytest.raises(omero.ApiUsageException) as caught:
        LAYOUT.check(**{axis: value})
    assert (
        caught.value.message == f"{axis.upper()} '{value}' greater than size{axis.upper()} '{getattr(LAYOUT, axis)}'."
    )


@pytest.mark.parametrize(
    ("offset", "size", "step"),
    [
        ((0, 0, 0, 0), (1, 1, 1, 1), (1, 1, 1, 1)),  # four axes
        ((0,) * 5, (7, 1, 1, 1, 1), (1,) * 5),  # too wide
        ((5, 0, 0, 0, 0), (2, 1, 1, 1, 1), (1,) * 5),  # over the edge
        ((0,) * 5, (0, 1, 1, 1, 1), (1,) * 5),  # nothing
        ((0,) * 5, (1,) * 5, (0, 1, 1, 1, 1)),  # standing still
    ],
)
def test_cubes_outside_are_refused(offset: tuple[int, ...], size: tuple[int, ...], step: tuple[int, ...]) -> None:
    with pytest.raises(omero.ApiUsageException):
        LAYOUT.check_cube(offset, size, step)


def test_tiles_of_small_images_are_whole_rows_of_at_most_a_megabyte() -> None:
    assert LAYOUT.tile_size == (6, 4)
    assert PixelLayout(2000, 2000, 1, 1, 1, "uint16").tile_size == (2000, 262)
    assert PixelLayout(40000, 30000, 1, 1, 1, "uint8").tile_size == (256, 256)


def test_floating_point_images_are_never_big() -> None:
    assert PixelLayout(4000, 4000, 1, 1, 1, "uint8").is_big
    assert not PixelLayout(4000, 4000, 1, 1, 1, "float").is_big
    assert not PixelLayout(3192, 3192, 1, 1, 1, "uint8").is_big


def test_samples_are_big_endian() -> None:
    assert sample_type("uint16").str == ">u2"
    with pytest.raises(omero.ApiUsageException, match="complex"):
        sample_type("complex")
