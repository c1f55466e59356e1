"""ilastik's classifier: vigra's random forests, read into plain arrays and checked node by node."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from omero_pixclf.ilastik.hdf5 import Branch, numbers, texts

__all__ = ["Forests", "read_forests"]

_THRESHOLD, _LEAF = 0, 0x40000000
_PARALLEL, _SINGLE = "ParallelVigraRfLazyflowClassifier", ("VigraRfLazyflowClassifier", "VigraRfPixelwiseClassifier")
_MOST_TREES, _MOST_NODES = 10_000, 5_000_000


@dataclass(frozen=True, eq=False)
class Forests:
    """Every tree of a classifier in flat arrays. All indices have been checked, and every walk ends in a leaf.

    A reference to a node is its index; a reference to a leaf is ``-1 - index``.

    Attributes
    ----------
    columns
        int32 ``(nodes,)``: the feature that a node looks at.
    thresholds
        float64 ``(nodes,)``: the walk goes left where the feature is less than this.
    children
        int32 ``(nodes, 2)``: references to the left and the right child.
    leaves
        float64 ``(leaves, columns of the forest's own classes)``: what a leaf adds for each class.
    roots
        int32 ``(trees,)``: references to the trees' roots, forest by forest.
    sizes
        Number of trees in each forest.
    column_count
        Features that the forests were trained on.
    known_labels
        The label value (1-based) that each class of the forests stands for.
    """

    columns: NDArray[np.int32]
    thresholds: NDArray[np.float64]
    children: NDArray[np.int32]
    leaves: NDArray[np.float64]
    roots: NDArray[np.int32]
    sizes: tuple[int, ...]
    column_count: int
    known_labels: tuple[int, ...]


@dataclass
class _Arena:
    """Nodes and leaves gathered while trees are read."""

    columns: list[int]
    thresholds: list[float]
    children: list[tuple[int, int]]
    leaves: list[list[float]]
    roots: list[int]


def read_forests(branch: Branch) -> Forests:
    """Read and validate a ``ClassifierForests`` group.

    Raises
    ------
    ProjectError
        A classifier of another kind (a pickled one is never opened), or broken, cyclic or out of range trees.
    """
    homes = _forest_groups(branch)
    arena = _Arena([], [], [], [], [])
    shape: tuple[int, int] | None = None
    sizes = []
    for home in homes:
        before = len(arena.roots)
        shape = _read_forest(home, arena, shape)
        sizes.append(len(arena.roots) - before)
    assert shape is not None
    return Forests(
        np.array(arena.columns, np.int32),
        np.array(arena.thresholds, np.float64),
        np.array(arena.children, np.int32).reshape(-1, 2),
        np.array(arena.leaves, np.float64).reshape(-1, shape[1]),
        np.array(arena.roots, np.int32),
        tuple(sizes),
        shape[0],
        _known_labels(branch, shape[1]),
    )


def _forest_groups(branch: Branch) -> list[Branch]:
    kind = _PARALLEL
    if branch.has("pickled_type"):
        kind = _class_name(branch)
    elif branch.has("pickled_classifier"):
        kind = "SklearnLazyflowClassifier"
    if kind == "SklearnLazyflowClassifier":
        raise branch.refuse(
            "pickled_classifier",
            "is a pickled scikit-learn classifier: reading it would run code out of the file, so it is refused; "
            "expected ilastik's own random forest (choose 'Parallel Random Forest (VIGRA)' and train again)",
        )
    if kind in _SINGLE:
        return [branch.group("forest")]
    if kind != _PARALLEL:
        raise branch.refuse("pickled_type", f"names the classifier {kind!r:.80}; known are {_PARALLEL}, {_SINGLE}")
    names = [name for name in branch.names() if re.fullmatch(r"Forest\d+", name)]
    if not names:
        raise branch.refuse("", "holds no forest: the project was saved without a trained classifier")
    return [branch.group(name) for name in names]


def _class_name(branch: Branch) -> str:
    """The class that ``pickled_type`` names, taken from its text: ``c``, a module, a line end, the class."""
    text = "".join(texts(branch, "pickled_type"))
    found = re.match(r"c[\w.]+\n(\w+)\n", text)
    return found.group(1) if found else text


def _known_labels(branch: Branch, count: int) -> tuple[int, ...]:
    if not branch.has("known_labels"):
        return tuple(range(1, count + 1))
    labels = tuple(int(v) for v in numbers(branch, "known_labels", "iu", shape=(None,)))
    if len(labels) != count or list(labels) != sorted(set(labels)) or labels[0] < 1:
        raise branch.refuse("known_labels", f"is {labels!r:.60}, expected {count} different labels from 1 upwards")
    return labels


def _read_forest(home: Branch, arena: _Arena, expected: tuple[int, int] | None) -> tuple[int, int]:
    external, options = home.group("_ext_param"), home.group("_options")
    columns, classes = _count(external, "column_count_"), _count(external, "class_count_")
    if expected is not None and expected != (columns, classes):
        raise home.refuse("", f"has (features, classes) {(columns, classes)}, the forests before it {expected}")
    if not 1 <= columns <= 100_000 or not 1 <= classes <= 255:
        raise home.refuse("_ext_param", f"states {columns} features and {classes} classes")
    trees = _count(options, "tree_count_")
    if not 1 <= trees <= _MOST_TREES:
        raise options.refuse("tree_count_", f"is {trees}, expected 1 to {_MOST_TREES}")
    weighted = options.has("predict_weighted_") and _count(options, "predict_weighted_") == 1
    digits = len(str(trees - 1))
    for index in range(trees):
        _read_tree(home.group(f"Tree_{index:0{digits}d}"), arena, columns, classes, weighted=weighted)
    return columns, classes


def _count(branch: Branch, name: str) -> int:
    value = float(numbers(branch, name, "fiu", shape=(1,))[0])
    if not value.is_integer() or not 0 <= value < 2**31:
        raise branch.refuse(name, f"is {value}, expected a count")
    return int(value)


def _read_tree(branch: Branch, arena: _Arena, columns: int, classes: int, *, weighted: bool) -> None:
    topology = numbers(branch, "topology", "i", shape=(None,)).tolist()
    parameters = numbers(branch, "parameters", "f", shape=(None,))
    if not np.isfinite(parameters).all():
        raise branch.refuse("parameters", "holds numbers that are not finite")
    values = parameters.tolist()
    if len(topology) < 4 or topology[0] != columns or topology[1] != classes:
        raise branch.refuse("topology", f"begins with {topology[:2]}, expected [{columns}, {classes}] and a tree")
    arena.roots.append(0)
    pending = [(2, -1, 0)]
    seen: set[int] = set()
    while pending:
        at, parent, side = pending.pop()
        if at in seen:
            raise branch.refuse("topology", f"reaches node {at} twice: a tree has no cycles and no shared branches")
        seen.add(at)
        reference = _read_node(branch, arena, topology, values, at, columns, classes, weighted)
        if parent < 0:
            arena.roots[-1] = reference
        else:
            pair = arena.children[parent]
            arena.children[parent] = (reference, pair[1]) if side == 0 else (pair[0], reference)
        if reference >= 0:
            pending += [(topology[at + 3], reference, 1), (topology[at + 2], reference, 0)]


def _read_node(
    branch: Branch,
    arena: _Arena,
    topology: list[int],
    values: list[float],
    at: int,
    columns: int,
    classes: int,
    weighted: bool,
) -> int:
    """Append one node or leaf and return the reference to it."""
    if not 2 <= at <= len(topology) - 2:
        raise branch.refuse("topology", f"points to node {at}, outside of its {len(topology)} entries")
    kind, offset = topology[at], topology[at + 1]
    needed = {_THRESHOLD: 2, _LEAF: 1 + classes}.get(kind)
    if needed is None:
        raise branch.refuse("topology", f"has a node of kind {kind:#x} at {at}; known are thresholds and leaves")
    if not 0 <= offset <= len(values) - needed:
        raise branch.refuse("topology", f"has parameters at {offset} for node {at}, outside of {len(values)}")
    if kind == _LEAF:
        weight = values[offset] if weighted else 1.0
        arena.leaves.append([weight * p for p in values[offset + 1 : offset + 1 + classes]])
        return -len(arena.leaves)
    if at + 4 >= len(topology) or not 0 <= topology[at + 4] < columns:
        raise branch.refuse("topology", f"has no valid feature at node {at}; the forest knows {columns} features")
    if len(arena.columns) >= _MOST_NODES:
        raise branch.refuse("topology", f"makes the classifier larger than {_MOST_NODES} nodes")
    arena.columns.append(topology[at + 4])
    arena.thresholds.append(values[offset + 1])
    arena.children.append((0, 0))
    return len(arena.columns) - 1
