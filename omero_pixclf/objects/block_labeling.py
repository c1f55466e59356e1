"""Label images larger than memory block by block, and join labels across blocks exactly.

The result equals `label.label_components` of the whole image, number for number. The first pass labels each block
alone and writes provisional numbers. Then pairs of numbers that touch across a block border are collected. The second
pass replaces the provisional numbers by the final ones. Memory holds one block and a few numbers per provisional
object. Each step needs one block and the layer of pixels before it, so that several processes can share the work
(`label_block`, `find_touching_labels`, `join_labels`).

The final numbers are the connected components of the graph of touching labels; compare Hoshen and Kopelman 1976,
doi:10.1103/PhysRevB.14.3438.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import product
from typing import Any, Protocol

import numpy as np
from scipy import ndimage
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from omero_pixclf.image import Array, BoolArray, Int32Array, Int64Array
from omero_pixclf.objects.block_regions import (
    Block,
    RegionFilter,
    RegionStatistics,
    block_statistics,
    filter_regions,
    merge_statistics,
    renumber,
)
from omero_pixclf.objects.label import Connectivity, structuring_element

__all__ = [
    "ReadableArray",
    "WritableArray",
    "block_index",
    "collect_statistics",
    "filter_blocks",
    "find_touching_labels",
    "join_labels",
    "label_block",
    "label_blocks",
    "split_into_blocks",
]


class ReadableArray(Protocol):
    """An array that is read by slices: of numpy, zarr or h5py, or one that is computed on demand."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Extents in ``(t, z, y, x)``."""

    def __getitem__(self, place: Any, /) -> Array: ...


class WritableArray(ReadableArray, Protocol):
    """An integer array that is also written by slices, and returns what was written."""

    @property
    def dtype(self) -> Any:
        """The numpy type of the labels."""

    def __setitem__(self, place: Any, value: Any, /) -> None: ...


def label_blocks(
    mask: ReadableArray,
    out: WritableArray,
    *,
    block: tuple[int, int, int],
    connectivity: Connectivity,
    holding: ReadableArray | None = None,
    min_size: int = 0,
    max_size: int | None = None,
    clear_of: Sequence[int] = (),
) -> tuple[int, ...]:
    """Label the connected components of a mask into ``out``, as if it were labelled in one piece.

    Parameters
    ----------
    mask
        ``(t, z, y, x)``; each block is read once.
    out
        ``(t, z, y, x)``, of an integer type that can hold the sum of the objects of all blocks of one t. It is written
        twice and read about once; blocks that are multiples of its chunks are fastest.
    block
        Extents of a block along (z, y, x).
    connectivity
        4 and 8 in each plane, 6 and 26 through z.
    holding
        A second mask: only components with a pixel in it are kept (the cores of a hysteresis threshold).
    min_size, max_size
        Smallest and largest component that is kept, in pixels, both included.
    clear_of
        Axes (0: z, 1: y, 2: x): components that touch the image's border along one of these are dropped.

    Returns
    -------
    tuple of int
        Number of objects at each t; their labels are 1 to that number, in raster order.

    Raises
    ------
    OverflowError
        The type of ``out`` cannot hold the provisional numbers.
    """
    keep = RegionFilter(min_size, int(np.prod(mask.shape)) if max_size is None else max_size, tuple(clear_of))
    counts = []
    for t in range(mask.shape[0]):
        parts, total = _label_blocks_alone(mask, out, t, block, connectivity, holding)
        found = [
            find_touching_labels(out, t, place, connectivity) for place in split_into_blocks(mask.shape[1:], block)
        ]
        final, objects = join_labels(parts, found, total, keep, mask.shape[1:])
        _replace_labels(out, t, block, final.astype(out.dtype))
        counts.append(len(objects.number))
    return tuple(counts)


def label_block(
    mask: Array, place: Block, shape: tuple[int, ...], connectivity: Connectivity, *, holding: Any = None
) -> tuple[Int32Array, RegionStatistics]:
    """Label the components of one ``(z, y, x)`` block alone, from 1; return the labels and their statistics."""
    labels = np.empty(mask.shape, dtype=np.int32)
    ndimage.label(np.ascontiguousarray(mask), structuring_element(connectivity), output=labels)
    return labels, block_statistics(labels, place, shape, holding=holding)


def find_touching_labels(ids: ReadableArray, t: int, place: Block, connectivity: Connectivity) -> Int64Array:
    """Return the pairs of labels that touch across the first z, y and x face of a block, ``(n, 2)``.

    ``ids`` has the provisional labels of the blocks, which are unique at each t.
    """
    around, found = structuring_element(connectivity), [np.empty((0, 2), dtype=np.int64)]
    for axis in range(3):
        allowed = np.moveaxis(around, axis, 0)[0]
        if place[axis].start > 0 and allowed.any():
            here = _read_layer(ids, t, place, axis, place[axis].start, 0)
            found.append(_find_touching(_read_layer(ids, t, place, axis, place[axis].start - 1, 1), here, allowed))
    return np.concatenate(found)


