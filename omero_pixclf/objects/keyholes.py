"""Convert a polygon with holes to one ring, because a Polygon in OMERO has no holes.

The ring goes around the object and, over a bridge without width, around each hole in the opposite direction (a keyhole
polygon). Its area and its inside, by the even-odd rule and by the non-zero rule, are those of the polygon with holes.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from omero_pixclf.image import Array, Float64Array

__all__ = ["bridge_holes"]


def bridge_holes(ring: Array, holes: Sequence[Array]) -> Float64Array:
    """Join a ring ``(n, 2)`` and the rings of its holes, which have the opposite direction, to one ring.

    Each bridge is horizontal and leads from the leftmost point of a hole to the left, to the outer ring or to a hole
    that is already joined.

    >>> square, hole = np.array([[0, 0], [4, 0], [4, 4], [0, 4]]), np.array([[1, 1], [1, 2], [2, 2], [2, 1]])
    >>> bridge_holes(square, [hole]).tolist()[4:]
    [[0.0, 1.0], [1.0, 1.0], [1.0, 2.0], [2.0, 2.0], [2.0, 1.0], [1.0, 1.0], [0.0, 1.0]]
    """
    joined: Float64Array = ring.astype(np.float64)
    for hole in sorted(holes, key=lambda hole: float(hole[:, 0].min())):
        first = int(np.lexsort((hole[:, 1], hole[:, 0]))[0])
        turned = np.roll(hole, -first, axis=0).astype(np.float64)
        at, foot = _find_left_of(joined, turned[0])
        joined = np.concatenate((joined[: at + 1], [foot], turned, [turned[0], foot], joined[at + 1 :]))
    return joined


def _find_left_of(ring: Float64Array, point: Float64Array) -> tuple[int, Float64Array]:
    """Return the nearest edge to the left of a point, as the index of its first corner, and the point on that edge."""
    x, y = point
    (x0, y0), (x1, y1) = ring.T, np.roll(ring, -1, axis=0).T
    with np.errstate(invalid="ignore", divide="ignore"):  # horizontal edges
        crossing = x0 + (y - y0) * (x1 - x0) / (y1 - y0)
    reached = (np.minimum(y0, y1) <= y) & (y <= np.maximum(y0, y1)) & (y0 != y1) & (crossing <= x)
    if not reached.any():  # a hole outside of its ring after simplification: use the nearest corner
        nearest = int(np.argmin(((ring - point) ** 2).sum(axis=1)))
        return nearest, ring[nearest]
    at = int(np.argmax(np.where(reached, crossing, -np.inf)))
    return at, np.array([crossing[at], y])
