"""Compare pixels of a file with the server's, at a few places that reveal most differences."""

from __future__ import annotations

from collections.abc import Iterator
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from omero_pixclf.errors import ImageError
from omero_pixclf.image import PixelReader, Region

__all__ = ["SAMPLE_SIZE", "compare_with_server", "count_differing_pixels", "sample_regions"]

SAMPLE_SIZE = 64
"""Size of a compared region along y and x, in pixels."""
_SEARCH_SIZE = 1024  # pixels along y and x around the middle; the most varied region is searched in them


def compare_with_server(file: PixelReader, served: PixelReader) -> None:
    """Read some regions from the file and from the server, and compare them.

    Raises
    ------
    ImageError
        If a bit differs.
    """
    for region in sample_regions(file):
        count = count_differing_pixels(file.read(region), served.read(region))
        if count:
            raise ImageError(
                f"{count} of {prod(region.shape)} pixels at (t, z, y, x, c) {region.start} differ from the server's"
            )


def sample_regions(file: PixelReader) -> Iterator[Region]:
    """Yield corners of the first and last plane, regions at the ends of z and t, and a varied one in each channel.

    Black corners are equal in many images. So for each channel, the region with the largest range of values around the
    middle of the middle plane is added.
    """
    t, z, y, x, c = file.info.shape
    height, width = min(SAMPLE_SIZE, y), min(SAMPLE_SIZE, x)
    bottom, right = y - height, x - width
    first, last, middle = (0, 0, 0), (t - 1, z - 1, c - 1), (bottom // 2, right // 2)
    places = [(first, (0, 0)), (first, (bottom, right)), (last, (0, right)), (last, (bottom, 0))]
    places += [((t - 1, 0, 0), middle), ((0, z - 1, 0), middle)] if t > 1 and z > 1 else []
    places += [((t // 2, z // 2, n), _most_varied(file, t // 2, z // 2, n)) for n in range(c)]
    for (at_t, at_z, at_c), (top, left) in dict.fromkeys(places):
        start = (at_t, at_z, top, left, at_c)
        yield Region(start, (at_t + 1, at_z + 1, top + height, left + width, at_c + 1))


def _most_varied(file: PixelReader, t: int, z: int, c: int) -> tuple[int, int]:
    """Return the top left corner of the square with the largest range of values."""
    _, _, y, x, _ = file.info.shape
    spans = []
    for size in (y, x):
        count = max(1, min(size, _SEARCH_SIZE) // SAMPLE_SIZE)
        begin = max(0, (size - count * SAMPLE_SIZE) // 2)
        spans.append((begin, count, min(SAMPLE_SIZE, size)))
    (top, rows, height), (left, columns, width) = spans
    region = Region((t, z, top, left, c), (t + 1, z + 1, top + rows * height, left + columns * width, c + 1))
    bands = file.read(region)[0, 0, :, :, 0].reshape(rows, height, columns * width)
    with np.errstate(invalid="ignore"):  # infinite values
        high = bands.max(axis=1).reshape(rows, columns, width).max(axis=2).astype(float)
        low = bands.min(axis=1).reshape(rows, columns, width).min(axis=2).astype(float)
        spread = np.nan_to_num(high - low, nan=0.0)
    row, column = divmod(int(np.argmax(spread)), columns)
    return top + row * height, left + column * width


def count_differing_pixels(one: NDArray[Any], other: NDArray[Any]) -> int:
    """Count the pixels that are not identical bit for bit; equal NaNs are identical.

    >>> count_differing_pixels(np.array([1.0, np.nan]), np.array([1.0, np.nan]))
    0
    """
    if one.shape != other.shape or one.dtype != other.dtype:
        return max(one.size, other.size)
    bits = np.dtype(f"u{one.dtype.itemsize}")
    return int(np.count_nonzero(np.ascontiguousarray(one).view(bits) != np.ascontiguousarray(other).view(bits)))
