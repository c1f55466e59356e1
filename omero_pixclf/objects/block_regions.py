"""Merge the statistics of objects that extend over several blocks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np

from omero_pixclf.image import Array, BoolArray, Int64Array
from omero_pixclf.objects.moments import compute_geometry
from omero_pixclf.objects.run_length import encode_spans

__all__ = [
    "Block",
    "RegionFilter",
    "RegionStatistics",
    "block_statistics",
    "concatenate_statistics",
    "filter_regions",
    "merge_statistics",
    "renumber",
    "take_regions",
]

Block = tuple[slice, slice, slice]


@dataclass(frozen=True)
class RegionStatistics:
    """Statistics of labelled objects, or of their parts in a block; one row for each.

    Attributes
    ----------
    number
        (n,) label.
    size
        (n,) number of pixels.
    first
        (n,) raster index of the first pixel in the whole ``(z, y, x)`` image.
    held
        (n,) whether it has a pixel in a second mask (a core of a hysteresis threshold).
    start, stop
        (n, 3) bounding box in the whole image, start inclusive and stop exclusive.
    """

    number: Int64Array
    size: Int64Array
    first: Int64Array
    held: BoolArray
    start: Int64Array
    stop: Int64Array

    def offset_numbers(self, by: int) -> RegionStatistics:
        """Return the same objects with ``by`` added to each label."""
        return replace(self, number=self.number + by)


@dataclass(frozen=True)
class RegionFilter:
    """Which objects are kept: sizes in pixels, both included, and axes (0: z, 1: y, 2: x) with excluded borders."""

    min_size: int
    max_size: int
    clear_of: tuple[int, ...] = ()


def block_statistics(labels: Array, place: Block, shape: tuple[int, ...], *, holding: Any = None) -> RegionStatistics:
    """Return the statistics of one ``(z, y, x)`` block of an image of this shape; without ``holding`` all are held."""
    spans = encode_spans(labels)
    number, compact = np.unique(spans.label, return_inverse=True)  # a block has few of the labels of an image
    geometry = compute_geometry(replace(spans, label=compact.reshape(-1) + 1))
    near = np.array([side.start for side in place])
    order = np.arange(len(spans))[::-1]
    first = np.zeros(len(geometry), dtype=np.int64)
    first[geometry.row[order]] = order  # of equal indices the last assigned stays: the first span
    z, y, x = spans.z[first] + near[0], spans.y[first] + near[1], spans.x0[first] + near[2]
    held = np.full(len(geometry), holding is None)
    if holding is not None:
        held = np.isin(number, labels[np.asarray(holding, dtype=np.bool_)])
    raster = (z * shape[1] + y) * shape[2] + x
    return RegionStatistics(number, geometry.size, raster, held, geometry.start + near, geometry.stop + near)


def merge_statistics(parts: Sequence[RegionStatistics], *, group: Int64Array | None = None) -> RegionStatistics:
    """Merge the parts of objects: those with the same label, or with the same ``group[label]``."""
    number, size, first, held, start, stop = (
        getattr(concatenate_statistics(parts), f.name) for f in fields(RegionStatistics)
    )
    names = number if group is None else group[number]
    order = np.argsort(names, kind="stable")
    names = names[order]
    at = np.flatnonzero(np.diff(names, prepend=-1))
    if not len(at):
        return RegionStatistics(names, size, first, held, start, stop)
    return RegionStatistics(
        names[at],
        np.add.reduceat(size[order], at),
        np.minimum.reduceat(first[order], at),
        np.logical_or.reduceat(held[order], at),
        np.minimum.reduceat(start[order], at),
        np.maximum.reduceat(stop[order], at),
    )


def filter_regions(objects: RegionStatistics, keep: RegionFilter, shape: tuple[int, ...]) -> RegionStatistics:
    """Return the objects that the filter keeps, in raster order of their first pixels."""
    good = objects.held & (objects.size >= max(keep.min_size, 1)) & (objects.size <= keep.max_size)
    for axis in keep.clear_of:
        good &= (objects.start[:, axis] > 0) & (objects.stop[:, axis] < shape[axis])
    chosen = np.flatnonzero(good)
    return take_regions(objects, chosen[np.argsort(objects.first[chosen], kind="stable")])


def renumber(objects: RegionStatistics) -> RegionStatistics:
    """Return the same objects with the labels 1, 2, 3, … in their order."""
    return replace(objects, number=np.arange(1, len(objects.number) + 1))


def take_regions(objects: RegionStatistics, rows: Array) -> RegionStatistics:
    """Return some of the objects, by index or mask."""
    return RegionStatistics(*(getattr(objects, f.name)[rows] for f in fields(RegionStatistics)))


def concatenate_statistics(parts: Sequence[RegionStatistics]) -> RegionStatistics:
    """Concatenate the rows of at least one part."""
    return RegionStatistics(
        *(np.concatenate([getattr(part, f.name) for part in parts]) for f in fields(RegionStatistics))
    )
