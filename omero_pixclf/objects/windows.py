"""Divide a large label image into windows that contain whole objects."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from omero_pixclf.image import Array, BoolArray, Int64Array
from omero_pixclf.objects.block_labeling import ReadableArray, block_index, collect_statistics
from omero_pixclf.objects.block_regions import Block, RegionStatistics

__all__ = ["Window", "expand_block", "object_windows", "windows_of_objects"]


@dataclass(frozen=True)
class Window:
    """A box of one time point.

    Attributes
    ----------
    t, place
        Where it lies.
    labels
        ``(z, y, x)`` all that is there.
    owned
        ``(z, y, x)`` bool: the pixels of the objects that this window stands for, all of which lie in it.
    """

    t: int
    place: Block
    labels: Array = field(repr=False)
    owned: BoolArray = field(repr=False)


def object_windows(
    labels: ReadableArray, *, block: tuple[int, int, int], margin: tuple[int, int, int] = (0, 0, 0)
) -> Iterator[Window]:
    """Windows that together own each object of a ``(t, z, y, x)`` label image once, t after t.

    A window owns the objects whose boxes begin in one block, and reaches as far as they do, and ``margin`` pixels
    further inside the image; objects larger than a block have one of their own. The image is read about twice.
    """
    for t in range(labels.shape[0]):
        objects = collect_statistics(labels, t, block=block)
        yield from windows_of_objects(labels, t, objects, block=block, margin=margin)


def windows_of_objects(
    labels: ReadableArray,
    t: int,
    objects: RegionStatistics,
    *,
    block: tuple[int, int, int],
    margin: tuple[int, int, int] = (0, 0, 0),
) -> Iterator[Window]:
    """Windows that together own some objects of one t."""
    for rows in _group_by_block(objects, block):
        start, stop = objects.start[rows].min(axis=0), objects.stop[rows].max(axis=0)
        box = tuple(slice(int(a), int(b)) for a, b in zip(start, stop, strict=True))
        place = expand_block((box[0], box[1], box[2]), margin, labels.shape[1:])
        here = np.asarray(labels[block_index(t, place)])
        yield Window(t, place, here, _is_among(here, objects.number[rows]))


def expand_block(place: Block, by: tuple[int, int, int], shape: tuple[int, ...]) -> Block:
    """A box with so many pixels more on every side, as far as the image goes."""
    z, y, x = (
        slice(max(side.start - more, 0), min(side.stop + more, extent))
        for side, more, extent in zip(place, by, shape, strict=True)
    )
    return z, y, x


def _group_by_block(objects: RegionStatistics, block: tuple[int, int, int]) -> Iterator[Int64Array]:
    large = np.asarray((objects.stop - objects.start > np.array(block)).any(axis=1))
    cells = objects.start // np.array(block)
    order = np.lexsort((cells[:, 2], cells[:, 1], cells[:, 0]))
    order = order[~large[order]]
    breaks = np.flatnonzero((np.diff(cells[order], axis=0) != 0).any(axis=1)) + 1
    yield from (group for group in np.split(order, breaks) if len(group))
    yield from np.flatnonzero(large)[:, None]


def _is_among(labels: Array, numbers: Int64Array) -> BoolArray:
    low, high = int(numbers.min()), int(numbers.max())
    wanted = np.zeros(high - low + 3, dtype=np.bool_)  # with a place below and one above for all others
    wanted[numbers - low + 1] = True
    return wanted[np.clip(labels.astype(np.int64) - low + 1, 0, high - low + 2)]
