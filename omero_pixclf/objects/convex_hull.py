"""Pixel counts of the objects' convex hulls; a pixel counts if its centre is in the hull of pixel centres.

Counted in this way, an object that is as convex as pixels can be has a hull of its own size. In a plane the number
follows from Pick's theorem: area + half the number of points on the hull's line + 1.

A point of a chain on or above the chord between its neighbours is no corner of the lower hull. Removing all such points
at once, repeatedly, ends with the hull. This works on all objects together; the usual monotone chain (Andrew 1979,
doi:10.1016/0020-0190(79)90072-3) goes point by point.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy.spatial import ConvexHull

from omero_pixclf.image import Array, BoolArray, Float64Array, Int64Array
from omero_pixclf.objects.moments import Geometry
from omero_pixclf.objects.run_length import Spans

__all__ = ["convex_sizes"]


@dataclass(frozen=True)
class _Chain:
    """Corners of lower hulls ``x(y)``, concatenated: group, y, x."""

    group: Int64Array
    y: Int64Array
    x: Int64Array


def convex_sizes(spans: Spans, geometry: Geometry, *, dims: Literal[2, 3]) -> Float64Array:
    """Return the number of pixels (voxels) in each object's convex hull, in the order of labels.

    >>> from omero_pixclf.objects.moments import compute_geometry
    >>> from omero_pixclf.objects.run_length import encode_spans
    >>> spans = encode_spans(np.array([[[1, 0, 0], [1, 0, 0], [1, 1, 1]]]))
    >>> convex_sizes(spans, compute_geometry(spans), dims=2).tolist()
    [6.0]
    """
    if not len(geometry):
        return np.empty(0)
    planes = spans.shape[0]
    group = geometry.row if dims == 2 else geometry.row * planes + spans.z  # 3D: one hull per object and plane first
    left, right = _lower_hulls(group, spans.y, spans.x0), _lower_hulls(group, spans.y, 1 - spans.x1)
    if dims == 2:
        return _count_points_between(left, right, len(geometry))
    return _count_points_within(left, right, planes, len(geometry))


def _lower_hulls(group: Int64Array, row: Int64Array, x: Int64Array) -> _Chain:
    """Return the lower hull of x over y for each group."""
    high = int(row.max()) + 1
    key = group * high + row
    order = np.argsort(key, kind="stable")
    key = key[order]
    first = np.flatnonzero(np.concatenate(([True], key[1:] != key[:-1])))
    return _remove_concave_points(_Chain(key[first] // high, key[first] % high, np.minimum.reduceat(x[order], first)))


def _remove_concave_points(chain: _Chain) -> _Chain:
    """Return the strictly convex points; chains that no longer lose points are finished."""
    done: list[_Chain] = []
    while len(chain.group):
        drop = _is_concave(chain)
        losing = np.zeros(int(chain.group[-1]) + 1, dtype=np.bool_)
        losing[chain.group[drop]] = True
        going = losing[chain.group]
        done.append(_select_points(chain, ~going))
        chain = _select_points(chain, going & ~drop)
    group, y, x = (np.concatenate([getattr(c, name) for c in done]) for name in ("group", "y", "x"))
    return _select_points(_Chain(group, y, x), np.argsort(group, kind="stable"))


def _is_concave(chain: _Chain) -> BoolArray:
    group, y, x = chain.group, chain.y, chain.x
    drop = np.zeros(len(group), dtype=np.bool_)
    inner = group[2:] == group[:-2]
    above = (x[1:-1] - x[:-2]) * (y[2:] - y[:-2]) >= (x[2:] - x[:-2]) * (y[1:-1] - y[:-2])
    drop[1:-1] = inner & above
    return drop


def _select_points(chain: _Chain, chosen: Array) -> _Chain:
    return _Chain(chain.group[chosen], chain.y[chosen], chain.x[chosen])


def _count_points_between(left: _Chain, right: _Chain, count: int) -> Float64Array:
    """Count the integer points between each left chain and each (mirrored) right chain, or on them."""
    area, line = np.zeros(count), np.zeros(count)
    for chain in (left, right):
        within = chain.group[1:] == chain.group[:-1]
        group = chain.group[1:][within]
        rise, run = np.diff(chain.y)[within], np.diff(chain.x)[within]
        middle = (chain.x[1:] + chain.x[:-1])[within] / 2
        area -= np.bincount(group, middle * rise, minlength=count)
        line += np.bincount(group, np.gcd(rise, run), minlength=count)
    ends = np.arange(count)
    for side in ("left", "right"):  # the horizontal pieces in the first and the last row
        at, other = (np.searchsorted(c.group, ends, side=side) - (side == "right") for c in (left, right))
        line += -right.x[other] - left.x[at]
    return np.asarray(area + line / 2 + 1)


_MARGIN = 0.01  # gives flat objects a volume; adds only voxel centres that are this near to the hull


def _count_points_within(left: _Chain, right: _Chain, planes: int, count: int) -> Float64Array:
    """Count the integer points in the 3D hull of each object, from the corners of its hulls in the planes."""
    group = np.concatenate((left.group, right.group))
    corners = np.stack((group % planes, np.concatenate((left.y, right.y)), np.concatenate((left.x, -right.x))), axis=1)
    order = np.argsort(group // planes, kind="stable")
    parts = np.split(corners[order], np.searchsorted((group // planes)[order], np.arange(1, count)))
    return np.array([_count_points_in_hull(part) for part in parts], dtype=np.float64)


def _count_points_in_hull(corners: Int64Array) -> int:
    """Count the integer points in one hull, row by row, clipping each row at all faces."""
    around = np.concatenate((np.eye(3), -np.eye(3))) * _MARGIN
    faces = ConvexHull((corners[:, None] + around).reshape(-1, 3)).equations  # n·p + d <= 0 inside
    low, high = corners.min(axis=0), corners.max(axis=0)
    z, y = (grid.ravel() for grid in np.mgrid[low[0] : high[0] + 1, low[1] : high[1] + 1])
    first, last = np.full(len(z), float(low[2])), np.full(len(z), float(high[2]))
    for nz, ny, nx, offset in faces:
        rest = nz * z + ny * y + offset
        if abs(nx) < 1e-12:
            last[rest > 1e-9] = -np.inf
        elif nx > 0:
            np.minimum(last, -rest / nx, out=last)
        else:
            np.maximum(first, -rest / nx, out=first)
    count = np.floor(last + 1e-9) - np.ceil(first - 1e-9) + 1
    return int(np.maximum(count, 0).sum())
