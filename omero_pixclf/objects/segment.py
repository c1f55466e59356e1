"""Segment probability maps to labelled objects: threshold, label, filter by size, split."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from omero_pixclf.image import Array, BoolArray
from omero_pixclf.objects.label import (
    Connectivity,
    clear_border,
    fill_holes,
    filter_sizes,
    label_components,
    resolve_connectivity,
)
from omero_pixclf.objects.threshold import Sigma, above_threshold, is_most_probable, smooth
from omero_pixclf.objects.two_level_threshold import hysteresis_threshold
from omero_pixclf.objects.watershed import split_by_distance, split_by_probability

__all__ = [
    "SegmentationSettings",
    "foreground",
    "object_dimensions",
    "relative_spacing",
    "segment_objects",
    "smoothing_sigma",
]


@dataclass(frozen=True)
class SegmentationSettings:
    """How the probabilities of one class become objects; the defaults are those of a recipe's ``[objects]``.

    Attributes
    ----------
    method
        ``threshold``: probability >= ``threshold``. ``hysteresis``: probability >= ``low``, in components that have a
        pixel >= ``high``. ``segmentation``: the class is the most probable one.
    threshold, low, high
        Probabilities from 0 to 1.
    smooth
        Sigma in pixels along (z, y, x) of the Gaussian that smooths the probabilities first; 0 for none.
    min_size, max_size
        Smallest and largest object in pixels (voxels), both included; ``max_size`` None for no limit.
    connectivity
        Neighbours of a pixel, as in `resolve_connectivity`.
    dims
        ``2d``: objects in planes; ``3d``: objects through z; ``auto``: 3D where there is more than one plane.
    split
        Separate touching objects by a watershed on the distance or the probability.
    fill_holes
        Fill holes in objects.
    border
        ``remove``: drop objects that touch the image's border in y or x.
    """

    method: Literal["threshold", "hysteresis", "segmentation"] = "threshold"
    threshold: float = 0.5
    low: float = 0.5
    high: float = 0.8
    smooth: Sigma = (0.0, 0.0, 0.0)
    min_size: int = 10
    max_size: int | None = None
    connectivity: Literal[4, 6, 8, 26] | None = None
    dims: Literal["auto", "2d", "3d"] = "auto"
    split: Literal["none", "distance", "probability"] = "none"
    fill_holes: bool = False
    border: Literal["keep", "remove"] = "keep"


def segment_objects(
    probabilities: Array,
    index: int,
    settings: SegmentationSettings,
    *,
    pixel_size_um: tuple[float | None, float | None, float | None] = (None, None, None),
) -> Array:
    """Segment the objects of class ``index`` (0-based) in ``(t, z, y, x, c)`` probabilities.

    The steps are: smooth (for objects in planes along y and x only), threshold, fill holes, label, split, remove small
    and large objects, remove objects at the border.

    Parameters
    ----------
    probabilities
        ``(t, z, y, x, c)`` float32.
    index
        The class, 0-based.
    settings
        How to segment.
    pixel_size_um
        Micrometres along (z, y, x); splitting by distance needs the distance of planes.

    Returns
    -------
    Array
        ``(t, z, y, x)`` int32, numbered in raster order at each t.
    """
    connectivity = resolve_connectivity(settings.dims, settings.connectivity, probabilities.shape[1])
    mask, cores = foreground(probabilities, index, settings, connectivity=connectivity)
    if cores is not None:
        mask = hysteresis_threshold(mask, cores, connectivity=connectivity) > 0
    if settings.fill_holes:
        mask = fill_holes(mask, connectivity=connectivity)
    labels = label_components(mask, connectivity=connectivity)
    if settings.split == "distance":
        labels = split_by_distance(labels, connectivity=connectivity, spacing=relative_spacing(pixel_size_um))
    elif settings.split == "probability":
        labels = split_by_probability(labels, probabilities[..., index], connectivity=connectivity)
    labels = filter_sizes(labels, min_size=settings.min_size, max_size=settings.max_size)
    return clear_border(labels) if settings.border == "remove" else labels


def relative_spacing(pixel_size_um: tuple[float | None, float | None, float | None]) -> tuple[float, float, float]:
    """Return the extents of a pixel relative to its width along x; 1 for all if any is unknown."""
    z, y, x = pixel_size_um
    return (z / x, y / x, 1.0) if z and y and x else (1.0, 1.0, 1.0)


def object_dimensions(settings: SegmentationSettings, planes: int) -> Literal[2, 3]:
    """Return whether objects are in planes (2) or go through z (3), in an image of so many planes."""
    return 3 if resolve_connectivity(settings.dims, settings.connectivity, planes) in (6, 26) else 2


def foreground(
    probabilities: Array, index: int, settings: SegmentationSettings, *, connectivity: Connectivity
) -> tuple[BoolArray, BoolArray | None]:
    """Return the foreground mask, and the mask of cores for a hysteresis threshold (else None), ``(t, z, y, x)``."""
    sigma = smoothing_sigma(settings, connectivity)
    if settings.method == "segmentation":
        if any(sigma):
            smoothed = [smooth(probabilities[..., c], sigma) for c in range(probabilities.shape[-1])]
            return is_most_probable(np.stack(smoothed, axis=-1), index), None
        return is_most_probable(probabilities, index), None
    probability = smooth(probabilities[..., index], sigma)
    if settings.method == "threshold":
        return above_threshold(probability, settings.threshold), None
    return above_threshold(probability, settings.low), above_threshold(probability, settings.high)


def smoothing_sigma(settings: SegmentationSettings, connectivity: Connectivity) -> Sigma:
    """Return the sigma of smoothing along (z, y, x); objects in planes are smoothed in their planes only."""
    z, y, x = settings.smooth
    return (z if connectivity in (6, 26) else 0.0, y, x)
