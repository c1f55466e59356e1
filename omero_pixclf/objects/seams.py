"""Labelling images larger than memory: block by block, with the seams between blocks joined exactly.

The result equals `label.components` of the whole, number for number. The first pass labels each block by itself,
writes provisional numbers, and notes which numbers meet across a seam; the second replaces them by the final ones. In
memory are one block, one plane of provisional numbers at most, and two numbers per provisional object.

Seams are joined by connected components of the graph of meeting labels; compare Hoshen and Kopelman 1976,
doi:10.1103/PhysRevB.14.3438.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from omero_pixclf.objects.label import Connectivity, structure

__all__ = ["Readable", "Writable", "label_blocks"]

Block = tuple[slice, slice, slice]
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

    Returns
    -------
    tuple of int
        Number of objects at each t; they are numbered 1 to that in raster order.

    Raises
    ------
    OverflowError
        Where ``out`` cannot hold the provisional numbers.
    """
    most = int(np.prod(mask.shape)) if max_size is None else max_size
    counts = []
    for t in range(mask.shape[0]):
        number, count = _final_numbers(_first_pass(mask, out, t, block, connectivity, holding), min_size, most)
        final = number.astype(out.dtype)
        for place in _blocks(mask.shape[1:], block):
            at = (t, *place)
            out[at] = final[np.asarray(out[at])]
        counts.append(count)
    return tuple(counts)


@dataclass(frozen=True)
class _Found:
    """Provisional objects 1.. of one t: pixels, raster index of the first one, whether held, and which meet which."""

    size: Ints
    first: Ints
    held: NDArray[np.bool_]
    meetings: Ints


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


def _blocks(shape: tuple[int, ...], block: tuple[int, int, int]) -> Iterator[Block]:
    """The blocks of a ``(z, y, x)`` volume in raster order."""
    starts = [range(0, extent, step) for extent, step in zip(shape, block, strict=True)]
    for z, y, x in product(*starts):
        stops = [min(a + step, extent) for a, step, extent in zip((z, y, x), block, shape, strict=True)]
        yield slice(z, stops[0]), slice(y, stops[1]), slice(x, stops[2])


def _first_pass(
    mask: Readable,
    out: Writable,
    t: int,
    block: tuple[int, int, int],
    connectivity: Connectivity,
    holding: Readable | None,
) -> _Found:
    around = structure(connectivity)
    frontier = _Frontier(mask.shape[1:], around)
    size, first, held = [np.zeros(1, np.int64)], [np.zeros(1, np.int64)], [np.zeros(1, np.bool_)]
    meetings, total = [np.empty((0, 2), dtype=np.int64)], 0
    for place in _blocks(mask.shape[1:], block):
        at = (t, *place)
        labels, count = ndimage.label(np.ascontiguousarray(mask[at]), around)
        if total + count > np.iinfo(out.dtype).max:
            raise OverflowError(f"more than {np.iinfo(out.dtype).max} objects in blocks do not fit into {out.dtype}")
        ids = np.where(labels > 0, labels.astype(np.int64) + total, 0)
        out[at] = ids.astype(out.dtype)
        meetings.append(frontier.meet(ids, place))
        size.append(np.bincount(labels.ravel(), minlength=1)[1:])
        first.append(_first_pixels(labels, count, place, mask.shape[1:]))
        held.append(_held(labels, count, None if holding is None else holding[at]))
        total += count
    return _Found(np.concatenate(size), np.concatenate(first), np.concatenate(held), np.concatenate(meetings))


def _first_pixels(labels: NDArray[Any], count: int, place: Block, shape: tuple[int, ...]) -> Ints:
    """Raster index, in the whole volume, of each label's first pixel."""
    flat = labels.ravel()
    places = np.flatnonzero(flat)[::-1]
    local = np.zeros(count + 1, dtype=np.int64)
    local[flat[places]] = places  # of equal indices the last assigned stays: the first pixel
    within = np.unravel_index(local[1:], labels.shape)
    z, y, x = (index + side.start for index, side in zip(within, place, strict=True))
    return np.asarray((z * shape[1] + y) * shape[2] + x, dtype=np.int64)


def _held(labels: NDArray[Any], count: int, holding: NDArray[Any] | None) -> NDArray[np.bool_]:
    held = np.full(count + 1, holding is None)
    if holding is not None:
        held[labels[np.asarray(holding, dtype=np.bool_)]] = True
    return held[1:]


def _final_numbers(found: _Found, min_size: int, max_size: int) -> tuple[Ints, int]:
    """The final number of each provisional one, 0 where it is not kept, and how many objects there are."""
    nodes = len(found.size)
    one, other = found.meetings.T
    graph = coo_array((np.ones(len(one), dtype=np.bool_), (one, other)), shape=(nodes, nodes))
    count, component = connected_components(graph, directed=False)
    size = np.bincount(component, found.size, minlength=count)
    held = np.bincount(component, found.held, minlength=count) > 0
    first = np.full(count, np.iinfo(np.int64).max)
    np.minimum.at(first, component, found.first)
    keep = held & (size >= max(min_size, 1)) & (size <= max_size)
    keep[component[0]] = False  # the background
    order = np.argsort(first, kind="stable")
    order = order[keep[order]]
    number = np.zeros(count, dtype=np.int64)
    number[order] = np.arange(1, len(order) + 1)
    return number[component], len(order)
