"""The size of the pieces in which an array is stored."""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["near_cube"]


def near_cube(limits: Sequence[int], volume: float) -> tuple[int, ...]:
    """The most even box of about ``volume`` elements within ``limits``; ilastik's chunks are of this shape.

    Short axes are taken whole first, so that the others share what is left.

    Examples
    --------
    >>> near_cube((1000, 2000, 3000, 1), 1e6)
    (100, 100, 100, 1)
    >>> near_cube((1, 100, 5, 200, 3), 1000)
    (1, 8, 5, 8, 3)
    """
    sides = [0] * len(limits)
    taken = 1
    shortest_first = sorted(range(len(limits)), key=lambda i: (limits[i], i))
    for rank, axis in enumerate(shortest_first):
        even = int((volume // taken) ** (1 / (len(limits) - rank)) + 0.5)
        sides[axis] = max(1, min(even, limits[axis]))
        taken *= sides[axis]
    return tuple(sides)
