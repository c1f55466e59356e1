"""An open image as a lazy array: indexed like numpy, read in small parts, taken by numpy and dask."""

from __future__ import annotations

from typing import Any

import dask.array
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import basic_indices

from omero_pixclf.api.arrays import LazyImage
from omero_pixclf.image import ImageInfo, Region

PIXELS = np.arange(2 * 3 * 7 * 5 * 2, dtype=np.uint16).reshape(2, 3, 7, 5, 2)


class CountingReader:
    """An image in memory that counts the pixels it reads."""

    info = ImageInfo("Image:1", "a", (2, 3, 7, 5, 2), "uint16", ("A", "B"))

    def __init__(self) -> None:
        self.count = 0

    def read(self, region: Region) -> Any:
        part = np.ascontiguousarray(PIXELS[region.slices])
        self.count += part.size
        return part


@given(basic_indices(PIXELS.shape, allow_newaxis=False) | st.sampled_from([(slice(None, None, -2),), -1, ...]))
def test_indexing_is_numpys(key: Any) -> None:
    found, expected = LazyImage(CountingReader())[key], PIXELS[key]
    assert found.shape == expected.shape
    assert (found == expected).all()


def test_only_the_part_asked_for_is_read() -> None:
    reader = CountingReader()
    assert LazyImage(reader)[1, 2, 3:5, :, 0].shape == (2, 5)
    assert reader.count == 10


def test_numpy_and_dask_take_it() -> None:
    image = LazyImage(CountingReader())
    assert (np.asarray(image) == PIXELS).all()
    assert np.asarray(image, dtype=float).dtype == float
    lazy = dask.array.from_array(image, chunks=image.chunks)
    assert lazy.chunksize == (1, 1, 7, 5, 1)
    assert (lazy[:, 1].compute(scheduler="synchronous") == PIXELS[:, 1]).all()
    assert (len(image), image.ndim, image.dtype, image.axes) == (2, 5, np.uint16, "tzyxc")


@pytest.mark.parametrize(
    ("key", "says"),
    [((0,) * 6, "5 axes"), (2, "out of range for axis 't' of size 2"), (([0, 1],), "expected integers and slices")],
)
def test_bad_indices_are_named(key: Any, says: str) -> None:
    with pytest.raises(IndexError, match=says):
        LazyImage(CountingReader())[key]
