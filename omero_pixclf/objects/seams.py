"""Labelling images larger than memory: block by block, with the seams between blocks joined exactly.

The result equals `label.components` of the whole, number for number. The first pass labels each block by itself,
writes provisional numbers, and notes which numbers meet across a seam; the second replaces them by the final ones. In
memory are one block, one plane of provisional numbers at most, and two numbers per provisional object.

Seams are joined by connected components of the graph of meeting labels; compare Hoshen and Kopelman 1976,
doi:10.1103/PhysRevB.14.3438.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import product
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from omero_pixclf.objects.census import Block, Census, Keep, census_of, kept_in_order, merged
from omero_pixclf.objects.label import Connectivity, structure

__all__ = ["Readable", "Writable", "blocks_of", "count_blocks", "filter_blocks", "label_blocks", "place_in"]

Ints = NDArray[np.int64]


class Readable(Protocol):
    """An array that is read by slices: of numpy, zarr, h5py, or one that computes what is asked for."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Extents in ``(t, z, y, x)``."""

    def __getitem__(self, place: Any, /) -> NDArray[Any]: ...


class Writable(Readable, Protocol):
    """One of integers that is written by slices, too, and gives back what was written."""

    @property
    def dtype(self) -> Any:
        """Of the numbers."""

    def __setitem__(self, place: Any, value: Any, /) -> None: ...


def label_blocks(
    mask: Readable,
    out: Writable,
    *,
    block: tuple[int, int, int],
    connectivity: Connectivity,
    holding: Readable | None = None,
    min_size: int = 0,
    max_size: int | None = None,
    clear_of: Sequence[int] = (),
) -> tuple[int, ...]:
    """Label the connected components of a mask into ``out``, which then is as if labelled in one piece.

    Parameters
    ----------
    mask
        ``(t, z, y, x)``; every block of it is read once.
    out
        ``(t, z, y, x)``, an integer type that holds as many numbers as there are objects in all blocks of one t.
        Written twice and read once; blocks that are multiples of its chunks cost least.
    block
        Extents of a block along (z, y, x).
    connectivity
        4 and 8 in each plane, 6 and 26 through z.
    holding
        A second mask: only components with a pixel of it are kept (hysteresis: the cores).
    min_size, max_size
        Only components of so many pixels are kept.
    clear_of
        Axes (0: z, 1: y, 2: x) on whose faces of the image no kept component has a pixel.

    Returns
    -------
    tuple of int
        Number of objects at each t; they are numbered 1 to that in raster order.

    Raises
    ------
    OverflowError
        Where ``out`` cannot hold the provisional numbers.
    """
    keep = Keep(min_size, int(np.prod(mask.shape)) if max_size is None else max_size, tuple(clear_of))
    counts = []
    for t in range(mask.shape[0]):
        parts, meetings, total = _first_pass(mask, out, t, block, connectivity, holding)
        _, component = connected_components(_graph(meetings, total + 1), directed=False)
        order = kept_in_order(merged(parts, group=component.astype(np.int64)), keep, mask.shape[1:])
        final = np.zeros(total + 1, dtype=out.dtype)
        final[order] = np.arange(1, len(order) + 1)  # by component first, of which there are no more
        _replace(out, t, block, final[component])
        counts.append(len(order))
    return tuple(counts)


def filter_blocks(
    out: Writable,
    *,
    block: tuple[int, int, int],
    min_size: int = 0,
    max_size: int | None = None,
    clear_of: Sequence[int] = (),
) -> tuple[int, ...]:
    """Keep objects of a label image as `label_blocks` does, and number them anew in raster order, in place.

    Every block is read twice and written once; numbers are from 1 at each t and may have gaps.
    """
    keep = Keep(min_size, int(np.prod(out.shape)) if max_size is None else max_size, tuple(clear_of))
    counts = []
    for t in range(out.shape[0]):
        objects = count_blocks(out, t, block=block)
        order = kept_in_order(objects, keep, out.shape[1:])
        final = np.zeros(int(objects.number.max(initial=0)) + 1, dtype=out.dtype)
        final[order] = np.arange(1, len(order) + 1)
        _replace(out, t, block, final)
        counts.append(len(order))
    return tuple(counts)


def count_blocks(labels: Readable, t: int, *, block: tuple[int, int, int]) -> Census:
    """The objects of one time point of a label image, which is read once."""
    shape = labels.shape[1:]
    return merged(
        [census_of(np.asarray(labels[place_in(t, place)]), place, shape) for place in blocks_of(shape, block)]
    )


