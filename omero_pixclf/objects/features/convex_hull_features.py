"""ilastik's "Convex Hull Features" of objects, whose hull is the bounding box.

vigra begins its hull with points that coincide, and then fills the whole box of the object. Classifiers were trained
on what came of it, so the hull is the box here, too: a geometrically correct one (`objects.convex_hull`,
scikit-image's ``area_convex``) gives other numbers. Defects are the parts of the box that the object leaves free,
joined by direct neighbours.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from omero_pixclf.image import Float64Array, Int64Array
from omero_pixclf.objects.features.object_pixels import ObjectSpans, find_places
from omero_pixclf.objects.run_length import Spans

__all__ = ["compute_hull_features"]


@dataclass(frozen=True)
class _Defects:
    """Parts of boxes that their objects leave free: the object's place, size and sums of coordinates from the box."""

    row: Int64Array
    size: Float64Array
    sums: Float64Array


def compute_hull_features(
    objects: ObjectSpans, *, dims: int, origin: tuple[int, int, int], limit: int
) -> dict[str, Float64Array]:
    """Compute all features of ilastik's plug-ins "2D" and "3D Convex Hull Features".

    Parameters
    ----------
    objects
        n objects, at least one.
    dims
        2 for coordinates x, y; 3 for x, y, z.
    origin
        Where the label image begins along (z, y, x) in the one that coordinates count in.
    limit
        About how many pixels to hold at a time.

    Returns
    -------
    dict
        ``(n, 1)`` or, for centres, ``(n, d)`` float64 by ilastik's names. Without defects, theirs are 0 (ilastik's
        ``DefectCenter`` is undefined then).
    """
    axes = slice(0, dims)
    extent = objects.upper - objects.lower
    volume, size = extent.prod(axis=1).astype(np.float64), objects.size.astype(np.float64)
    start = (objects.lower + np.array(origin))[:, ::-1].astype(np.float64)
    center = _sum_coordinates(objects) / size[:, None]
    defects = list(_find_defects(objects, limit))
    row = np.concatenate([d.row for d in defects])
    own = np.concatenate([d.size for d in defects])
    sums = np.concatenate([d.sums for d in defects])
    found = {name: values[:, None] for name, values in _describe_sizes(row, own, len(objects)).items()}
    with np.errstate(all="ignore"):
        away = np.sqrt((((sums / own[:, None]) - center[row])[:, axes] ** 2).sum(axis=1))
        displacement = np.bincount(row, own * away, len(objects)) / (volume - size)
        middle = np.stack([np.bincount(row, part, len(objects)) for part in sums.T], axis=1) / (volume - size)[:, None]
    none = volume == size
    return {
        **found,
        "InputVolume": size[:, None],
        "InputCenter": (center + start)[:, axes],
        "HullVolume": volume[:, None],
        "HullCenter": (start + (extent[:, ::-1] - 1) / 2)[:, axes],
        "Convexity": (size / volume)[:, None],
        "DefectCenter": np.where(none[:, None], 0.0, middle + start)[:, axes],
        "DefectDisplacementMean": np.where(none, 0.0, displacement)[:, None],
    }


def _sum_coordinates(objects: ObjectSpans) -> Float64Array:
    """Sums of x, y, z of each object's pixels, counted from its box."""
    spans, first = objects.spans, objects.starts[:-1]
    lower = np.repeat(objects.lower, np.diff(objects.starts), axis=0)
    middle = (spans.x0 + spans.x1 - 1) / 2 - lower[:, 2]
    rows = (middle, spans.y - lower[:, 1], spans.z - lower[:, 0])
    return np.stack([np.add.reduceat(row * spans.length, first) for row in rows], axis=1)


def _describe_sizes(row: Int64Array, size: Float64Array, count: int) -> dict[str, Float64Array]:
    """Number, mean, unbiased variance, skewness and kurtosis of the sizes of each object's defects."""
    k = np.bincount(row, minlength=count).astype(np.float64)
    with np.errstate(all="ignore"):
        mean = np.where(k > 0, np.bincount(row, size, count) / k, 0.0)
        away = size - mean[row]
        m2, m3, m4 = (np.bincount(row, away**power, count) for power in (2, 3, 4))
        skewness = np.sqrt(k * (k - 1)) / (k - 2) * np.sqrt(k) * m3 / m2**1.5
        kurtosis = (k - 1) / ((k - 2) * (k - 3)) * ((k + 1) * (k * m4 / m2**2 - 3) + 6)
        return {
            "DefectCount": k,
            "DefectVolumeMean": mean,
            "DefectVolumeVariance": np.where(k < 2, 0.0, m2 / (k - 1)),
            "DefectVolumeSkewness": np.where(k < 3, 0.0, skewness),
            "DefectVolumeKurtosis": np.where(k < 4, 0.0, kurtosis),
        }


def _find_defects(objects: ObjectSpans, limit: int) -> Iterator[_Defects]:
    """Label the free parts of many boxes at once: boxes stand side by side along x, one pixel apart."""
    extent = objects.upper - objects.lower
    order = np.lexsort((extent[:, 1], extent[:, 0]))  # neighbours of similar extents waste little
    first = 0
    while first < len(order):
        ahead = order[first:]
        height = np.maximum.accumulate(extent[ahead], axis=0)
        cells = height[:, 0] * height[:, 1] * np.cumsum(extent[ahead, 2] + 1)
        take = max(int(np.searchsorted(cells, limit, side="right")), 1)
        yield _label_boxes(objects, ahead[:take], extent[ahead[:take]])
        first += take


def _label_boxes(objects: ObjectSpans, rows: Int64Array, extent: Int64Array) -> _Defects:
    planes, height, _ = extent.max(axis=0)
    left = np.cumsum(extent[:, 2] + 1) - (extent[:, 2] + 1)
    width = int((extent[:, 2] + 1).sum())
    column = np.repeat(np.arange(len(rows)), extent[:, 2] + 1)
    inside = np.arange(width) < (left + extent[:, 2])[column]
    free = (np.arange(planes)[:, None, None] < extent[column, 0]) & (np.arange(height)[:, None] < extent[column, 1])
    free &= inside
    count_of = np.diff(objects.starts)[rows]
    own = np.repeat(np.arange(len(rows)), count_of)
    at = np.arange(len(own)) + np.repeat(objects.starts[rows] - (np.cumsum(count_of) - count_of), count_of)
    spans, lower = objects.spans.take(at), objects.lower[rows][own]
    shift = left[own] - lower[:, 2]
    moved = Spans(
        spans.label,
        spans.z - lower[:, 0],
        spans.y - lower[:, 1],
        spans.x0 + shift,
        spans.x1 + shift,
        (int(planes), int(height), width),
    )
    free.reshape(-1)[find_places(moved)] = False
    labels, count = ndimage.label(free)
    places = np.nonzero(labels)
    part = labels[places] - 1
    size = np.bincount(part, minlength=count).astype(np.float64)
    box = np.zeros(count, np.int64)
    box[part] = column[places[2]]
    along = (places[2] - left[column[places[2]]], places[1], places[0])
    sums = [np.bincount(part, values, count) for values in along]
    return _Defects(rows[box], size, np.stack(sums, axis=1))
