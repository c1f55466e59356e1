"""Random forests over many pixels at once: every tree as bit vectors (QuickScorer; Lucchese et al., SIGIR 2015)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from omero_pixclf.ilastik.forest import Forests
from omero_pixclf.pixels.kernels import kernels

__all__ = ["BitForest", "bit_forest", "vote"]

_ENTRY = np.dtype([("threshold", np.float32), ("word", np.uint32), ("keep", np.uint32)])
_ALL = 0xFFFFFFFF


@dataclass(frozen=True, eq=False)
class BitForest:
    """A forest as tables of bits. A tree's leaves are numbered from left to right, 32 to a word.

    A node whose test ``feature < threshold`` fails rules out the leaves below its left child; what remains lowest when
    all nodes have been asked is the leaf where the walk down the tree would have ended.

    Attributes
    ----------
    entries
        ``(threshold float32, word, keep)`` sorted by feature, then threshold. A float32 feature is below the stored
        float64 threshold exactly when it is below the next float32 that is not less than it.
    column_ends, word_ends, forest_ends
        int32: where each feature's entries, each tree's words and each forest's trees end.
    initial
        uint32 ``(words,)``: the leaves that exist.
    votes
        uint32 ``(words, classes)``: the leaves that are purely of a class; empty where some leaf is mixed.
    leaves
        float64 ``(words * 32, classes)``: what a leaf adds for each class.
    channels
        int32 ``(classes,)``: the output channel of each class.
    width
        Number of output channels.
    """

    entries: NDArray[Any]
    column_ends: NDArray[np.int32]
    word_ends: NDArray[np.int32]
    initial: NDArray[np.uint32]
    votes: NDArray[np.uint32]
    leaves: NDArray[np.float64]
    channels: NDArray[np.int32]
    forest_ends: NDArray[np.int32]
    width: int


def bit_forest(forests: Forests, width: int) -> BitForest:
    """Prepare forests for `vote`; ``width`` is the number of output channels (classes of the project)."""
    first = _first_leaves(forests)
    roots = forests.roots.tolist()
    begins = [first[r] if r >= 0 else -1 - r for r in roots]
    ends = [*begins[1:], len(forests.leaves)]
    words = np.cumsum([-(-(b - a) // 32) for a, b in zip(begins, ends, strict=True)])
    slots = _leaf_slots(begins, ends, words.tolist())
    leaves = np.zeros((int(words[-1]) * 32, forests.leaves.shape[1]), np.float64)
    leaves[slots] = forests.leaves
    initial = np.zeros(int(words[-1]), np.uint32)
    np.bitwise_or.at(initial, slots // 32, np.uint32(1) << (slots % 32).astype(np.uint32))
    entries, column_ends = _entries(forests, first, slots)
    return BitForest(
        entries,
        column_ends,
        words.astype(np.int32),
        initial,
        _votes(leaves, initial),
        leaves,
        np.array(forests.known_labels, np.int32) - 1,
        np.cumsum(forests.sizes).astype(np.int32),
        width,
    )


def _first_leaves(forests: Forests) -> list[int]:
    """The leftmost leaf below every node. Children come after their parents, so one pass from the end will do."""
    first = [0] * len(forests.columns)
    for node in range(len(first) - 1, -1, -1):
        left = int(forests.children[node, 0])
        first[node] = first[left] if left >= 0 else -1 - left
    return first


def _leaf_slots(begins: list[int], ends: list[int], words: list[int]) -> NDArray[np.int64]:
    """The bit of every leaf: each tree starts a new word."""
    starts = [0, *words[:-1]]
    parts = [np.arange(b - a) + 32 * w for a, b, w in zip(begins, ends, starts, strict=True)]
    return np.concatenate(parts)


def _entries(forests: Forests, first: list[int], slots: NDArray[np.int64]) -> tuple[NDArray[Any], NDArray[np.int32]]:
    thresholds = _not_less(forests.thresholds).tolist()
    rows: list[tuple[float, int, int]] = []
    columns: list[int] = []
    spots = slots.tolist()
    children = forests.children.tolist()
    for node, column in enumerate(forests.columns.tolist()):
        right = children[node][1]
        begin, end = spots[first[node]], spots[first[right] if right >= 0 else -1 - right]
        for word in range(begin // 32, (end - 1) // 32 + 1):
            low, high = max(begin - 32 * word, 0), min(end - 32 * word, 32)
            struck = ((1 << high) - 1) & ~((1 << low) - 1)
            rows.append((thresholds[node], word, _ALL & ~struck))
            columns.append(column)
    entries = np.array(rows, _ENTRY)
    order = np.lexsort([entries["threshold"], np.array(columns)])
    ends = np.searchsorted(np.array(columns)[order], np.arange(forests.column_count), side="right")
    return entries[order], ends.astype(np.int32)


def _not_less(thresholds: NDArray[np.float64]) -> NDArray[np.float32]:
    """The smallest float32 that is not less than each threshold."""
    with np.errstate(over="ignore"):
        near = thresholds.astype(np.float32)
    return np.asarray(np.where(near < thresholds, np.nextafter(near, np.float32(np.inf)), near))


def _votes(leaves: NDArray[np.float64], initial: NDArray[np.uint32]) -> NDArray[np.uint32]:
    exists = (initial[:, None] >> np.arange(32, dtype=np.uint32) & 1).astype(bool).ravel()
    own = leaves[exists]
    if not (np.isin(own, (0.0, 1.0)).all() and (own.sum(axis=1) == 1.0).all()):
        return np.empty((0, leaves.shape[1]), np.uint32)
    bits = (leaves.reshape(-1, 32, leaves.shape[1]) == 1.0).astype(np.uint32)
    return np.asarray(np.bitwise_or.reduce(bits << np.arange(32, dtype=np.uint32)[None, :, None], axis=1))


def vote(forest: BitForest, rows: NDArray[np.float32]) -> NDArray[np.float32]:
    """Probabilities of the classes.

    Parameters
    ----------
    forest
        As `bit_forest` prepares it.
    rows
        float32 ``(features, ...)``, C-contiguous.

    Returns
    -------
    float32 ``(..., classes)``; 0 for all classes where any feature is NaN, as in ilastik.
    """
    flat = rows.reshape(rows.shape[0], -1)
    out = np.empty((flat.shape[1], forest.width), np.float32)
    kernels.evaluate(
        flat,
        out,
        forest.entries,
        forest.column_ends,
        forest.word_ends,
        forest.initial,
        forest.votes,
        forest.leaves,
        forest.channels,
        forest.forest_ends,
    )
    return out.reshape(*rows.shape[1:], forest.width)