def blocks_of(shape: tuple[int, ...], block: tuple[int, int, int]) -> Iterator[Block]:
    """The blocks of a ``(z, y, x)`` volume in raster order."""
    starts = [range(0, extent, step) for extent, step in zip(shape, block, strict=True)]
    for z, y, x in product(*starts):
        stops = [min(a + step, extent) for a, step, extent in zip((z, y, x), block, shape, strict=True)]
        yield slice(z, stops[0]), slice(y, stops[1]), slice(x, stops[2])


def place_in(t: int, place: Block) -> tuple[int, slice, slice, slice]:
    """A block's place in a ``(t, z, y, x)`` array."""
    return (t, *place)


def _graph(meetings: Ints, nodes: int) -> Any:
    one, other = meetings.T
    return coo_array((np.ones(len(one), dtype=np.bool_), (one, other)), shape=(nodes, nodes))


def _replace(out: Writable, t: int, block: tuple[int, int, int], number: NDArray[Any]) -> None:
    for place in blocks_of(out.shape[1:], block):
        at = place_in(t, place)
        out[at] = number[np.asarray(out[at])]


class _Frontier:
    """Provisional numbers of the pixels just before the block in work, with a border of zeros."""

    def __init__(self, shape: tuple[int, ...], around: NDArray[np.bool_]) -> None:
        _, self.height, self.width = shape
        self.around = around
        self.plane = self.next_plane = self._zeros(self.height)
        self.row = self.next_row = self._zeros(0)
        self.column = np.zeros((0, 0), dtype=np.int64)

    def _zeros(self, rows: int) -> Ints:
        return np.zeros((rows + 2, self.width + 2), dtype=np.int64)

    def meet(self, ids: Ints, place: Block) -> Ints:
        """Pairs of numbers that touch across the block's three near faces, ``(n, 2)``; moves the frontier over it."""
        (_, y, x), depth = place, ids.shape[0]
        if y.start == 0 and x.start == 0:
            self.plane, self.next_plane = self.next_plane, self._zeros(self.height)
            self.next_row = self._zeros(depth)
        if x.start == 0:
            self.row, self.next_row = self.next_row, self._zeros(depth)
            self.column = np.zeros((depth + 2, ids.shape[1] + 2), dtype=np.int64)
        pairs = [_touching(self.column, ids[:, :, 0], self.around[:, :, 0])]
        pairs.append(_touching(self.row[:, x.start : x.stop + 2], ids[:, 0], self.around[:, 0]))
        pairs.append(_touching(self.plane[y.start : y.stop + 2, x.start : x.stop + 2], ids[0], self.around[0]))
        self.next_plane[y.start + 1 : y.stop + 1, x.start + 1 : x.stop + 1] = ids[-1]
        self.next_row[1:-1, x.start + 1 : x.stop + 1] = ids[:, -1]
        self.column[1:-1, 1:-1] = ids[:, :, -1]
        return np.concatenate(pairs)


def _touching(before: Ints, here: Ints, allowed: NDArray[np.bool_]) -> Ints:
    """Pairs of numbers of ``here`` and of its neighbours in ``before``, which has one more pixel all around."""
    height, width = here.shape
    found = [np.empty((0, 2), dtype=np.int64)]
    for i, j in np.argwhere(allowed):
        other = before[i : i + height, j : j + width]
        at = np.nonzero((here > 0) & (other > 0))
        found.append(np.unique(np.stack((other[at], here[at]), axis=1), axis=0))
    return np.concatenate(found)


def _first_pass(
    mask: Readable,
    out: Writable,
    t: int,
    block: tuple[int, int, int],
    connectivity: Connectivity,
    holding: Readable | None,
) -> tuple[list[Census], Ints, int]:
    """Write provisional numbers; returns what they are, which of them meet, and how many there are."""
    around, shape = structure(connectivity), mask.shape[1:]
    frontier = _Frontier(shape, around)
    parts, meetings, total = [], [np.empty((0, 2), dtype=np.int64)], 0
    for place in blocks_of(shape, block):
        at = place_in(t, place)
        labels, count = ndimage.label(np.ascontiguousarray(mask[at]), around)
        if total + count > np.iinfo(out.dtype).max:
            raise OverflowError(f"more than {np.iinfo(out.dtype).max} objects in blocks do not fit into {out.dtype}")
        ids = np.where(labels > 0, labels.astype(np.int64) + total, 0)
        out[at] = ids.astype(out.dtype)
        meetings.append(frontier.meet(ids, place))
        parts.append(census_of(ids, place, shape, holding=None if holding is None else holding[at]))
        total += count
    return parts, np.concatenate(meetings), total
