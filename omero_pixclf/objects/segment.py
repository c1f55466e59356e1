"""Probability maps to labelled objects, as a recipe's ``[objects]`` section says."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from omero_pixclf.config import Objects
from omero_pixclf.objects.label import (
    Connectivity,
    Labels,
    components,
    fill_holes,
    neighbours,
    off_border,
    within_sizes,
)
from omero_pixclf.objects.threshold import Sigma, above, most_probable, smooth
from omero_pixclf.objects.two_level_threshold import hysteresis
from omero_pixclf.objects.watershed import by_distance, by_probability

__all__ = ["dimensions", "find", "foreground", "sigma_of", "spacing_in"]


def find(
    probabilities: NDArray[Any],
    index: int,
    settings: Objects,
    *,
    pixel_size_um: tuple[float | None, float | None, float | None] = (None, None, None),
) -> Labels:
    """The objects of class ``index`` (0-based) in ``(t, z, y, x, c)`` probabilities.

    In this order: smooth (objects in planes: along y and x only), threshold, fill holes, label, split, remove small
    and large objects, remove those at the border.

    Parameters
    ----------
    probabilities
        ``(t, z, y, x, c)`` float32.
    index
        The class, 0-based.
    settings
        The recipe's ``[objects]``; which label it names is answered by ``index``.
    pixel_size_um
        Micrometres along (z, y, x), so that splitting by distance knows how far planes are apart.

    Returns
    -------
    Labels
        ``(t, z, y, x)`` int32, numbered in raster order at each t.
    """
    connectivity = neighbours(settings.dims, settings.connectivity, probabilities.shape[1])
    mask, cores = foreground(probabilities, index, settings, connectivity=connectivity)
    if cores is not None:
        mask = hysteresis(mask, cores, connectivity=connectivity) > 0
    if settings.fill_holes:
        mask = fill_holes(mask, connectivity=connectivity)
    labels = components(mask, connectivity=connectivity)
    if settings.split == "distance":
        labels = by_distance(labels, connectivity=connectivity, spacing=spacing_in(pixel_size_um))
    elif settings.split == "probability":
        labels = by_probability(labels, probabilities[..., index], connectivity=connectivity)
    labels = within_sizes(labels, min_size=settings.min_size, max_size=settings.max_size)
    return off_border(labels) if settings.border == "remove" else labels


def spacing_in(pixel_size_um: tuple[float | None, float | None, float | None]) -> tuple[float, float, float]:
    """Extents of a pixel relative to its width; cubes where any is unknown."""
    z, y, x = pixel_size_um
    return (z / x, y / x, 1.0) if z and y and x else (1.0, 1.0, 1.0)


def dimensions(settings: Objects, planes: int) -> Literal[2, 3]:
    """Whether a recipe's objects lie in planes (2) or go through z (3), in an image of so many planes."""
    return 3 if neighbours(settings.dims, settings.connectivity, planes) in (6, 26) else 2


def foreground(
    probabilities: NDArray[Any], index: int, settings: Objects, *, connectivity: Connectivity
) -> tuple[NDArray[np.bool_], NDArray[np.bool_] | None]:
    """Where objects can be, and by hysteresis where their cores are (else None), ``(t, z, y, x)``."""
    sigma = sigma_of(settings, connectivity)
    if settings.method == "segmentation":
        if any(sigma):
            smoothed = [smooth(probabilities[..., c], sigma) for c in range(probabilities.shape[-1])]
            return most_probable(np.stack(smoothed, axis=-1), index), None
        return most_probable(probabilities, index), None
    probability = smooth(probabilities[..., index], sigma)
    if settings.method == "threshold":
        return above(probability, settings.threshold), None
    return above(probability, settings.low), above(probability, settings.high)


def sigma_of(settings: Objects, connectivity: Connectivity) -> Sigma:
    """How much a recipe smooths along (z, y, x): objects in planes are smoothed in their planes."""
    z, y, x = settings.smooth
    return (z if connectivity in (6, 26) else 0.0, y, x)
