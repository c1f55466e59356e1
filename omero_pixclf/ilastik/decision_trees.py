"""Decode vigra's decision trees from two arrays of numbers, and check every reference.

A tree is stored as ``topology`` (integers) and ``parameters`` (floats). The topology begins with the number of features
and of classes; the root node follows. A node is its kind, where its parameters begin, and for a threshold node its left
child, right child and feature. All trees are walked at once, level by level, so that large forests load quickly.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from omero_pixclf.ilastik.safe_hdf5.file import Hdf5Group
from omero_pixclf.image import Array, BoolArray, Float64Array, Int32Array, Int64Array

__all__ = ["StoredTree", "TreeArrays", "flatten_trees"]

_THRESHOLD, _LEAF = 0, 0x40000000
_ROOT, _MAX_DEPTH, _MAX_ENTRIES = 2, 1000, 2_000_000


@dataclass(frozen=True, eq=False)
class StoredTree:
    """A tree as the file has it; ``weighted`` says whether a leaf counts with its number of samples."""

    group: Hdf5Group
    topology: Array
    parameters: Array
    weighted: bool


@dataclass(frozen=True, eq=False)
class TreeArrays:
    """All trees in flat arrays; references to nodes are indices, references to leaves ``-1 - index``.

    Nodes come after their parents. Leaves are numbered tree by tree, each tree's from left to right.
    """

    columns: Int32Array
    thresholds: Float64Array
    children: Int32Array
    leaves: Float64Array
    roots: Int32Array


@dataclass(frozen=True, eq=False)
class _Level:
    """Entries (nodes and leaves) of one depth: where in the joined topology, of which tree, and whether a leaf."""

    at: Int64Array
    tree: Int64Array
    leaf: BoolArray


@dataclass(frozen=True, eq=False)
class _JoinedTrees:
    """The arrays of all trees, one after the other."""

    trees: list[StoredTree]
    topology: Int64Array
    parameters: Float64Array
    starts: Int64Array
    ends: Int64Array
    values: Int64Array
    value_ends: Int64Array
    columns: int
    classes: int

    def check(self, holds: BoolArray, tree: Int64Array, at: Int64Array, problem: str) -> None:
        """Refuse the first entry for which something does not hold."""
        if not holds.all():
            bad = int(np.argmin(holds))
            which = int(tree[bad])
            raise self.trees[which].group.error("topology", f"{problem} (at {int(at[bad] - self.starts[which])})")


def flatten_trees(trees: list[StoredTree], columns: int, classes: int) -> TreeArrays:
    """Walk and check all trees.

    Raises
    ------
    ProjectError
        A tree is broken: indices out of range, cycles or shared branches, unknown nodes, numbers that are not finite.
    """
    stock = _join_trees(trees, columns, classes)
    levels = _find_levels(stock)
    first = np.cumsum([0, *(level.at.size for level in levels)])
    leaf = np.concatenate([level.leaf for level in levels])
    at, tree = np.concatenate([level.at for level in levels]), np.concatenate([level.tree for level in levels])
    lefts = _find_left_children(levels, first, leaf)
    number = _number_leaves(levels, first, lefts, leaf)
    references = np.where(leaf, -1 - number, np.cumsum(~leaf) - 1)
    nodes = np.flatnonzero(~leaf)
    children = np.stack([references[lefts[nodes]], references[lefts[nodes] + 1]], axis=-1)
    offsets = stock.values[tree] + stock.topology[at + 1]
    return TreeArrays(
        stock.topology[at[nodes] + 4].astype(np.int32),
        stock.parameters[offsets[nodes] + 1],
        children.astype(np.int32).reshape(-1, 2),
        _sort_leaf_values(stock, offsets[leaf], tree[leaf], number[leaf]),
        references[: len(trees)].astype(np.int32),
    )


def _join_trees(trees: list[StoredTree], columns: int, classes: int) -> _JoinedTrees:
    for tree in trees:
        head = tree.topology[:2].tolist()
        if tree.topology.size < _ROOT + 2 or head != [columns, classes]:
            raise tree.group.error("topology", f"begins with {head}, expected [{columns}, {classes}] and a tree")
        if not np.isfinite(tree.parameters).all():
            raise tree.group.error("parameters", "holds numbers that are not finite")
    sizes = np.array([tree.topology.size for tree in trees])
    lengths = np.array([tree.parameters.size for tree in trees])
    return _JoinedTrees(
        trees,
        np.concatenate([tree.topology for tree in trees]).astype(np.int64),
        np.concatenate([tree.parameters for tree in trees]).astype(np.float64),
        np.cumsum(sizes) - sizes,
        np.cumsum(sizes),
        np.cumsum(lengths) - lengths,
        np.cumsum(lengths),
        columns,
        classes,
    )


def _find_levels(stock: _JoinedTrees) -> list[_Level]:
    levels: list[_Level] = []
    seen = np.zeros(stock.topology.size, bool)
    at, tree = stock.starts + _ROOT, np.arange(stock.starts.size)
    total = 0
    while at.size:
        total += at.size
        if len(levels) >= _MAX_DEPTH or total > _MAX_ENTRIES:
            group = stock.trees[int(tree[0])].group
            raise group.error("topology", f"is deeper than {_MAX_DEPTH} nodes or has more than {_MAX_ENTRIES} nodes")
        level = _check_level(stock, at, tree, seen)
        levels.append(level)
        inner, own = at[~level.leaf], tree[~level.leaf]
        at = np.stack([stock.topology[inner + 2], stock.topology[inner + 3]], axis=-1).ravel()
        tree = np.repeat(own, 2)
        fits = (at >= _ROOT) & (at <= (stock.ends - stock.starts)[tree] - 2)
        stock.check(fits, tree, at + stock.starts[tree], "points to a node outside of the tree")
        at = at + stock.starts[tree]
    return levels


def _check_level(stock: _JoinedTrees, at: Int64Array, tree: Int64Array, seen: BoolArray) -> _Level:
    again = seen[at]
    order = np.argsort(at, kind="stable")
    again[order[1:]] |= at[order[1:]] == at[order[:-1]]
    stock.check(~again, tree, at, "reaches a node twice: a tree has no cycles and no shared branches")
    seen[at] = True
    kind, offset = stock.topology[at], stock.topology[at + 1]
    leaf = kind == _LEAF
    stock.check(leaf | (kind == _THRESHOLD), tree, at, "has a node that is neither a threshold nor a leaf")
    needed = np.where(leaf, 1 + stock.classes, 2)
    fits = (offset >= 0) & (stock.values[tree] + offset + needed <= stock.value_ends[tree])
    stock.check(fits, tree, at, "has a node whose parameters lie outside of the tree's")
    stock.check(leaf | (at + 4 < stock.ends[tree]), tree, at, "ends within a node")
    column = stock.topology[np.where(leaf, at, at + 4)]
    stock.check(leaf | ((column >= 0) & (column < stock.columns)), tree, at, "looks at a feature that is not there")
    return _Level(at, tree, leaf)


def _find_left_children(levels: list[_Level], first: Int64Array, leaf: BoolArray) -> Int64Array:
    """The entry that is each node's left child; the right one follows. -1 for leaves."""
    lefts = np.full(leaf.size, -1)
    for depth, level in enumerate(levels[:-1]):
        nodes = first[depth] + np.flatnonzero(~level.leaf)
        lefts[nodes] = first[depth + 1] + 2 * np.arange(nodes.size)
    return lefts


