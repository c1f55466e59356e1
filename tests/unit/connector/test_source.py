"""Regions cut into the blocks that single calls fetch."""

from __future__ import annotations

import numpy as np
import pytest

from omero_pixclf.connector.source import BLOCK_BYTES, split_region
from omero_pixclf.image import Region


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
