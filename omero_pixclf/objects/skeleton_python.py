"""The skeleton of one object, as vigra's ``extractSkeletonFeatures`` has it: the twin in Python of the compiled one.

Steps: the vector from every pixel to the nearest pixel outside; a raw skeleton where these vectors of neighbours part;
thinning; the longest path; a tree from the middle of that path, whose short branches are pruned by salience; loops
around holes. Where ties are decided by an order of operations, it is vigra's.
"""

from __future__ import annotations

import heapq
import math
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np

from omero_pixclf.image import BoolArray, Int64Array

__all__ = ["RESULTS", "describe_skeleton"]

RESULTS = 12
_NEIGHBOURS = ((-1, -1), (0, -1), (1, -1), (-1, 0), (1, 0), (-1, 1), (0, 1), (1, 1))  # (x, y)
_SIMPLE = int("013333000073000000c0880000c0880000003b000000000000c0880080c08800", 16)
_FARTHEST = 0.5 * float(np.finfo(np.float64).max)

_Pixel = tuple[int, int]
"""x and y in the object's box."""


@dataclass
class _Search:
    """Shortest paths: pixels in the order in which they were reached, and the pixel before each."""

    order: list[_Pixel]
    before: dict[_Pixel, _Pixel]


@dataclass
class _Skeleton:
    """A skeleton on its way from pixels to a pruned tree; edges are bits in the order of `_NEIGHBOURS`."""

    own: BoolArray
    square: dict[_Pixel, int]
    joined: dict[_Pixel, int]
    parent: dict[_Pixel, _Pixel] = field(default_factory=dict)
    child: dict[_Pixel, _Pixel] = field(default_factory=dict)
    length: dict[_Pixel, float] = field(default_factory=dict)
    salience: dict[_Pixel, float] = field(default_factory=dict)
    area: dict[_Pixel, int] = field(default_factory=dict)
    loop: set[_Pixel] = field(default_factory=set)

    def cut(self, p: _Pixel, n: int) -> None:
        """Remove the edge from p to its neighbour n."""
        self.joined[p] &= ~(1 << n)
        self.joined[_next(p, n)] &= ~(1 << (7 - n))


def describe_skeleton(own: BoolArray, origin: tuple[int, int], image: tuple[int, int]) -> list[float]:
    """Return the numbers of a skeleton, in the order that ``skeletons`` in ``kernels_python`` explains.

    Parameters
    ----------
    own
        bool ``(y, x)``: the object's pixels in a box that has one more pixel on every side inside the image.
    origin, image
        Where the box lies along (y, x), and the image's extents.
    """
    vectors = _find_boundary_vectors(own, origin, image)
    square = (vectors**2).sum(axis=-1)
    marks = _mark_raw_skeleton(own, vectors, square)
    _thin(marks, square)
    pixels = [(int(x), int(y)) for y, x in np.argwhere(marks)]
    if not pixels:
        return [0.0] * RESULTS
    joined = {p: sum(1 << n for n in range(8) if _is_marked(marks, _next(p, n))) for p in pixels}
    skeleton = _Skeleton(own, {p: int(square[p[1], p[0]]) for p in pixels}, joined)
    for p in pixels:
        skeleton.parent[p], skeleton.length[p], skeleton.salience[p], skeleton.area[p] = p, 0.0, 1.0, 0
    line = _find_longest_path(skeleton, pixels[-1])
    center = line[_find_middle(line)]
    search = _search(skeleton, center, None)
    _grow_tree(skeleton, search)
    skeleton.loop.add(center)
    holes, total = _find_holes(skeleton, search.order)
    threshold = 0.2 * skeleton.salience[center]
    branches = [
        skeleton.length[p]
        for p in search.order
        if p not in skeleton.child and p not in skeleton.loop and skeleton.salience[p] >= threshold
    ]
    for length in branches:
        total += length
    average = _add(branches) / len(branches) if branches else 0.0
    places = [float(v) for p in (center, line[0], line[-1]) for v in (p[0] + origin[1], p[1] + origin[0])]
    lengths = _add([_distance(p, q) for p, q in pairwise(line)])
    return [lengths, _distance(line[0], line[-1]), total, average, float(len(branches)), float(holes), *places]


