"""Foreground from probability maps: above a threshold, by hysteresis, or the most probable class."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from omero_pixclf.image import Array, BoolArray, Float32Array, Float64Array

__all__ = ["Sigma", "above_threshold", "is_most_probable", "smooth", "smoothing_halo"]

Sigma = tuple[float, float, float]
"""Standard deviations of a Gaussian along ``(z, y, x)``, in pixels."""

_WINDOW = 2.0  # ilastik's two-level thresholding truncates its Gaussians at 2 sigma
_LEAST_SIGMA = 0.1  # ilastik does not smooth below this


def above_threshold(probability: Array, level: float) -> BoolArray:
    """Return where the probability is at least ``level``, compared in the type of the map (float32) as in ilastik.

    >>> above_threshold(np.array([[[[0.2, 0.5, 0.8]]]], np.float32), 0.5).tolist()
    [[[[False, True, True]]]]
    """
    mask: BoolArray = probability >= probability.dtype.type(level)
    return mask


def is_most_probable(probabilities: Array, index: int) -> BoolArray:
    """Return where class ``index`` (0-based) of ``(t, z, y, x, c)`` is the highest; of equal classes the first is."""
    chosen = probabilities[..., index]
    wins = np.ones(chosen.shape, dtype=np.bool_)
    for other in range(probabilities.shape[-1]):
        if other < index:
            wins &= chosen > probabilities[..., other]
        elif other > index:
            wins &= chosen >= probabilities[..., other]
    return wins


def smooth(probability: Array, sigma: Sigma) -> Float32Array:
    """Smooth a map ``(t, z, y, x)`` with a Gaussian along z, y and x, each time point alone; returns float32.

    The Gaussian is that of ilastik's thresholding: truncated at ``int(2 sigma + 0.5)`` pixels, with weights that sum to
    one, mirrored at the image's border. Axes with one pixel or a sigma below 0.1 are not smoothed.
    """
    result = np.asarray(probability, dtype=np.float32)
    for axis, width in zip((3, 2, 1), reversed(sigma), strict=True):
        if probability.shape[axis] > 1 and width >= _LEAST_SIGMA:
            result = ndimage.correlate1d(result, _gaussian_weights(width), axis=axis, output=np.float32, mode="mirror")
    return result


def smoothing_halo(sigma: Sigma) -> tuple[int, int, int]:
    """Return how many pixels around its own `smooth` needs, along (z, y, x)."""
    z, y, x = (int(_WINDOW * width + 0.5) if width >= _LEAST_SIGMA else 0 for width in sigma)
    return (z, y, x)


def _gaussian_weights(sigma: float) -> Float64Array:
    radius = int(_WINDOW * sigma + 0.5)
    weights = np.exp(-0.5 * (np.arange(-radius, radius + 1) / sigma) ** 2)
    normalised: Float64Array = weights / weights.sum()
    return normalised
