"""The functions of ``_native.c`` in Python: the same numbers, slower; for installations without a compiler."""

from __future__ import annotations

from typing import Any

import numpy as np

from omero_pixclf.image import Float32Array, Float64Array, Int32Array, Int64Array
from omero_pixclf.objects.skeleton_python import RESULTS, describe_skeleton

__all__ = ["eigensystems", "flood", "scatter", "skeletons"]

_MAX_ROUNDS = 1000


def scatter(rows: Float64Array, weights: Float64Array, starts: Int64Array, out: Float64Array, dimensions: int) -> None:
    """Write the scatter matrix of each object's rows, updated row by row.

    Parameters
    ----------
    rows
        float64 ``(p, d)``: coordinates or intensities of all objects' pixels, object after object.
    weights
        float64 ``(p,)``; empty where every row counts once.
    starts
        int64 ``(n + 1,)``: where each object's rows begin, and where the last ones end.
    out
        float64 ``(n, d, d)``.
    dimensions
        d.
    """
    out[...] = 0
    for i in range(len(starts) - 1):
        total, sums = 0.0, np.zeros(dimensions)
        for p in range(starts[i], starts[i + 1]):
            weight = float(weights[p]) if len(weights) else 1.0
            total += weight
            sums += weight * rows[p] if len(weights) else rows[p]
            if not total > weight:
                continue
            with np.errstate(all="ignore"):
                factor = total * weight / (total - weight) if len(weights) else total / (total - 1.0)
                away = sums / total - rows[p]
                out[i] += (factor * away)[None, :] * away[:, None]
        out[i] = np.triu(out[i]) + np.triu(out[i], 1).T


def eigensystems(vectors: Float64Array, values: Float64Array, dimensions: int) -> None:
    """Replace symmetric matrices ``(n, d, d)`` by their eigenvectors (columns); ``values`` ``(n, d)``, largest first.

    The algorithm is EISPACK's tred2 and tql2 (Bowdler, Martin, Reinsch, Wilkinson 1968), as in vigra: the signs of
    the vectors depend on its order of operations.
    """
    with np.errstate(all="ignore"):
        for v, d in zip(vectors, values, strict=True):
            e = np.zeros(dimensions)
            _make_tridiagonal(v, d, e, dimensions)
            _make_diagonal(v, d, e, dimensions)
            _sort(v, d, dimensions)


def _make_tridiagonal(v: Float64Array, d: Float64Array, e: Float64Array, n: int) -> None:
    d[:] = v[n - 1]
    for i in range(n - 1, 0, -1):
        scale = _sum_in_order(abs(d[:i]))
        h = 0.0
        if scale == 0:
            e[i] = d[i - 1]
            d[:i] = v[i - 1, :i]
            v[i, :i] = 0
            v[:i, i] = 0
        else:
            d[:i] /= scale
            h = _sum_in_order(d[:i] * d[:i])
            f = d[i - 1]
            g = -np.sqrt(h) if f > 0 else np.sqrt(h)
            e[i] = scale * g
            h -= f * g
            d[i - 1] = f - g
            _reflect(v, d, e, i, h)
        d[i] = h
    _accumulate(v, d, n)
    e[0] = 0


def _reflect(v: Float64Array, d: Float64Array, e: Float64Array, i: int, h: float) -> None:
    e[:i] = 0
    for j in range(i):
        f = d[j]
        v[j, i] = f
        g = e[j] + v[j, j] * f
        for k in range(j + 1, i):
            g += v[k, j] * d[k]
            e[k] += v[k, j] * f
        e[j] = g
    e[:i] /= h
    f = _sum_in_order(e[:i] * d[:i])
    half = f / (h + h)
    e[:i] -= half * d[:i]
    for j in range(i):
        f, g = d[j], e[j]
        v[j:i, j] -= f * e[j:i] + g * d[j:i]
        d[j] = v[i - 1, j]
        v[i, j] = 0


def _accumulate(v: Float64Array, d: Float64Array, n: int) -> None:
    for i in range(n - 1):
        v[n - 1, i] = v[i, i]
        v[i, i] = 1
        if (h := d[i + 1]) != 0:
            d[: i + 1] = v[: i + 1, i + 1] / h
            for j in range(i + 1):
                g = _sum_in_order(v[: i + 1, i + 1] * v[: i + 1, j])
                v[: i + 1, j] -= g * d[: i + 1]
        v[: i + 1, i + 1] = 0
    d[:] = v[n - 1]
    v[n - 1] = 0
    v[n - 1, n - 1] = 1


def _sum_in_order(values: Float64Array) -> float:
    total = 0.0
    for value in values.tolist():
        total += value
    return total


def _make_diagonal(v: Float64Array, d: Float64Array, e: Float64Array, n: int) -> None:
    f, largest, epsilon = 0.0, 0.0, float(np.finfo(np.float64).eps)
    e[:-1] = e[1:].copy()
    e[n - 1] = 0
    for row in range(n):
        largest = max(largest, abs(d[row]) + abs(e[row]))
        m = row
        while m < n - 1 and not abs(e[m]) <= epsilon * largest:
            m += 1
        for _ in range(_MAX_ROUNDS if m > row else 0):
            f += _rotate(v, d, e, row, m)
            if not abs(e[row]) > epsilon * largest:
                break
        d[row] += f
        e[row] = 0