def _next(p: _Pixel, n: int) -> _Pixel:
    return p[0] + _NEIGHBOURS[n][0], p[1] + _NEIGHBOURS[n][1]


def _distance(p: _Pixel, q: _Pixel) -> float:
    return math.sqrt((p[0] - q[0]) ** 2 + (p[1] - q[1]) ** 2)


def _add(values: list[float]) -> float:
    total = 0.0
    for value in values:
        total += value
    return total


def _find_boundary_vectors(own: BoolArray, origin: tuple[int, int], image: tuple[int, int]) -> Int64Array:
    """The vector (x, y) from each own pixel to the nearest pixel outside; the image's border is no boundary."""
    bound = 2 * (image[0] + image[1])
    vectors = np.full((*own.shape, 2), bound, np.int64)
    for line, run, first, extent, axis in (
        *((own[y], vectors[y], origin[1], image[1], 0) for y in range(own.shape[0])),
        *((own[:, x], vectors[:, x], origin[0], image[0], 1) for x in range(own.shape[1])),
    ):
        edges = np.flatnonzero(np.diff(np.concatenate(([0], line.astype(np.int8), [0]))))
        for a, b in edges.reshape(-1, 2).tolist():
            _fit_envelope(run[a:b], a + first, b + first, extent, axis, bound)
    return vectors


def _fit_envelope(run: Int64Array, a: int, b: int, extent: int, axis: int, bound: int) -> None:
    """The nearest boundary along one axis for pixels a to b: the lower envelope of parabolas."""
    border, outside = (bound, bound), (0, 0)
    if a == 0:
        stack: list[list[Any]] = [[border, _apex(border, axis), 0.0, -1.0, float(extent)]]
    else:
        stack = [[outside, 0.0, float(a - 1), float(a - 1), float(extent)]]
    for at in range(a, b + 1):
        point = (int(run[at - a, 0]), int(run[at - a, 1])) if at < b else border if b == extent else outside
        apex = _apex(point, axis)
        while True:
            last = stack[-1]
            away = at - last[3]
            cut = at + (apex - last[1] - away * away) / (2.0 * away)
            if cut < last[2]:
                stack.pop()
                if stack:
                    continue
                cut = float(a)
            elif cut < last[4]:
                last[4] = cut
            break
        if cut < extent:
            stack.append([point, apex, cut, float(at), float(extent)])
    now = 0
    for at in range(a, b):
        while at >= stack[now][4]:
            now += 1
        run[at - a] = stack[now][0]
        run[at - a, axis] = int(stack[now][3] - at)


def _apex(point: tuple[int, int], axis: int) -> float:
    return float(point[0] ** 2 + (point[1] ** 2 if axis else 0))


def _mark_raw_skeleton(own: BoolArray, vectors: Int64Array, square: Int64Array) -> BoolArray:
    """Mark pixels where the nearest boundary points of neighbours are neither equal nor adjacent."""
    marks = np.zeros(own.shape, np.bool_)
    ends: list[_Pixel] = []
    for y, x in np.argwhere(own).tolist():
        a = vectors[y, x].tolist()
        for dx, dy in ((0, -1), (-1, 0), (1, 0), (0, 1)):
            if not (0 <= x + dx < own.shape[1] and 0 <= y + dy < own.shape[0]):
                continue
            if not own[y + dy, x + dx]:
                marks[y, x] |= max(abs(a[0] - dx), abs(a[1] - dy)) > 1
            elif dx + dy < 0:
                b = vectors[y + dy, x + dx].tolist()
                w = (b[0] - a[0] + dx, b[1] - a[1] + dy)
                if max(abs(w[0]), abs(w[1])) <= 1:
                    continue
                first = (w[0] * dx + w[1] * dy) * (w[0] * (a[0] + b[0]) + w[1] * (a[1] + b[1])) <= 0
                p = (x, y) if first else (x + dx, y + dy)
                marks[p[1], p[0]] = True
                if square[p[1], p[0]] == 4:
                    ends.append(p)
    for p in ends:  # a line that stops short of the object's border goes on for one pixel
        around = [q for q in (_next(p, n) for n in range(8)) if _is_marked(marks, q)]
        if not any(square[q[1], q[0]] < 4 for q in around):
            dx, dy = vectors[p[1], p[0]].tolist()
            marks[p[1] + int(dy / 2), p[0] + int(dx / 2)] = True
    return marks