def _number_leaves(levels: list[_Level], first: Int64Array, lefts: Int64Array, leaf: BoolArray) -> Int64Array:
    """The number of each entry's leftmost leaf: leaves are counted from below, then numbered from above."""
    count = leaf.astype(np.int64)
    inner = [first[depth] + np.flatnonzero(~level.leaf) for depth, level in enumerate(levels)]
    for nodes in reversed(inner):
        count[nodes] = count[lefts[nodes]] + count[lefts[nodes] + 1]
    number = np.zeros_like(count)
    trees = levels[0].at.size
    number[:trees] = np.cumsum(count[:trees]) - count[:trees]
    for nodes in inner:
        number[lefts[nodes]] = number[nodes]
        number[lefts[nodes] + 1] = number[nodes] + count[lefts[nodes]]
    return number


def _sort_leaf_values(stock: _JoinedTrees, offsets: Int64Array, tree: Int64Array, number: Int64Array) -> Float64Array:
    values = stock.parameters[offsets[:, None] + 1 + np.arange(stock.classes)]
    weighted = np.array([t.weighted for t in stock.trees])[tree]
    values = np.where(weighted[:, None], stock.parameters[offsets][:, None] * values, values)
    leaves = np.empty(values.shape, np.float64)
    leaves[number] = values
    return leaves
