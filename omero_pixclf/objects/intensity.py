"""Sum, minimum, maximum and variance of each object's pixels, in float64."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from omero_pixclf.image import Array, Float32Array, Float64Array
from omero_pixclf.objects.moments import Geometry
from omero_pixclf.objects.run_length import Spans

__all__ = ["IntensityStatistics", "intensity_statistics", "pixels_in_spans", "uncertainty"]


@dataclass(frozen=True)
class IntensityStatistics:
    """Statistics of one channel over each object, (n,) float64 in the order of labels.

    ``std`` is the population's (divided by the number of pixels). Where an object has a NaN pixel, all five are NaN.
    """

    mean: Float64Array
    minimum: Float64Array
    maximum: Float64Array
    std: Float64Array
    integrated: Float64Array


def pixels_in_spans(frame: Array, spans: Spans) -> Array:
    """The pixels of a ``(z, y, x, c)`` image that lie in spans, ``(n, c)``, span by span; no others are read."""
    _, height, width = spans.shape
    start = (spans.z * height + spans.y) * width + spans.x0
    before = np.cumsum(spans.length) - spans.length
    places = np.repeat(start - before, spans.length) + np.arange(int(spans.length.sum()))
    chosen: Array = frame.reshape(-1, frame.shape[-1])[places]
    return chosen


def intensity_statistics(pixels: Array, spans: Spans, geometry: Geometry) -> Iterator[IntensityStatistics]:
    """The statistics of each channel of the pixels ``(n, c)`` that `pixels_in_spans` gives, channel by channel.

    The spread is computed about each object's own mean, in a second pass.
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
        with np.errstate(invalid="ignore"):  # infinite pixels: their spread is NaN
            values -= np.repeat(mean[geometry.row], length)
        square = np.bincount(geometry.row, np.add.reduceat(values * values, first))
        yield IntensityStatistics(mean, minimum, maximum, np.sqrt(square / geometry.size), total)


def uncertainty(probabilities: Array) -> Float32Array:
    """Uncertainty of ``(…, c)`` probabilities as ilastik has it: 1 - (highest - second highest); 0 for a single class.

    >>> uncertainty(np.array([[0.5, 0.25, 0.25]], np.float32)).tolist()
    [0.75]
    """
    highest = np.asarray(probabilities[..., 0], dtype=np.float32)
    if probabilities.shape[-1] == 1:
        return np.zeros_like(highest)
    second = np.full_like(highest, -np.inf)
    for c in range(1, probabilities.shape[-1]):
        value = probabilities[..., c]
        second = np.maximum(second, np.minimum(highest, value))
        highest = np.maximum(highest, value)
    result: Float32Array = np.float32(1) - (highest - second)
    return result
