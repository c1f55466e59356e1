"""Trees: numbered from left to right, and refused when a reference does not hold."""

from __future__ import annotations

import numpy as np
import pytest

from omero_pixclf.errors import ProjectError
from omero_pixclf.ilastik.decision_trees import StoredTree, flatten_trees
from omero_pixclf.ilastik.safe_hdf5.file import Hdf5Group
from omero_pixclf.ilastik.safe_hdf5.source import CheckedFile

LEAF = 0x40000000
GROUP = Hdf5Group("forest.ilp", "/Tree_0", CheckedFile(b"", 0), (), {})
# root (feature 1 < 5): left leaf A; right (feature 0 < 7): leaves B, C
TOPOLOGY = [2, 2, 0, 0, 7, 9, 1, LEAF, 2, 0, 5, 14, 16, 0, LEAF, 7, LEAF, 10]
PARAMETERS = [1.0, 5.0, 4.0, 0.75, 0.25, 1.0, 7.0, 2.0, 0.0, 1.0, 3.0, 1.0, 0.0]


def tree(topology: list[int] = TOPOLOGY, parameters: list[float] = PARAMETERS, *, weighted: bool = False) -> StoredTree:
    return StoredTree(GROUP, np.array(topology, np.int32), np.array(parameters), weighted)


def test_leaves_are_numbered_from_left_to_right() -> None:
    grown = flatten_trees([tree(), tree()], 2, 2)
    assert grown.columns.tolist() == [1, 1, 0, 0]
    assert grown.thresholds.tolist() == [5.0, 5.0, 7.0, 7.0]
    assert grown.leaves.tolist() == [[0.75, 0.25], [0.0, 1.0], [1.0, 0.0]] * 2
    assert grown.roots.tolist() == [0, 1]
    assert grown.children.tolist() == [[-1, 2], [-4, 3], [-2, -3], [-5, -6]]


def test_a_tree_may_be_a_single_leaf() -> None:
    grown = flatten_trees([tree([2, 2, LEAF, 0], [9.0, 0.5, 0.5])], 2, 2)
    assert grown.roots.tolist() == [-1]
    assert grown.leaves.tolist() == [[0.5, 0.5]]


def test_weighted_leaves_count_with_their_samples() -> None:
    assert flatten_trees([tree(weighted=True)], 2, 2).leaves.tolist() == [[3.0, 1.0], [0.0, 2.0], [3.0, 0.0]]


@pytest.mark.parametrize(
    ("at", "value", "words"),
    [
        (4, 2, "reaches a node twice"),
        (4, 9, "reaches a node twice"),
        (5, 17, "outside of the tree"),
        (5, -1, "outside of the tree"),
        (6, 2, "feature that is not there"),
        (2, 1, "neither a threshold nor a leaf"),
        (15, 11, "parameters lie outside"),
        (0, 3, r"begins with \[3, 2\]"),
    ],
)
def test_broken_trees_are_refused(at: int, value: int, words: str) -> None:
    broken = list(TOPOLOGY)
    broken[at] = value
    with pytest.raises(ProjectError, match=f"forest.ilp: /Tree_0/topology .*{words}"):
        flatten_trees([tree(), tree(broken)], 2, 2)


def test_a_threshold_node_must_not_reach_into_the_next_trees_numbers() -> None:
    with pytest.raises(ProjectError, match="ends within a node"):
        flatten_trees([tree([2, 2, 0, 0]), tree()], 2, 2)


def test_numbers_that_are_not_finite_are_refused() -> None:
    with pytest.raises(ProjectError, match="not finite"):
        flatten_trees([tree(parameters=[1.0, float("nan"), *PARAMETERS[2:]])], 2, 2)
