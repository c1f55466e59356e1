"""The pixels of objects, object after object: what sums, extremes and moments over each object are computed from."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from omero_pixclf.image import Array, Float64Array, Int64Array
from omero_pixclf.objects.run_length import Spans

__all__ = ["ObjectPixels", "ObjectSpans", "find_places", "gather_pixels", "group_spans", "read_values"]


@dataclass(frozen=True)
class ObjectSpans:
    """Runs of pixels, object after object, each object's in raster order.

    Attributes
    ----------
    label
        (n,) the objects' labels, ascending.
    starts
        (n + 1,) where each object's spans begin, and where the last ones end.
    spans
        All spans, in the order of ``starts``.
    size
        (n,) pixels of each object.
    lower, upper
        (n, 3) bounding boxes along (z, y, x), the upper ends exclusive.
    """

    label: Int64Array
    starts: Int64Array
    spans: Spans
    size: Int64Array
    lower: Int64Array
    upper: Int64Array

    def __len__(self) -> int:
        return len(self.label)

    def take(self, first: int, last: int) -> ObjectSpans:
        """Return objects ``first`` to ``last`` (exclusive), by their place in ``label``."""
        a, b = int(self.starts[first]), int(self.starts[last])
        own = slice(first, last)
        return ObjectSpans(
            self.label[own],
            self.starts[first : last + 1] - a,
            self.spans.take(slice(a, b)),
            self.size[own],
            self.lower[own],
            self.upper[own],
        )

    def batches(self, cost: Int64Array, limit: int) -> Iterator[tuple[slice, ObjectSpans]]:
        """Split into runs of objects that cost at most ``limit`` together, or are one object; with their places."""
        total = np.concatenate(([0], np.cumsum(cost)))
        first = 0
        while first < len(self):
            last = max(int(np.searchsorted(total, total[first] + limit, side="right")) - 1, first + 1)
            yield slice(first, last), self.take(first, last)
            first = last


@dataclass(frozen=True)
class ObjectPixels:
    """Coordinates and intensities of pixels, object after object, each object's in raster order; none is empty.

    Attributes
    ----------
    starts
        (n,) where each object's pixels begin.
    count
        (n,) float64: their number.
    coordinates
        ``(d, p)`` float64 along x, y (and z).
    values
        ``(c, p)`` float64: intensities, rounded to float32 as ilastik does.
    """

    starts: Int64Array
    count: Float64Array
    coordinates: Float64Array
    values: Float64Array

    @cached_property
    def row(self) -> Int64Array:
        """(p,) the place of each pixel's object."""
        return np.repeat(np.arange(len(self.starts)), self.count.astype(np.int64))

    def sum(self, rows: Float64Array) -> Float64Array:
        """Sum ``(k, p)`` over each object: ``(n, k)``.

        Pixels are added one after the other, as ilastik does, so that even what symmetric objects leave of a sum of
        odd powers (rounding errors, which forests look at) is the same.
        """
        return np.stack([np.bincount(self.row, row, len(self.starts)) for row in rows], axis=1)

    def minimum(self, rows: Float64Array) -> Float64Array:
        """Return the smallest of ``(k, p)`` in each object, ``(n, k)``; NaN counts only where there is nothing else."""
        return np.stack([np.fmin.reduceat(row, self.starts) for row in rows], axis=1)

    def maximum(self, rows: Float64Array) -> Float64Array:
        """Return the largest of ``(k, p)`` in each object, ``(n, k)``; NaN counts only where there is nothing else."""
        return np.stack([np.fmax.reduceat(row, self.starts) for row in rows], axis=1)

    def spread(self, values: Float64Array) -> Float64Array:
        """Repeat ``(n, k)`` for each pixel: ``(k, p)``."""
        return np.repeat(values.T, self.count.astype(np.int64), axis=1)

    @property
    def ends(self) -> Int64Array:
        """(n + 1,) where each object's pixels begin, and where the last ones end."""
        return np.append(self.starts, self.values.shape[1])


def group_spans(spans: Spans) -> ObjectSpans:
    """Sort the spans of a label image by object."""
    spans = spans.take(np.argsort(spans.label, kind="stable"))
    first = np.flatnonzero(np.diff(spans.label, prepend=-1))
    if not len(first):
        none = np.zeros((0, 3), np.int64)
        return ObjectSpans(spans.label, np.zeros(1, np.int64), spans, spans.label, none, none)
    lows, highs = (spans.z, spans.y, spans.x0), (spans.z + 1, spans.y + 1, spans.x1)
    return ObjectSpans(
        spans.label[first],
        np.append(first, len(spans)),
        spans,
        np.add.reduceat(spans.length, first),
        np.stack([np.minimum.reduceat(low, first) for low in lows], axis=1),
        np.stack([np.maximum.reduceat(high, first) for high in highs], axis=1),
    )


def gather_pixels(objects: ObjectSpans, image: Array, *, dims: int, origin: tuple[int, int, int]) -> ObjectPixels:
    """Read the pixels of objects.

    Parameters
    ----------
    objects
        At least one, as `group_spans` gives them.
    image
        ``(z, y, x, c)``, any real type.
    dims
        2 for coordinates x, y; 3 for x, y, z.
    origin
        Where the image begins along (z, y, x) in the one that coordinates count in.
    """
    spans = objects.spans
    length = spans.length
    starts = np.cumsum(objects.size) - objects.size
    places = find_places(spans)
    coordinates = np.empty((dims, len(places)))
    _, height, width = spans.shape
    coordinates[0] = places - np.repeat((spans.z * height + spans.y) * width - origin[2], length)
    coordinates[1] = np.repeat(spans.y + origin[1], length)
    if dims == 3:
        coordinates[2] = np.repeat(spans.z + origin[0], length)
    return ObjectPixels(starts, objects.size.astype(np.float64), coordinates, read_values(image, places))


def find_places(spans: Spans) -> Int64Array:
    """Return the raster index of every pixel of the spans, span after span."""
    _, height, width = spans.shape
    length = spans.length
    before = np.cumsum(length) - length
    first = (spans.z * height + spans.y) * width + spans.x0
    places: Int64Array = np.arange(int(length.sum())) + np.repeat(first - before, length)
    return places


def read_values(image: Array, places: Int64Array) -> Float64Array:
    """Read pixels of a ``(z, y, x, c)`` image by their raster index: ``(c, p)`` float64, rounded to float32."""
    flat = image.reshape(-1, image.shape[-1])
    with np.errstate(over="ignore", invalid="ignore"):
        return flat[places].T.astype(np.float32, order="C").astype(np.float64)
