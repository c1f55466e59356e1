"""ilastik's two-level (hysteresis) thresholding, as in its object classification and tracking workflows."""

from __future__ import annotations

import numpy as np

from omero_pixclf.ilastik.object_project import ThresholdSettings
from omero_pixclf.image import Array, BoolArray, Float32Array
from omero_pixclf.objects.ipht import grow_cores
from omero_pixclf.objects.label import (
    Connectivity,
    filter_sizes,
    label_components,
    relabel_in_raster_order,
    select_labels,
)
from omero_pixclf.objects.threshold import Sigma, above_threshold, smooth

__all__ = ["hysteresis_threshold", "two_level_threshold"]


def two_level_threshold(probabilities: Array, settings: ThresholdSettings) -> Array:
    """Return the objects that ilastik finds, ``(t, z, y, x)`` int32, numbered as in its "Object Identities".

    Parameters
    ----------
    probabilities
        ``(t, z, y, x, c)``, scaled to 0 to 1.
    settings
        If any sigma of an axis with more than one pixel is below 0.1, no axis is smoothed, as in ilastik.
    """
    connectivity: Connectivity = 6 if probabilities.shape[1] > 1 else 4
    final = _smooth_class(probabilities, settings.channel, settings.sigma)
    if settings.method == "simple":
        labels = label_components(above_threshold(final, settings.low), connectivity=connectivity)
    else:
        same = settings.core_channel == settings.channel
        core = final if same else _smooth_class(probabilities, settings.core_channel, settings.sigma)
        cores = filter_sizes(
            label_components(above_threshold(core, settings.high), connectivity=connectivity),
            min_size=settings.min_size,
            max_size=settings.max_size,
        )
        both = final if same else final + core
        if settings.method == "hysteresis":
            wide = above_threshold(both, settings.low)
            labels = hysteresis_threshold(wide, cores > 0, connectivity=connectivity)
        else:
            labels = grow_cores(both, cores, settings.low)
    labels = filter_sizes(labels, min_size=settings.min_size, max_size=settings.max_size)
    return relabel_in_raster_order(labels) if settings.method == "identity-preserving" else labels


def hysteresis_threshold(wide: Array, cores: Array, *, connectivity: Connectivity) -> Array:
    """Label the components of the mask ``wide`` that have a pixel in the mask ``cores``; both ``(t, z, y, x)``."""
    labels = label_components(wide, connectivity=connectivity)
    return select_labels(
        labels, (_has_core(frame, np.asarray(core, dtype=np.bool_)) for frame, core in zip(labels, cores, strict=True))
    )


def _has_core(frame: Array, core: BoolArray) -> BoolArray:
    wanted = np.zeros(int(frame.max(initial=0)) + 1, dtype=np.bool_)
    wanted[frame[core]] = True
    return wanted


def _smooth_class(probabilities: Array, channel: int, sigma: Sigma) -> Float32Array:
    probability = np.asarray(probabilities[..., channel], dtype=np.float32)
    extents = probability.shape[1:]
    if any(width < 0.1 for width, extent in zip(sigma, extents, strict=True) if extent > 1):
        return probability
    return smooth(probability, sigma)
