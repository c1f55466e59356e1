"""Sum, minimum, maximum and variance of each object's pixels, in float64."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from omero_pixclf.image import Array, Float64Array
from omero_pixclf.objects.moments import Geometry
from omero_pixclf.objects.run_length import Spans

__all__ = ["IntensityStatistics", "intensity_statistics", "pixels_in_spans"]


@dataclass(frozen=True)
class IntensityStatistics:
    """Statistics of one channel over each object, (n,) float64 in the order of labels.

    ``std`` is that of the population (divided by the number of pixels). If an object has a NaN pixel, all five are NaN.
    """

    mean: Float64Array
    minimum: Float64Array
    maximum: Float64Array
    std: Float64Array
    integrated: Float64Array


def pixels_in_spans(frame: Array, spans: Spans) -> Array:
    """Return the pixels of a ``(z, y, x, c)`` image in the spans, ``(n, c)``, span by span; no others are read."""
    _, height, width = spans.shape
    start = (spans.z * height + spans.y) * width + spans.x0
    before = np.cumsum(spans.length) - spans.length
    places = np.repeat(start - before, spans.length) + np.arange(int(spans.length.sum()))
    chosen: Array = frame.reshape(-1, frame.shape[-1])[places]
    return chosen


def intensity_statistics(pixels: Array, spans: Spans, geometry: Geometry) -> Iterator[IntensityStatistics]:
    """Yield the statistics of each channel of the pixels ``(n, c)`` from `pixels_in_spans`.

    The standard deviation is computed about each object's mean, in a second pass.
    """
    if not len(spans):
        empty = np.empty(0)
        yield from (IntensityStatistics(empty, empty, empty, empty, empty) for _ in range(pixels.shape[-1]))
        return
    length = spans.length
    first = np.cumsum(length) - length  # of each span, among the pixels of all spans
    by_object = np.argsort(geometry.row, kind="stable")
    of_object = np.searchsorted(geometry.row[by_object], np.arange(len(geometry)))
    for c in range(pixels.shape[-1]):
        values = pixels[:, c].astype(np.float64)
        total = np.bincount(geometry.row, np.add.reduceat(values, first)).astype(np.float64)
        minimum = np.minimum.reduceat(np.minimum.reduceat(values, first)[by_object], of_object)
        maximum = np.maximum.reduceat(np.maximum.reduceat(values, first)[by_object], of_object)
        mean = total / geometry.size
        with np.errstate(invalid="ignore"):  # infinite pixels: their standard deviation is NaN
            values -= np.repeat(mean[geometry.row], length)
        square = np.bincount(geometry.row, np.add.reduceat(values * values, first))
        yield IntensityStatistics(mean, minimum, maximum, np.sqrt(square / geometry.size), total)
