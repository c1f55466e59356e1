"""Split touching objects by a watershed on their distance or probability map.

A peak is an object of its own if every path to a higher peak goes down by at least a given depth (the "h-maxima" of
Soille, Morphological Image Analysis, 2nd ed. 2003, section 6.3.4). The watershed floods from these peaks, and every
pixel of the old object goes to one of the new ones. It is computed by flooding from all peaks and merging basins whose
highest pass is too shallow, highest pass first, which needs only one watershed.

The default depths found the true number of nuclei best in simulated plates and stacks; smaller ones split too much.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

import numpy as np
from scipy import ndimage

from omero_pixclf.image import Array, BoolArray, Int32Array
from omero_pixclf.objects.label import Connectivity, relabel_in_raster_order, structuring_element
from omero_pixclf.objects.threshold import smooth

__all__ = ["SMOOTHING", "split_by_distance", "split_by_probability"]

SMOOTHING = 1.0
"""Sigma in pixels of the Gaussian that smooths a probability map before it is split."""


def split_by_distance(
    labels: Array,
    *,
    connectivity: Connectivity,
    spacing: tuple[float, float, float] = (1.0, 1.0, 1.0),
    depth: float = 1.5,
) -> Array:
    """Split objects where they are narrow.

    Parameters
    ----------
    labels
        ``(t, z, y, x)`` of integers, 0 is background.
    connectivity
        4 and 8: each plane alone; 6 and 26: through z.
    spacing
        Distances of neighbouring pixels along (z, y, x), relative to x.
    depth
        How much smaller the radius of the narrow place must be than the radii of both parts, in pixels of x.

    Returns
    -------
    Array
        int32, the same foreground, numbered in raster order at each t.
    """
    solid = connectivity in (6, 26)
    result, highest = np.zeros(labels.shape, dtype=np.int32), [0] * labels.shape[0]
    for index in _occupied(labels, solid=solid):
        objects = labels[index]
        distance = ndimage.distance_transform_edt(objects > 0, sampling=spacing if solid else spacing[1:])
        _add_objects(result, highest, index, _split_objects(objects, distance, connectivity, depth))
    return relabel_in_raster_order(result)


def split_by_probability(
    labels: Array,
    probability: Array,
    *,
    connectivity: Connectivity,
    sigma: float = SMOOTHING,
    depth: float = 0.2,
) -> Array:
    """Split objects along valleys of probability.

    Parameters
    ----------
    labels
        ``(t, z, y, x)`` of integers, 0 is background.
    probability
        ``(t, z, y, x)`` of the objects' class.
    connectivity
        4 and 8: each plane alone; 6 and 26: through z.
    sigma
        Sigma in pixels of the Gaussian that smooths the map first.
    depth
        How much lower than the peaks on both sides a valley must be.

    Returns
    -------
    Array
        int32, the same foreground, numbered in raster order at each t.
    """
    solid = connectivity in (6, 26)
    smoothed = smooth(probability, (sigma if solid else 0.0, sigma, sigma))
    result, highest = np.zeros(labels.shape, dtype=np.int32), [0] * labels.shape[0]
    for index in _occupied(labels, solid=solid):
        _add_objects(result, highest, index, _split_objects(labels[index], smoothed[index], connectivity, depth))
    return relabel_in_raster_order(result)


def _occupied(labels: Array, *, solid: bool) -> Iterator[tuple[int, ...]]:
    """Yield the indices of the volumes (solid) or planes that have objects."""
    times, planes = labels.shape[:2]
    for index in product(range(times)) if solid else product(range(times), range(planes)):
        if labels[index].any():
            yield index


def _add_objects(result: Int32Array, highest: list[int], index: tuple[int, ...], found: Array) -> None:
    """Write the objects of a plane or volume, with labels above the ``highest`` of its time point so far."""
    t = index[0]
    np.add(found, highest[t], out=result[index], where=found > 0)
    highest[t] += int(found.max())


def _split_objects(objects: Array, landscape: Array, connectivity: Connectivity, depth: float) -> Array:
    """Return new labels for the objects of a plane or volume; only objects with several peaks are flooded."""
    from skimage.morphology import local_maxima  # slow to import, and most recipes do not split
    from skimage.segmentation import watershed

    around = structuring_element(connectivity) if objects.ndim == 3 else structuring_element(connectivity)[1]
    # With a lower frame, so that peaks at the border are found.
    framed = np.full([n + 2 for n in objects.shape], landscape.min() - 1.0)
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
    merged = _merge_basins(_find_passes(basins, landscape, around), peaks, depth)
    parts: Array = np.where(crowded, merged[basins] + int(objects.max()), objects)
    return parts


def _find_passes(basins: Array, landscape: Array, around: BoolArray) -> Array:
    """Return the highest pass between each two neighbouring basins: rows (height, basin, basin), highest first."""
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


def _merge_basins(passes: Array, peaks: Array, depth: float) -> Int32Array:
    """Return for each basin the basin that it is merged into: passes less deep than ``depth`` are merged."""
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
