"""Random forests evaluated for many pixels at once, as bit vectors (QuickScorer; Lucchese et al., SIGIR 2015)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from omero_pixclf.ilastik.random_forest import ForestArrays
from omero_pixclf.image import Array, Float32Array, Float64Array, Int32Array, Int64Array, UInt32Array
from omero_pixclf.pixels.kernels import kernels

__all__ = ["BitForest", "build_bit_forest", "predict_proba"]

_ENTRY = np.dtype([("threshold", np.float32), ("word", np.uint32), ("keep", np.uint32)])
_NODE = np.dtype([("threshold", np.float32), ("column", np.int32), ("left", np.int32), ("right", np.int32)])
_ALL, _MOST_WORDS = 0xFFFFFFFF, 768


@dataclass(frozen=True, eq=False)
class BitForest:
    """A forest as tables of bits. The leaves of a tree are numbered from left to right, 32 to a word.

    If the test ``feature < threshold`` of a node fails, the leaves below its left child are ruled out. After all nodes
    were tested, the lowest remaining leaf is the one at which the walk down the tree would end.

    Attributes
    ----------
    entries
        ``(threshold float32, word, keep)`` sorted by feature, then threshold. A float32 feature is below the stored
        float64 threshold exactly when it is below the next float32 that is not less than it.
    column_ends, word_ends, forest_ends
        int32: the ends of each feature's entries, of each tree's words and of each forest's trees.
    initial
        uint32 ``(words,)``: the leaves that exist.
    votes
        uint32 ``(words, classes)``: the leaves of which all samples are of one class; empty if any leaf is mixed.
    leaves
        float64 ``(words * 32, classes)``: what a leaf adds for each class.
    channels
        int32 ``(classes,)``: the output channel of each class.
    nodes, roots
        ``(threshold float32, column, left, right)`` and int32 ``(trees,)``, references as in `ForestArrays`: for
        walks down the trees, which are faster for large forests; both are empty where bits are faster.
    width
        Number of output channels.
    """

    entries: Array
    column_ends: Int32Array
    word_ends: Int32Array
    initial: UInt32Array
    votes: UInt32Array
    leaves: Float64Array
    channels: Int32Array
    forest_ends: Int32Array
    nodes: Array
    roots: Int32Array
    width: int

    @property
    def tables(self) -> tuple[Array, ...]:
        """The tables in the order in which the kernels take them."""
        return tuple(getattr(self, name) for name in list(self.__dataclass_fields__)[:-1])


def build_bit_forest(forests: ForestArrays, width: int, *, most_words: int = _MOST_WORDS) -> BitForest:
    """Prepare forests for `predict_proba`; ``width`` is the number of output channels (classes of the project).

    Forests with more words of leaves than ``most_words`` are walked down instead: testing every node would be slower.
    """
    first = _first_leaves(forests)
    begins = _leftmost_leaves(forests.roots, first)
    counts = np.diff(begins, append=len(forests.leaves))
    words = np.cumsum(-(-counts // 32))
    slots = np.arange(len(forests.leaves)) + np.repeat(32 * np.append(0, words[:-1]) - begins, counts)
    leaves = np.zeros((int(words[-1]) * 32, forests.leaves.shape[1]), np.float64)
    leaves[slots] = forests.leaves
    initial = np.zeros(int(words[-1]), np.uint32)
    np.bitwise_or.at(initial, slots // 32, np.uint32(1) << (slots % 32).astype(np.uint32))
    walks = initial.size > most_words
    entries, column_ends = _build_entries(forests, first, slots)
    return BitForest(
        entries[:0] if walks else entries,
        np.zeros_like(column_ends) if walks else column_ends,
        words.astype(np.int32),
        initial,
        _build_votes(leaves, initial),
        leaves,
        np.array(forests.known_labels, np.int32) - 1,
        np.cumsum(forests.sizes).astype(np.int32),
        _build_nodes(forests, slots) if walks else np.empty(0, _NODE),
        _slot_references(forests.roots, slots) if walks else np.empty(0, np.int32),
        width,
    )


def _first_leaves(forests: ForestArrays) -> Int64Array:
    """Return the leftmost leaf below every node, following left children for all nodes at once."""
    at = forests.children[:, 0].astype(np.int64)
    while (inner := at >= 0).any():
        at[inner] = at[at[inner]]
    return -1 - at


def _leftmost_leaves(references: Int32Array, first: Int64Array) -> Int64Array:
    """Return the leftmost leaf below every node that is referred to; a leaf is its own."""
    leaf = -1 - references.astype(np.int64)
    inner = references >= 0
    leaf[inner] = first[references[inner]]
    return leaf


def _slot_references(references: Int32Array, slots: Int64Array) -> Int32Array:
    """Return the references with leaves numbered by their bits."""
    return np.where(references >= 0, references, -1 - slots[np.maximum(-1 - references, 0)]).astype(np.int32)


def _build_nodes(forests: ForestArrays, slots: Int64Array) -> Array:
    nodes = np.empty(len(forests.columns), _NODE)
    nodes["threshold"], nodes["column"] = _round_up_to_float32(forests.thresholds), forests.columns
    children = _slot_references(forests.children, slots)
    nodes["left"], nodes["right"] = children[:, 0], children[:, 1]
    return nodes


def _build_entries(forests: ForestArrays, first: Int64Array, slots: Int64Array) -> tuple[Array, Int32Array]:
    """Return the leaves that each node rules out, word by word: from its own leftmost to its right child's leftmost."""
    begin, end = slots[first], slots[_leftmost_leaves(forests.children[:, 1], first)]
    count = (end - 1) // 32 - begin // 32 + 1
    node = np.repeat(np.arange(count.size), count)
    word = begin[node] // 32 + np.arange(node.size) - np.repeat(np.cumsum(count) - count, count)
    low, high = np.maximum(begin[node] - 32 * word, 0), np.minimum(end[node] - 32 * word, 32)
    entries = np.empty(node.size, _ENTRY)
    entries["threshold"], entries["word"] = _round_up_to_float32(forests.thresholds)[node], word
    entries["keep"] = _ALL & ~((1 << high) - (1 << low))
    column = forests.columns[node]
    order = np.lexsort([entries["threshold"], column])
    ends = np.searchsorted(column[order], np.arange(forests.column_count), side="right")
    return entries[order], ends.astype(np.int32)