def _is_marked(marks: BoolArray, p: _Pixel) -> bool:
    return 0 <= p[0] < marks.shape[1] and 0 <= p[1] < marks.shape[0] and bool(marks[p[1], p[0]])


def _thin(marks: BoolArray, square: Int64Array) -> None:
    """Remove marks that are not needed to keep the topology and the ends, those nearest to the boundary first.

    Marks at the image's border stay. The box has a pixel more than the object on every side but those.
    """
    height, width = marks.shape
    queue: list[tuple[int, int, _Pixel]] = []
    order = 0
    candidates = [(x, y) for y, x in np.argwhere(marks).tolist()]
    while candidates or queue:
        for p in candidates:
            inner = 0 < p[0] < width - 1 and 0 < p[1] < height - 1
            if inner and _is_marked(marks, p) and _is_simple(marks, p):
                heapq.heappush(queue, (int(square[p[1], p[0]]), order, p))
                order += 1
        candidates = []
        if queue and marks[(p := heapq.heappop(queue)[2])[1], p[0]] and _is_simple(marks, p):
            marks[p[1], p[0]] = False
            candidates = [_next(p, n) for n in range(8)]


def _is_simple(marks: BoolArray, p: _Pixel) -> bool:
    index = 0
    for n in range(8):
        index = index << 1 | _is_marked(marks, _next(p, n))
    return bool(_SIMPLE >> (255 - index) & 1)


