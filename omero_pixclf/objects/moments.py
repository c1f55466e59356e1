"""Position, size and moments of objects from their runs of pixels, in closed form."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from omero_pixclf.image import Array, BoolArray, Float64Array, Int64Array
from omero_pixclf.objects.run_length import Spans

__all__ = ["Geometry", "compute_geometry"]


@dataclass(frozen=True)
class Geometry:
    """One entry per object of a time point, in the order of their labels.

    Attributes
    ----------
    label, size
        (n,) label, and number of pixels (voxels).
    row
        (spans,) index of the entry that each span belongs to.
    centroid
        (n, 3) mean of the pixels' indices along (z, y, x).
    covariance
        (n, 3, 3) covariance along (z, y, x) in pixels², of the object as a solid of unit cubes, so that one pixel has a
        width.
    start, stop
        (n, 3) bounding box along (z, y, x), start inclusive and stop exclusive.
    touches_border
        (n,) whether it touches the image's border in y or x.
    """

    label: Int64Array
    size: Int64Array
    row: Int64Array
    centroid: Float64Array
    covariance: Float64Array
    start: Int64Array
    stop: Int64Array
    touches_border: BoolArray

    def __len__(self) -> int:
        return len(self.label)


def compute_geometry(spans: Spans) -> Geometry:
    """Compute the geometry of every object that has a span."""
    pixels: Float64Array = np.bincount(spans.label, spans.length, minlength=1).astype(np.float64)
    label = np.flatnonzero(pixels)
    row_of = np.zeros(len(pixels), dtype=np.int64)
    row_of[label] = np.arange(len(label))
    row = row_of[spans.label]
    centroid = _centroid(spans, row, pixels[label])
    start, stop = _bounding_boxes(spans, row, len(label))
    _, height, width = spans.shape
    border = (start[:, 1:] == 0).any(axis=1) | (stop[:, 1] == height) | (stop[:, 2] == width)
    covariance = _covariance(spans, row, centroid, pixels[label])
    return Geometry(label, pixels[label].astype(np.int64), row, centroid, covariance, start, stop, border)


def _sum(values: Array, row: Int64Array, count: int) -> Float64Array:
    return np.bincount(row, values, minlength=count).astype(np.float64)


def _centroid(spans: Spans, row: Int64Array, size: Float64Array) -> Float64Array:
    middle = (spans.x0 + spans.x1 - 1) / 2
    sums = [_sum(spans.length * along, row, len(size)) for along in (spans.z, spans.y, middle)]
    centroid: Float64Array = np.stack(sums, axis=1) / size[:, None]
    return centroid


def _covariance(spans: Spans, row: Int64Array, centroid: Float64Array, size: Float64Array) -> Float64Array:
    """Return covariances about the centroids; a span of n pixels adds n²/12 along x and 1/12 along y and z."""
    middle = (spans.x0 + spans.x1 - 1) / 2
    away = np.stack((spans.z, spans.y, middle), axis=1) - centroid[row]
    covariance = np.empty((len(size), 3, 3))
    for i in range(3):
        for j in range(i + 1):
            total = _sum(spans.length * away[:, i] * away[:, j], row, len(size)) / size
            covariance[:, i, j] = covariance[:, j, i] = total
    covariance[:, 0, 0] += 1 / 12
    covariance[:, 1, 1] += 1 / 12
    covariance[:, 2, 2] += _sum(spans.length.astype(np.float64) ** 3 / 12, row, len(size)) / size
    return covariance


def _bounding_boxes(spans: Spans, row: Int64Array, count: int) -> tuple[Int64Array, Int64Array]:
    start = np.empty((count, 3), dtype=np.int64)
    stop = np.empty((count, 3), dtype=np.int64)
    if not count:
        return start, stop
    order = np.argsort(row, kind="stable")
    first = np.searchsorted(row[order], np.arange(count))
    lows: tuple[Any, ...] = (spans.z, spans.y, spans.x0)
    highs: tuple[Any, ...] = (spans.z + 1, spans.y + 1, spans.x1)
    for axis in range(3):
        start[:, axis] = np.minimum.reduceat(lows[axis][order], first)
        stop[:, axis] = np.maximum.reduceat(highs[axis][order], first)
    return start, stop
