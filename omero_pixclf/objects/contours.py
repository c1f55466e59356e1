"""Follow the cracks between pixels to closed rings, for all objects of a plane at once.

The border of an object runs between its pixels and others. Straight pieces of it are found by comparing the plane with
itself, shifted by one pixel. The two pixels ahead of a piece decide which piece follows. Only the last step, walking
from piece to piece, visits pieces one by one, so that the time is linear in the number of pixels.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from omero_pixclf.image import Array, Int64Array

__all__ = ["Ring", "is_in_ring", "signed_area", "trace_contours"]


# Sides of a pixel, clockwise on a screen (y down), with the object always on the right:
# the top is walked to the east, the right side to the south, the bottom to the west, the left side to the north.
_TOP, _RIGHT, _BOTTOM, _LEFT = range(4)
_SIDES = (_TOP, _RIGHT, _BOTTOM, _LEFT)
_ACROSS = ((-1, 0), (0, 1), (1, 0), (0, -1))  # (dy, dx) from a pixel over its side
_AHEAD = ((0, 1), (1, 0), (0, -1), (-1, 0))  # (dy, dx) from a pixel along its side
_START = ((0, 0), (0, 1), (1, 1), (1, 0))  # (dy, dx) from a pixel's upper left corner to where its side starts


@dataclass(frozen=True)
class Ring:
    """A closed line around an object (clockwise on a screen) or around a hole in it (counter-clockwise).

    ``corners`` (n, 2) int64 as (x, y) in pixel corners: pixel (0, 0) covers 0 to 1. The first is not repeated.
    """

    label: int
    corners: Int64Array


@dataclass(frozen=True)
class _Pieces:
    """Straight pieces of the line along one side: flat index of the first and last pixel of each."""

    first: Int64Array
    last: Int64Array


def signed_area(ring: Array) -> float:
    """Return the area within a ring ``(n, 2)`` of (x, y): positive if clockwise on a screen, as rings of objects are.

    >>> signed_area(np.array([[0, 0], [2, 0], [2, 1], [0, 1]]))
    2.0
    """
    (x, y), (first_x, first_y) = ring.T, ring[0]
    between = np.dot(x[:-1], y[1:]) - np.dot(x[1:], y[:-1])
    return float(between + x[-1] * first_y - first_x * y[-1]) / 2


def is_in_ring(ring: Array, hole: Array) -> bool:
    """Return whether a hole is inside a ring, both along pixel edges, by the hole's upper left pixel."""
    corner = hole[np.lexsort((hole[:, 0], hole[:, 1]))[0]]
    x, y = corner[0] + 0.5, corner[1] + 0.5
    after = np.roll(ring, -1, axis=0)
    crosses = (ring[:, 1] > y) != (
        after[:, 1] > y
    )  # edges are vertical or horizontal: the crossing has the x of the edge
    return bool(np.count_nonzero(crosses & (ring[:, 0] > x)) % 2)  # even-odd rule


def trace_contours(plane: Array) -> list[Ring]:
    """Return all rings of a ``(y, x)`` label image, in raster order of their uppermost edges.

    Where two pixels of an object touch by a corner only, the ring does not cross over to the other pixel; but parts of
    an object that touch by corners only are joined there. So an object has several rings only if it has holes, or
    parts that do not touch.
    """
    padded = np.zeros((plane.shape[0] + 2, plane.shape[1] + 2), dtype=plane.dtype)
    padded[1:-1, 1:-1] = plane
    flat, width = padded.ravel(), padded.shape[1]
    pieces = [_find_pieces(padded, side) for side in _SIDES]
    label = flat[np.concatenate([p.first for p in pieces])]
    x, y = _find_start_corners(pieces, width)
    following = _find_successors(flat, width, pieces)
    rings = _walk_rings(following, label, starts=len(pieces[_TOP].first))
    if _join_parts(following, rings, label, y * width + x):
        rings = _walk_rings(following, label, starts=len(pieces[_TOP].first))
    return [Ring(int(label[ring[0]]), np.stack((x[ring], y[ring]), axis=1)) for ring in rings]