def join_labels(
    parts: Sequence[RegionStatistics],
    meetings: Sequence[Int64Array],
    total: int,
    keep: RegionFilter,
    shape: tuple[int, ...],
) -> tuple[Int64Array, RegionStatistics]:
    """Merge the provisional labels of blocks to objects.

    Parameters
    ----------
    parts, meetings, total
        The statistics and touching pairs of all blocks of one t; provisional labels are 1 to ``total``, each once.
    keep
        Which objects are kept.
    shape
        ``(z, y, x)`` of the image.

    Returns
    -------
    (total + 1,) the final label of each provisional one, 0 if its object is dropped; and the objects
    in raster order.
    """
    _, component = connected_components(_touching_graph(np.concatenate(meetings), total + 1), directed=False)
    objects = filter_regions(merge_statistics(parts, group=component.astype(np.int64)), keep, shape)
    final = np.zeros(total + 1, dtype=np.int64)
    final[objects.number] = np.arange(
        1, len(objects.number) + 1
    )  # indexed by component; there are no more components than labels
    return final[component], renumber(objects)


def filter_blocks(
    out: WritableArray,
    *,
    block: tuple[int, int, int],
    min_size: int = 0,
    max_size: int | None = None,
    clear_of: Sequence[int] = (),
) -> tuple[int, ...]:
    """Drop objects of a label image as `label_blocks` does, and renumber the others in raster order, in place.

    Each block is read twice and written once. The labels at each t may have gaps.
    """
    keep = RegionFilter(min_size, int(np.prod(out.shape)) if max_size is None else max_size, tuple(clear_of))
    counts = []
    for t in range(out.shape[0]):
        objects = collect_statistics(out, t, block=block)
        kept = filter_regions(objects, keep, out.shape[1:])
        final = np.zeros(int(objects.number.max(initial=0)) + 1, dtype=out.dtype)
        final[kept.number] = np.arange(1, len(kept.number) + 1)
        _replace_labels(out, t, block, final)
        counts.append(len(kept.number))
    return tuple(counts)


def collect_statistics(labels: ReadableArray, t: int, *, block: tuple[int, int, int]) -> RegionStatistics:
    """Collect the statistics of the objects of one time point of a label image, which is read once."""
    shape = labels.shape[1:]
    return merge_statistics(
        [
            block_statistics(np.asarray(labels[block_index(t, place)]), place, shape)
            for place in split_into_blocks(shape, block)
        ]
    )


def split_into_blocks(shape: tuple[int, ...], block: tuple[int, int, int]) -> Iterator[Block]:
    """Yield the blocks of a ``(z, y, x)`` volume in raster order."""
    starts = [range(0, extent, step) for extent, step in zip(shape, block, strict=True)]
    for z, y, x in product(*starts):
        stops = [min(a + step, extent) for a, step, extent in zip((z, y, x), block, shape, strict=True)]
        yield slice(z, stops[0]), slice(y, stops[1]), slice(x, stops[2])


def block_index(t: int, place: Block) -> tuple[int, slice, slice, slice]:
    """Return the index of a block in a ``(t, z, y, x)`` array."""
    return (t, *place)


def _touching_graph(meetings: Int64Array, nodes: int) -> Any:
    one, other = meetings.T
    return coo_array((np.ones(len(one), dtype=np.bool_), (one, other)), shape=(nodes, nodes))


def _replace_labels(out: WritableArray, t: int, block: tuple[int, int, int], number: Array) -> None:
    for place in split_into_blocks(out.shape[1:], block):
        at = block_index(t, place)
        out[at] = number[np.asarray(out[at])]


def _read_layer(ids: ReadableArray, t: int, place: Block, axis: int, at: int, margin: int) -> Int64Array:
    """Read one layer of a block across an axis, with a margin along the other axes; 0 outside the image."""
    wanted, pads = [], []
    for n, (side, extent) in enumerate(zip(place, ids.shape[1:], strict=True)):
        if n == axis:
            wanted.append(slice(at, at + 1))
            continue
        low, high = max(side.start - margin, 0), min(side.stop + margin, extent)
        wanted.append(slice(low, high))
        pads.append((margin - (side.start - low), margin - (high - side.stop)))
    layer = np.asarray(ids[block_index(t, (wanted[0], wanted[1], wanted[2]))]).squeeze(axis)
    return np.pad(layer.astype(np.int64), pads)


def _find_touching(before: Int64Array, here: Int64Array, allowed: BoolArray) -> Int64Array:
    """Return the pairs of labels of ``here`` and neighbours in ``before``, which is one pixel larger on each side."""
    height, width = here.shape
    found = [np.empty((0, 2), dtype=np.int64)]
    for i, j in np.argwhere(allowed):
        other = before[i : i + height, j : j + width]
        at = np.nonzero((here > 0) & (other > 0))
        found.append(np.unique(np.stack((other[at], here[at]), axis=1), axis=0))
    return np.concatenate(found)


def _label_blocks_alone(
    mask: ReadableArray,
    out: WritableArray,
    t: int,
    block: tuple[int, int, int],
    connectivity: Connectivity,
    holding: ReadableArray | None,
) -> tuple[list[RegionStatistics], int]:
    """Write the provisional labels of all blocks; return their statistics and the number of labels."""
    parts, total = [], 0
    for place in split_into_blocks(mask.shape[1:], block):
        at = block_index(t, place)
        held = None if holding is None else holding[at]
        labels, census = label_block(mask[at], place, mask.shape[1:], connectivity, holding=held)
        count = len(census.number)
        if total + count > np.iinfo(out.dtype).max:
            raise OverflowError(f"more than {np.iinfo(out.dtype).max} objects in blocks do not fit into {out.dtype}")
        out[at] = np.where(labels > 0, labels.astype(np.int64) + total, 0).astype(out.dtype)
        parts.append(census.offset_numbers(total))
        total += count
    return parts, total
