"""Gaussian kernels with ilastik's radii and rounding."""

from __future__ import annotations

import math
from functools import cache

import numpy as np

from omero_pixclf.image import Float32Array

__all__ = ["FILTER_WINDOW", "SMOOTHING_WINDOW", "gaussian_kernel", "kernel_radius"]

SMOOTHING_WINDOW, FILTER_WINDOW = 3.5, 2.0


def kernel_radius(sigma: float, window: float) -> int:
    """Return the number of taps on each side of the centre: ``floor(window sigma + 0.5)``."""
    return math.floor(window * sigma + 0.5)


@cache
def gaussian_kernel(sigma: float, order: int, window: float) -> Float32Array:
    """Return the weights of a Gaussian, or of its derivative: that of the centre, then those of the taps to its right.

    Order 0 sums to one, order 1 is exact on linear and order 2 on quadratic ramps. Every step is rounded to single
    precision as in ilastik's filters (fastfilters), so that results are equal.

    Parameters
    ----------
    sigma
        Standard deviation in pixels.
    order
        0, 1 or 2; order 1 is odd (apply as ``w[k] (f[i+k] - f[i-k])``), the others even.
    window
        Taps reach ``window`` standard deviations to each side.

    Returns
    -------
    float32 ``(radius + 1,)``; ``[1]`` where the radius is 0: such a pass does not change the image, at any order.
    """
    n = kernel_radius(sigma, window)
    if n == 0:
        return np.ones(1, np.float32)
    weights = np.array((_smooth, _first, _second)[order](sigma, n), np.float32)
    weights.flags.writeable = False
    return weights


def _f32(value: float) -> float:
    return float(np.float32(value))


def _bells(sigma: float, n: int, norm: float) -> list[float]:
    rate = -0.5 / sigma / sigma
    return [norm * math.exp(x * x * rate) for x in range(n + 1)]


def _smooth(sigma: float, n: int) -> list[float]:
    c = [_f32(v) for v in _bells(sigma, n, 1.0 / (math.sqrt(2.0 * math.pi) * sigma))]
    total = c[0]
    for v in c[1:]:
        total += 2.0 * v
    return [_f32(v / total) for v in c]


def _first(sigma: float, n: int) -> list[float]:
    bells = _bells(sigma, n, -1.0 / (math.sqrt(2.0 * math.pi) * sigma**3))
    c = [_f32(x * v) for x, v in enumerate(bells)]
    total = 0.0
    for x, v in enumerate(c):
        total = (total - v * x) - v * x
    return [-_f32(v / total) for v in c]


def _second(sigma: float, n: int) -> list[float]:
    bells = _bells(sigma, n, -1.0 / (math.sqrt(2.0 * math.pi) * sigma**3))
    c = [_f32((1.0 - (x / sigma) * (x / sigma)) * v) for x, v in enumerate(bells)]
    mean = c[0]
    for v in c[1:]:
        mean += 2.0 * v
    mean /= 2.0 * n + 1.0
    c = [_f32(v - mean) for v in c]
    total = 0.0
    for x, v in enumerate(c):
        total += 2.0 * (v * x * x / 2.0)
    return [_f32(v / total) for v in c]
