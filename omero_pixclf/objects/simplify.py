"""Remove points of an outline within a maximum distance.

The new line goes through the middles of pixel steps, not their corners: a slanted edge is then straight within half a
pixel, and any chord between corners would be further away from others. All rings are split at once, one level of the
recursion after the other.

Ramer 1972, doi:10.1016/S0146-664X(72)80017-0; Douglas and Peucker 1973, doi:10.3138/FM57-6770-U75U-7727.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from omero_pixclf.image import Array, Float64Array, Int64Array

__all__ = ["simplify_rings"]


def simplify_rings(rings: Sequence[Float64Array], *, tolerance: float) -> list[Float64Array]:
    """Return the rings with fewer points; every old point is within ``tolerance`` of its new ring.

    Parameters
    ----------
    rings
        Each ``(n, 2)`` float64 (x, y), at least three points, clockwise on a screen, its first point not repeated.
    tolerance
        In pixels, above 0.

    Returns
    -------
    list of NDArray
        In the same order. Thin rings that would lose half of their area are not changed.
    """
    if not rings:
        return []
    line = _RingPoints(rings)
    line.mark_kept_points(tolerance)
    return line.simplified_rings()


class _RingPoints:
    """The points of all rings, concatenated: middle, corner, middle, corner, …, middle (the first again).

    Middles have even positions in their ring; the new line may have its points there. Corners must be near the line.
    """

    def __init__(self, rings: Sequence[Float64Array]) -> None:
        self.rings = rings
        counts = np.array([len(ring) for ring in rings])
        self.stop = np.cumsum(2 * counts + 1)  # one past each ring's last middle
        self.start = self.stop - (2 * counts + 1)
        corners = np.concatenate(rings)
        after = corners[_next_index(counts)]
        ring = np.repeat(np.arange(len(rings)), counts)
        place = 2 * np.arange(len(corners)) + ring
        self.points = np.empty((int(self.stop[-1]), 2))
        self.points[place] = (corners + after) / 2
        self.points[place + 1] = after
        self.points[self.stop - 1] = self.points[self.start]
        self.keep = np.zeros(len(self.points), dtype=np.bool_)

    def mark_kept_points(self, tolerance: float) -> None:
        """Mark the points of the new rings."""
        half = self._opposite()
        self.keep[self.start] = self.keep[half] = True
        low = np.stack((self.start, half), axis=1).ravel()
        high = np.stack((half, self.stop - 1), axis=1).ravel()
        while len(low):
            worst, distance = self._worst(low, high)
            bad = distance > tolerance
            low, high, worst = low[bad], high[bad], worst[bad]
            step = high - low == 2
            self.keep[worst[step]] = True  # only one corner between two middles: keep the corner itself
            low, high, worst = low[~step], high[~step], worst[~step]
            cut = np.where(worst + 1 < high, worst + 1, worst - 1)
            self.keep[cut] = True
            low, high = np.concatenate((low, cut)), np.concatenate((cut, high))

    def simplified_rings(self) -> list[Float64Array]:
        """Return the new rings, without points on straight lines; rings that would lose half their area stay."""
        self.keep[self.stop - 1] = False
        ring = np.repeat(np.arange(len(self.start)), self.stop - self.start)[self.keep]
        points = self.points[self.keep]
        since = points - points[_previous_index(np.bincount(ring))]
        to = points[_next_index(np.bincount(ring))] - points
        bends = (_cross(since, to) != 0) | ((since * to).sum(axis=1) < 0)
        ring, points = ring[bends], points[bends]
        counts = np.bincount(ring, minlength=len(self.rings))
        area = np.bincount(ring, _cross(points, points[_next_index(counts)]), minlength=len(self.rings))
        old_counts = np.array([len(r) for r in self.rings])
        old = np.concatenate(self.rings)
        old_area = np.bincount(
            np.repeat(np.arange(len(self.rings)), old_counts), _cross(old, old[_next_index(old_counts)])
        )
        good = area > 0.5 * old_area
        parts = np.split(points, np.cumsum(counts)[:-1])
        return [new if ok else was for new, was, ok in zip(parts, self.rings, good.tolist(), strict=True)]

    def _opposite(self) -> Array:
        """Return for each ring the middle that is furthest from its first middle."""
        ring = np.repeat(np.arange(len(self.start)), self.stop - self.start)
        distance = ((self.points - self.points[self.start][ring]) ** 2).sum(axis=1)
        distance[self.start[ring] % 2 != np.arange(len(ring)) % 2] = -1.0  # corners
        return _first_maximum(distance, self.start, ring)

    def _worst(self, low: Array, high: Array) -> tuple[Array, Float64Array]:
        """Return for each segment the corner that is furthest from it, and the distance."""
        count = (high - low) // 2
        offset = np.cumsum(count) - count
        of = np.repeat(np.arange(len(low)), count)
        corner = low[of] + 1 + 2 * (np.arange(len(of)) - offset[of])
        distance = _distance_to_segment(self.points[corner], self.points[low][of], self.points[high][of])
        at = _first_maximum(distance, offset, of)
        return corner[at], distance[at]


def _next_index(counts: Array) -> Int64Array:
    """Return the index of the next point of each point, around every ring; rings are concatenated."""
    stop = np.cumsum(counts)
    index = np.arange(1, int(counts.sum()) + 1)
    there = counts > 0
    index[stop[there] - 1] = (stop - counts)[there]
    return index


def _previous_index(counts: Array) -> Int64Array:
    after = _next_index(counts)
    before = np.empty_like(after)
    before[after] = np.arange(len(after))
    return before


def _cross(a: Float64Array, b: Float64Array) -> Float64Array:
    product: Float64Array = a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]
    return product


def _first_maximum(values: Float64Array, start: Array, of: Array) -> Array:
    """Return the index of the largest value of each group; groups are concatenated, and none is empty."""
    places = np.flatnonzero(values == np.maximum.reduceat(values, start)[of])
    index = np.empty(len(start), dtype=np.int64)
    index[of[places[::-1]]] = places[::-1]  # for equal indices numpy keeps the last assignment
    return index


def _distance_to_segment(points: Float64Array, a: Float64Array, b: Float64Array) -> Float64Array:
    along = b - a
    square = (along**2).sum(axis=1)
    reach = ((points - a) * along).sum(axis=1) / np.where(square > 0, square, 1.0)
    nearest = a + np.clip(reach, 0.0, 1.0)[:, None] * along
    distance: Float64Array = np.hypot(*(points - nearest).T)
    return distance