def _round_up_to_float32(thresholds: Float64Array) -> Float32Array:
    """Return the smallest float32 that is not less than each threshold."""
    with np.errstate(over="ignore"):
        near = thresholds.astype(np.float32)
    return np.asarray(np.where(near < thresholds, np.nextafter(near, np.float32(np.inf)), near))


def _build_votes(leaves: Float64Array, initial: UInt32Array) -> UInt32Array:
    exists = (initial[:, None] >> np.arange(32, dtype=np.uint32) & 1).astype(bool).ravel()
    own = leaves[exists]
    if not (np.isin(own, (0.0, 1.0)).all() and (own.sum(axis=1) == 1.0).all()):
        return np.empty((0, leaves.shape[1]), np.uint32)
    bits = (leaves.reshape(-1, 32, leaves.shape[1]) == 1.0).astype(np.uint32)
    return np.asarray(np.bitwise_or.reduce(bits << np.arange(32, dtype=np.uint32)[None, :, None], axis=1))


def predict_proba(forest: BitForest, rows: Float32Array) -> Float32Array:
    """Return the probabilities of the classes, the mean over the forests.

    Parameters
    ----------
    forest
        From `build_bit_forest`.
    rows
        float32 ``(features, ...)``, C-contiguous.

    Returns
    -------
    float32 ``(..., classes)``; 0 for all classes where any feature is NaN, as in ilastik.
    """
    flat = rows.reshape(rows.shape[0], -1)
    out = np.empty((flat.shape[1], forest.width), np.float32)
    kernels.evaluate(flat, out, *forest.tables)
    return out.reshape(*rows.shape[1:], forest.width)
