"""ilastik's "Hysteresis with identity preservation": cores that grow down to a lower threshold without merging."""

from __future__ import annotations

import numpy as np

from omero_pixclf.image import Array
from omero_pixclf.objects.kernels import kernels

__all__ = ["grow_cores"]


def grow_cores(probability: Array, cores: Array, low: float) -> Array:
    """Grow labelled cores by a watershed of the inverted probability, until it falls below ``low``.

    Pixels join in the order of falling probability. As in ilastik, a pixel that joins takes its direct neighbours with
    it before their own probability is looked at: every object has a rim of one pixel below ``low``. Where pixels have
    the same probability, the order is that of vigra's priority queue.

    Parameters
    ----------
    probability
        ``(t, z, y, x)``, computed with as float32.
    cores
        ``(t, z, y, x)`` of integers, 0 is background.
    low
        The lowest probability from which a core still grows.

    Returns
    -------
    int32 ``(t, z, y, x)`` with the cores' numbers.

    Examples
    --------
    >>> probability = np.array([[[[0.9, 0.6, 0.4, 0.2, 0.1]]]], np.float32)
    >>> grow_cores(probability, np.array([[[[7, 0, 0, 0, 0]]]]), 0.5).tolist()
    [[[[7, 7, 7, 0, 0]]]]
    """
    result = np.ascontiguousarray(cores, dtype=np.int32)
    result = result.copy() if result is cores or result.base is not None else result
    for frame, labels in zip(probability, result, strict=True):
        if not labels.any():
            continue
        values = np.asarray(frame, dtype=np.float32)
        highest = values.max()
        cost = np.ascontiguousarray(highest - values)
        kernels.flood(cost, labels, labels.shape, float(highest - np.float32(low)))
    return result
