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
    """A window of one time point.

    Attributes
    ----------
    t, place
        Time point and box of the window.
    labels
        ``(z, y, x)`` all labels in the box.
    owned
        ``(z, y, x)`` bool: the pixels of the objects that belong to this window; they are in the box completely.
    """

    t: int
    place: Block
    labels: Array = field(repr=False)
    owned: BoolArray = field(repr=False)


def object_windows(
    labels: ReadableArray, *, block: tuple[int, int, int], margin: tuple[int, int, int] = (0, 0, 0)
) -> Iterator[Window]:
    """Yield windows, t after t, so that each object of a ``(t, z, y, x)`` label image belongs to one window.

    A window has the objects whose bounding boxes start in one block. It contains them and ``margin`` pixels around
    them. An object larger than a block has its own window. The image is read about twice.
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
    """Yield windows for some objects of one t, each object in one window."""
    for rows in _group_by_block(objects, block):
        start, stop = objects.start[rows].min(axis=0), objects.stop[rows].max(axis=0)
        box = tuple(slice(int(a), int(b)) for a, b in zip(start, stop, strict=True))
        place = expand_block((box[0], box[1], box[2]), margin, labels.shape[1:])
        here = np.asarray(labels[block_index(t, place)])
        yield Window(t, place, here, _is_among(here, objects.number[rows]))


def expand_block(place: Block, by: tuple[int, int, int], shape: tuple[int, ...]) -> Block:
    """Return a box with ``by`` more pixels on each side, cut at the borders of the image."""
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
    wanted = np.zeros(high - low + 3, dtype=np.bool_)  # with one entry below and one above for all other labels
    wanted[numbers - low + 1] = True
    return wanted[np.clip(labels.astype(np.int64) - low + 1, 0, high - low + 2)]
