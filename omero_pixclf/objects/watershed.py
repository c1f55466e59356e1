"""Split touching objects by a watershed on their distance or probability map.

A peak counts as an object of its own where the way to any higher one leads down by at least a given depth (the
"h-maxima" of Soille, Morphological Image Analysis, 2nd ed. 2003, section 6.3.4); the watershed then floods from the
peaks, and every pixel of the old object goes to one of the new ones. Computed by flooding from all peaks and joining
the basins whose highest pass is too shallow, highest pass first, which costs one watershed.

The depths are what found the true number of nuclei best in simulated plates and stacks; less parts too much.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from scipy import ndimage

from omero_pixclf.image import Array, BoolArray, Int32Array
from omero_pixclf.objects.label import Connectivity, relabel_in_raster_order, structuring_element
from omero_pixclf.objects.threshold import smooth

__all__ = ["SMOOTHING", "split_by_distance", "split_by_probability"]

SMOOTHING = 1.0
"""Standard deviation in pixels of the Gaussian over a probability map before its valleys are looked for."""


def split_by_distance(
    labels: Array,
    *,
    connectivity: Connectivity,
    spacing: tuple[float, float, float] = (1.0, 1.0, 1.0),
    depth: float = 1.5,
) -> Array:
    """Part objects at their waists.

    Parameters
    ----------
    labels
        ``(t, z, y, x)`` of integers, 0 is background.
    connectivity
        4 and 8 look at each plane by itself, 6 and 26 through z.
    spacing
        Distances of neighbouring pixels along (z, y, x), relative to each other.
    depth
        How much narrower (in pixels of x, as radius) a waist is than what it parts.

    Returns
    -------
    Array
        int32, the same foreground, numbered in raster order at each t.
    """
    solid = connectivity in (6, 26)
    sampling = spacing if solid else spacing[1:]

    def parts(part: Array, _: Any) -> Array:
        return _parts(part, ndimage.distance_transform_edt(part > 0, sampling=sampling), connectivity, depth)

    return _each(labels, labels, parts, solid=solid)


def split_by_probability(
    labels: Array,
    probability: Array,
    *,
    connectivity: Connectivity,
    sigma: float = SMOOTHING,
    depth: float = 0.2,
) -> Array:
    """Part objects along valleys of probability.

    Parameters
    ----------
    labels
        ``(t, z, y, x)`` of integers, 0 is background.
    probability
        ``(t, z, y, x)`` of the objects' class.
    connectivity
        4 and 8 look at each plane by itself, 6 and 26 through z.
    sigma
        The map is smoothed by a Gaussian of so many pixels first.
    depth
        How much lower than both its sides a valley is.

    Returns
    -------
    Array
        int32, the same foreground, numbered in raster order at each t.
    """
    solid = connectivity in (6, 26)
    smoothed = smooth(probability, (sigma if solid else 0.0, sigma, sigma))
    return _each(labels, smoothed, lambda part, above: _parts(part, above, connectivity, depth), solid=solid)


def _each(labels: Array, landscape: Array, parts: Callable[[Array, Array], Array], *, solid: bool) -> Array:
    """Part the objects of each volume, or of each plane."""
    result = np.zeros(labels.shape, dtype=np.int32)
    for t in range(labels.shape[0]):
        most = 0
        for place in [(t,)] if solid else [(t, z) for z in range(labels.shape[1])]:
            if labels[place].any():
                found = parts(labels[place], landscape[place])
                np.add(found, most, out=result[place], where=found > 0)
                most += int(found.max())
    return relabel_in_raster_order(result)


def _parts(objects: Array, landscape: Array, connectivity: Connectivity, depth: float) -> Array:
    """New numbers for the objects of a plane or volume; only those with several peaks are flooded."""
    from skimage.morphology import local_maxima  # slow to import, and most recipes split nothing
    from skimage.segmentation import watershed

    around = structuring_element(connectivity) if objects.ndim == 3 else structuring_element(connectivity)[1]
    framed = np.full([n + 2 for n in objects.shape], landscape.min() - 1.0)  # lower all around: peaks at the border
    inner = (slice(1, -1),) * objects.ndim
    np.copyto(framed[inner], landscape, where=objects > 0)
    seeds, count = ndimage.label(local_maxima(framed, footprint=around)[inner] & (objects > 0), around)
    at = np.nonzero(seeds)
    owner, peaks = np.zeros(count + 1, dtype=np.int64), np.full(count + 1, -np.inf)
    owner[seeds[at]], peaks[seeds[at]] = objects[at], landscape[at]  # all pixels of a seed are equally high
    several = np.bincount(owner[1:], minlength=int(objects.max()) + 1) > 1
    crowded = several[objects]
    if not crowded.any():
        return objects
    basins = watershed(-landscape, np.where(crowded, seeds, 0), mask=crowded, connectivity=around)
    merged = _merged(_passes(basins, landscape, around), peaks, depth)
    parts: Array = np.where(crowded, merged[basins] + int(objects.max()), objects)
    return parts


def _passes(basins: Array, landscape: Array, around: BoolArray) -> Array:
    """The highest way between each two neighbouring basins: rows (height, basin, basin), highest first."""
    found = []
    for step in np.argwhere(around)[: int(around.sum()) // 2] - 1:  # half the neighbours: each pair once
        here = tuple(slice(max(-s, 0), n - max(s, 0)) for s, n in zip(step, basins.shape, strict=True))
        there = tuple(slice(max(s, 0), n - max(-s, 0)) for s, n in zip(step, basins.shape, strict=True))
        a, b = basins[here], basins[there]
        at = np.nonzero((a != b) & (a > 0) & (b > 0))
        height = np.minimum(landscape[here][at], landscape[there][at])
        found.append(np.stack((height, np.minimum(a[at], b[at]), np.maximum(a[at], b[at])), axis=1))
    rows = np.concatenate(found)
    rows = rows[np.argsort(-rows[:, 0], kind="stable")]
    _, first = np.unique(rows[:, 1:], axis=0, return_index=True)
    highest: Array = rows[np.sort(first)]
    return highest


def _merged(passes: Array, peaks: Array, depth: float) -> Int32Array:
    """The basin that each basin ends up in, when those that are no deeper parted than ``depth`` become one."""
    root = list(range(len(peaks)))
    peak = peaks.tolist()

    def find(basin: int) -> int:
        while root[basin] != basin:
            root[basin] = root[root[basin]]
            basin = root[basin]
        return basin

    for height, one, other in passes.tolist():
        a, b = find(int(one)), find(int(other))
        if a != b and min(peak[a], peak[b]) - height < depth:
            root[b] = a
            peak[a] = max(peak[a], peak[b])
    return np.array([find(basin) for basin in range(len(root))], dtype=np.int32)
