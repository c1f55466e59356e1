"""Simple segmentation and uncertainty of probabilities, as ilastik exports them."""

from __future__ import annotations

import numpy as np

from omero_pixclf.image import Float32Array, UInt8Array

__all__ = ["simple_segmentation", "uncertainty"]


def simple_segmentation(probabilities: Float32Array) -> UInt8Array:
    """Return the most probable class of each pixel (ilastik's "Simple Segmentation").

    Parameters
    ----------
    probabilities
        float32 ``(..., classes)``.

    Returns
    -------
    uint8 ``(..., 1)``: the class of the highest probability, counted from 1; the lowest class of several equal ones; 1
    where all are 0.

    Examples
    --------
    >>> import numpy as np
    >>> simple_segmentation(np.array([[0.2, 0.4, 0.4]], np.float32))
    array([[2]], dtype=uint8)
    """
    best = np.ones(probabilities.shape[:-1], np.uint8)
    highest = probabilities[..., 0].copy()
    for c in range(1, probabilities.shape[-1]):
        above = probabilities[..., c] > highest
        best[above] = c + 1
        np.maximum(highest, probabilities[..., c], out=highest)
    return best[..., None]


def uncertainty(probabilities: Float32Array) -> Float32Array:
    """Return how uncertain the classifier is of each pixel (ilastik's "Uncertainty").

    Parameters
    ----------
    probabilities
        float32 ``(..., classes)``.

    Returns
    -------
    float32 ``(..., 1)``: 1 - (highest - second highest probability); 0 if there is one class only.

    Examples
    --------
    >>> uncertainty(np.array([[0.5, 0.25, 0.25]], np.float32)).tolist()
    [[0.75]]
    """
    highest = np.asarray(probabilities[..., 0], dtype=np.float32)
    if probabilities.shape[-1] == 1:
        return np.zeros_like(highest)[..., None]
    second = np.full_like(highest, -np.inf)
    for c in range(1, probabilities.shape[-1]):
        value = probabilities[..., c]
        second = np.maximum(second, np.minimum(highest, value))
        highest = np.maximum(highest, value)
    return np.asarray(np.float32(1) - (highest - second))[..., None]