def _find_pieces(padded: Array, side: int) -> _Pieces:
    """Return the pieces along one side, in raster order (top, bottom) or column by column (left, right)."""
    edge = np.zeros(padded.shape, dtype=np.bool_)
    dy, dx = _ACROSS[side]
    inner = padded[1:-1, 1:-1]
    beyond = padded[1 + dy : padded.shape[0] - 1 + dy, 1 + dx : padded.shape[1] - 1 + dx]
    np.logical_and(inner != beyond, inner > 0, out=edge[1:-1, 1:-1])
    height, width = padded.shape
    if side in (_TOP, _BOTTOM):
        place = np.flatnonzero(edge)
        pixel = place
    else:
        place = np.flatnonzero(np.ascontiguousarray(edge.T))
        column, row = np.divmod(place, height)
        pixel = row * width + column
    label = padded.ravel()[pixel]
    breaks = np.flatnonzero((np.diff(place) != 1) | (label[1:] != label[:-1])) + 1
    low = pixel[np.concatenate(([0], breaks))[: len(pixel)]]
    high = pixel[np.concatenate((breaks, [len(pixel)]))[: len(low)] - 1]
    return _Pieces(low, high) if side in (_TOP, _RIGHT) else _Pieces(high, low)


def _find_start_corners(pieces: list[_Pieces], width: int) -> tuple[Int64Array, Int64Array]:
    """Return the corner where each piece starts, x and y, without the padding."""
    row, column = np.divmod(np.concatenate([p.first for p in pieces]), width)
    counts = [len(p.first) for p in pieces]
    dy, dx = (np.repeat([corner[i] for corner in _START], counts) for i in (0, 1))
    return column - 1 + dx, row - 1 + dy


def _find_successors(flat: Array, width: int, pieces: list[_Pieces]) -> Int64Array:
    """Return for each piece the index of the piece that starts where it ends."""
    side, pixel = [], []
    for own in _SIDES:
        last = pieces[own].last
        ahead = last + _AHEAD[own][0] * width + _AHEAD[own][1]
        outer = ahead + _ACROSS[own][0] * width + _ACROSS[own][1]
        right = (
            flat[ahead] != flat[last]
        )  # else the pixel ahead is of the same object, and so is the one beyond it: turn left
        side.append(np.where(right, (own + 1) % 4, (own + 3) % 4))
        pixel.append(np.where(right, last, outer))
    next_side, next_pixel = np.concatenate(side), np.concatenate(pixel)
    following = np.empty(len(next_side), dtype=np.int64)
    index_at = np.empty(len(flat), dtype=np.int64)  # read only where it was just written
    offset = 0
    for own in _SIDES:
        first = pieces[own].first
        index_at[first] = np.arange(offset, offset + len(first))
        turned = next_side == own
        following[turned] = index_at[next_pixel[turned]]
        offset += len(first)
    return following


def _walk_rings(following: Int64Array, label: Array, *, starts: int) -> list[list[int]]:
    """Return the pieces of each ring in order; each ring has a top side, one of the first ``starts`` pieces."""
    after = following.tolist()
    open_ = bytearray(b"\x01") * len(after)
    rings = []
    for start in range(starts):
        if not open_[start]:
            continue
        ring, piece = [], start
        while open_[piece]:
            open_[piece] = 0
            ring.append(piece)
            piece = after[piece]
        rings.append(ring)
    return rings


def _join_parts(following: Int64Array, rings: list[list[int]], label: Array, corner: Int64Array) -> bool:
    """Join the rings of a label that share a corner, by exchanging their successors there; return whether any do.

    Two rings of one label that meet at a corner are always around different parts of the object: the ring of a hole
    never touches the ring around it, because diagonal background pixels are connected.
    """
    ring_of = np.empty(len(following), dtype=np.int64)
    lengths = [len(ring) for ring in rings]
    ring_of[[piece for ring in rings for piece in ring]] = np.repeat(np.arange(len(rings)), lengths)
    order = np.lexsort((corner, label))
    before, here = order[:-1], order[1:]
    meets = (corner[before] == corner[here]) & (label[before] == label[here]) & (ring_of[before] != ring_of[here])
    if not meets.any():
        return False
    preceding = np.empty_like(following)
    preceding[following] = np.arange(len(following))
    root = list(range(len(rings)))
    for one, other in zip(before[meets].tolist(), here[meets].tolist(), strict=True):
        a, b = _find_root(root, int(ring_of[one])), _find_root(root, int(ring_of[other]))
        if a != b:
            root[a] = b
            p, q = preceding[one], preceding[other]
            following[p], following[q] = other, one
            preceding[one], preceding[other] = q, p
    return True


def _find_root(root: list[int], ring: int) -> int:
    while root[ring] != ring:
        root[ring] = root[root[ring]]
        ring = root[ring]
    return ring