class _Heap:
    """Pixels by distance in a 1-based binary heap with vigra's order of equal distances."""

    def __init__(self) -> None:
        self.items: list[_Pixel] = [(-1, -1)]
        self.slot: dict[_Pixel, int] = {}

    def rise(self, at: int, distance: dict[_Pixel, float]) -> None:
        while at > 1 and distance[self.items[at // 2]] > distance[self.items[at]]:
            self._swap(at, at // 2)
            at //= 2

    def pop(self, distance: dict[_Pixel, float]) -> _Pixel:
        nearest, last = self.items[1], len(self.items) - 1
        self._swap(1, last)
        self.items.pop()
        del self.slot[nearest]
        at, size = 1, last - 1
        while (child := 2 * at) <= size:
            if child < size and distance[self.items[child]] > distance[self.items[child + 1]]:
                child += 1
            if distance[self.items[at]] <= distance[self.items[child]]:
                break
            self._swap(at, child)
            at = child
        return nearest

    def push(self, p: _Pixel) -> None:
        self.items.append(p)
        self.slot[p] = len(self.items) - 1

    def _swap(self, i: int, j: int) -> None:
        self.items[i], self.items[j] = self.items[j], self.items[i]
        self.slot[self.items[i]], self.slot[self.items[j]] = i, j


def _search(skeleton: _Skeleton, start: _Pixel, target: _Pixel | None) -> _Search:
    """Shortest paths (Dijkstra); with a target, pixels beside the skeleton wait in the heap behind all others."""
    xs, ys = zip(*skeleton.joined, strict=True)
    box = (min(xs), min(ys), max(xs), max(ys))
    heap, distance, found = _Heap(), {start: 0.0}, _Search([], {start: start})
    heap.push(start)
    while len(heap.items) > 1:
        p = heap.pop(distance)
        if distance[p] >= _FARTHEST:
            break
        found.order.append(p)
        if p == target:
            break
        for n in range(8):
            edge, q = skeleton.joined[p] >> n & 1, _next(p, n)
            inside = box[0] <= q[0] <= box[2] and box[1] <= q[1] <= box[3]
            if not edge and (target is None or not inside):
                continue
            longer = distance[p] + (_distance(p, q) if edge else _FARTHEST)
            if q in heap.slot:
                if not longer < distance[q]:
                    continue
            elif q in found.before:
                continue
            else:
                heap.push(q)
            distance[q], found.before[q] = longer, p
            heap.rise(heap.slot[q], distance)
    return found


def _find_longest_path(skeleton: _Skeleton, start: _Pixel) -> list[_Pixel]:
    """The pixels of the longest path, from its second end to its first."""
    first = _search(skeleton, start, None).order[-1]
    found = _search(skeleton, first, None)
    line = [found.order[-1]]
    while line[-1] != first:
        line.append(found.before[line[-1]])
    return line


def _find_middle(line: list[_Pixel]) -> int:
    """The index of the pixel at half of the path's length."""
    if len(line) == 1:
        return 0
    lengths = [0.0]
    for p, q in pairwise(line):
        lengths.append(lengths[-1] + _distance(p, q))
    half = 0.5 * lengths[-1]
    k = next(i for i, length in enumerate(lengths) if length >= half) - 1
    return math.floor(k + (half - lengths[k]) / (lengths[k + 1] - lengths[k]) + 0.5)


def _cross(p: _Pixel, q: _Pixel) -> int:
    return p[0] * q[1] - p[1] * q[0]


def _grow_tree(skeleton: _Skeleton, found: _Search) -> None:
    """From the outside to the centre: lengths and saliences of the longest branches; then back, with areas."""
    s = skeleton
    for p in reversed(found.order):
        parent = s.parent[p] = found.before[p]
        for n in range(4):
            q = _next(p, n)
            if s.joined[p] >> n & 1 and q != parent and found.before[q] != p and p in s.child and q in s.child:
                s.cut(p, n)
        length = s.length[p] + _distance(p, parent)
        if s.length[parent] < length:
            s.length[parent], s.child[parent] = length, p
        if s.length[p] >= 4.0:
            s.salience[p] = max(s.salience[p], (s.length[p] + 0.5) / math.sqrt(s.square[p]))
            s.salience[parent] = max(s.salience[parent], s.salience[p])
    for p in found.order:
        parent = s.parent[p]
        if s.child.get(parent) == p:
            s.length[p], s.salience[p] = s.length[parent], s.salience[parent]
        else:
            s.length[p] += _distance(parent, p)
        s.area[p] = s.area[parent] + _cross(p, parent)


def _find_holes(skeleton: _Skeleton, order: list[_Pixel]) -> tuple[int, float]:
    """The number of loops around holes, and the length of their branches; dead branches are removed on the way."""
    s, holes, total = skeleton, 0, 0.0
    for p in reversed(order):
        if p not in s.child:
            for n in range(8):
                q = _next(p, n)
                if not s.joined[p] >> n & 1 or q == s.parent[p] or abs(s.area[p] - _cross(p, q) - s.area[q]) <= 3:
                    continue
                s.cut(p, n)
                if _close_loop(s, p, q):
                    holes += 1
                    total += s.length[p] + s.length[q]
            if p not in s.loop and s.square[p] >= 4:
                _remove_branch(s, p)
        if p in s.loop:
            s.loop.add(s.parent[p])
    return holes, total


def _close_loop(skeleton: _Skeleton, p: _Pixel, q: _Pixel) -> bool:
    found = _search(skeleton, p, q)
    if found.order[-1] != q:
        return False
    path = [q]
    while path[-1] != p:
        path.append(found.before[path[-1]])
    if not _encloses_other(skeleton.own, path):
        return False
    salience = max(skeleton.salience[p], skeleton.salience[q])
    for at in path:
        skeleton.loop.add(at)
        skeleton.salience[at] = max(skeleton.salience[at], salience)
    return True


def _encloses_other(own: BoolArray, path: list[_Pixel]) -> bool:
    """Whether a pixel of something else lies inside the closed path."""
    turns = np.zeros(own.shape, np.int64)
    for a, b in zip(path, [*path[1:], path[0]], strict=True):
        if abs(a[1] - b[1]) == 1:
            x, y = min(a, b, key=lambda p: p[1])
            turns[y, x] += 1
    inner = np.cumsum(turns, axis=1) % 2 == 1
    return bool((inner & ~own).any())


def _remove_branch(skeleton: _Skeleton, p: _Pixel) -> None:
    while True:
        skeleton.salience[p] = 0.0
        for n in range(8):
            if skeleton.joined[p] >> n & 1:
                skeleton.cut(p, n)
        if skeleton.child.get(skeleton.parent[p]) != p:
            return
        p = skeleton.parent[p]