def _rotate(v: Float64Array, d: Float64Array, e: Float64Array, row: int, m: int) -> float:
    """One round of implicit QL; return the shift."""
    g = d[row]
    p = (d[row + 1] - g) / (2.0 * e[row])
    r = -np.hypot(p, 1.0) if p < 0 else np.hypot(p, 1.0)
    d[row] = e[row] / (p + r)
    d[row + 1] = e[row] * (p + r)
    following, shift = d[row + 1], g - d[row]
    d[row + 2 :] -= shift
    p = d[m]
    c, c2, c3, first, s, s2 = 1.0, 1.0, 1.0, e[row + 1], 0.0, 0.0
    for i in range(m - 1, row - 1, -1):
        c3, c2, s2 = c2, c, s
        g, h = c * e[i], c * p
        r = np.hypot(p, e[i])
        e[i + 1] = s * r
        s, c = e[i] / r, p / r
        p = c * d[i] - s * g
        d[i + 1] = h + s * (c * g + s * d[i])
        after = v[:, i + 1].copy()
        v[:, i + 1] = s * v[:, i] + c * after
        v[:, i] = c * v[:, i] - s * after
    p = -s * s2 * c3 * first * e[row] / following
    e[row] = s * p
    d[row] = c * p
    return float(shift)


def _sort(v: Float64Array, d: Float64Array, n: int) -> None:
    for i in range(n - 1):
        k = i
        for j in range(i + 1, n):
            if d[k] < d[j]:
                k = j
        if k != i:
            d[[i, k]] = d[[k, i]]
            v[:, [i, k]] = v[:, [k, i]]


def skeletons(
    labels: Int32Array,
    width: int,
    numbers: Int32Array,
    boxes: Int64Array,
    out: Float64Array,
    offset: tuple[int, int],
    image: tuple[int, int],
) -> None:
    """Write the numbers of each object's skeleton.

    Parameters
    ----------
    labels
        int32 ``(y, x)``.
    width
        Its extent along x.
    numbers
        int32 ``(n,)``: the objects' labels.
    boxes
        int64 ``(n, 4)``: first y, first x, and the ends along y and x of each object, in ``labels``.
    out
        float64 ``(n, 12)``: diameter, Euclidean diameter, total length, average length, branches, holes, then x and
        y of the centre and of the first and second terminal.
    offset, image
        Where ``labels`` lie along (y, x) in their image, and its extents.
    """
    assert out.shape[1] == RESULTS and labels.shape[1] == width
    for number, box, row in zip(numbers.tolist(), boxes.tolist(), out, strict=True):
        top, left = max(box[0] - 1, 0), max(box[1] - 1, 0)
        own = labels[top : box[2] + 1, left : box[3] + 1] == number
        row[:] = describe_skeleton(own, (top + offset[0], left + offset[1]), image)


def flood(cost: Float32Array, labels: Int32Array, shape: tuple[int, int, int], most: float) -> None:
    """Let labels grow into the zeros around them, cheapest pixels first, until a pixel costs more than ``most``.

    Neighbours of a pixel that is taken from the queue get its label at once, whatever they cost.

    Parameters
    ----------
    cost
        float32 ``(z, y, x)``.
    labels
        int32 ``(z, y, x)``, changed in place.
    shape
        ``(z, y, x)``.
    most
        The largest cost of a pixel from which labels still grow.
    """
    costs, flat = cost.reshape(-1), labels.reshape(-1)
    heap: list[tuple[Any, int]] = []
    for p in np.flatnonzero(flat).tolist():
        if any(not flat[q] for q in _around(p, shape)):
            _push(heap, (costs[p], p))
    while heap:
        level, p = _pop(heap)
        if float(level) > most:
            break
        for q in _around(p, shape):
            if not flat[q]:
                flat[q] = flat[p]
                _push(heap, (level if costs[q] < level else costs[q], q))


def _around(p: int, shape: tuple[int, int, int]) -> list[int]:
    z, y, x = p // (shape[1] * shape[2]), p // shape[2] % shape[1], p % shape[2]
    plane, row = shape[1] * shape[2], shape[2]
    below = [p - by for at, by in ((z, plane), (y, row), (x, 1)) if at > 0]
    return below + [p + by for at, by, n in ((x, 1, shape[2]), (y, row, shape[1]), (z, plane, shape[0])) if at + 1 < n]


def _push(heap: list[tuple[Any, int]], item: tuple[Any, int]) -> None:
    """As the C++ library's priority queue does, on whose order of equal costs vigra depends."""
    heap.append(item)
    _sift_up(heap, len(heap) - 1, item)


def _sift_up(heap: list[tuple[Any, int]], hole: int, item: tuple[Any, int]) -> None:
    while hole > 0 and heap[(hole - 1) // 2][0] > item[0]:
        heap[hole] = heap[(hole - 1) // 2]
        hole = (hole - 1) // 2
    heap[hole] = item


def _pop(heap: list[tuple[Any, int]]) -> tuple[Any, int]:
    first, item = heap[0], heap.pop()
    hole = child = 0
    n = len(heap)
    while n and child < (n - 1) // 2:
        child = 2 * (child + 1)
        if heap[child][0] > heap[child - 1][0]:
            child -= 1
        heap[hole] = heap[child]
        hole = child
    if n and n % 2 == 0 and child == (n - 2) // 2:
        child = 2 * (child + 1)
        heap[hole] = heap[child - 1]
        hole = child - 1
    if n:
        _sift_up(heap, hole, item)
    return first
