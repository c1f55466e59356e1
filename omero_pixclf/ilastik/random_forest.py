"""ilastik's classifier: vigra's random forests, read into plain arrays and checked node by node."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from omero_pixclf.ilastik.decision_trees import StoredTree, grow
from omero_pixclf.ilastik.safe_hdf5.file import Branch, numbers, texts
from omero_pixclf.ilastik.workflows import untrained

__all__ = ["Forests", "read_forests"]

_PARALLEL, _SINGLE = "ParallelVigraRfLazyflowClassifier", ("VigraRfLazyflowClassifier", "VigraRfPixelwiseClassifier")
_MOST_TREES = 10_000


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


def read_forests(branch: Branch) -> Forests:
    """Read and validate a ``ClassifierForests`` group.

    Raises
    ------
    ProjectError
        A classifier of another kind (a pickled one is never opened), or broken, cyclic or out of range trees.
    """
    trees: list[StoredTree] = []
    sizes: list[int] = []
    shape: tuple[int, int] | None = None
    for home in _forest_groups(branch):
        shape = _read_forest(home, trees, shape)
        sizes.append(len(trees) - sum(sizes))
    assert shape is not None
    grown = grow(trees, *shape)
    return Forests(
        grown.columns,
        grown.thresholds,
        grown.children,
        grown.leaves,
        grown.roots,
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
        raise untrained(branch.file, "it was saved without a trained classifier")
    return [branch.group(name) for name in names]


def _class_name(branch: Branch) -> str:
    """The class that ``pickled_type`` names, taken from its text: ``c``, a module, a line end, the class."""
    text = "".join(texts(branch, "pickled_type"))
    found = re.match(r"c[\w.]+\n(\w+)\n", text)
    return found.group(1) if found else text


def _known_labels(branch: Branch, count: int) -> tuple[int, ...]:
    """The labels of the forests' classes; before 1.2 only vigra noted them, in each forest."""
    if not branch.has("known_labels"):
        return _labels_of_vigra(_forest_groups(branch)[0], count) or tuple(range(1, count + 1))
    labels = tuple(int(v) for v in numbers(branch, "known_labels", "iu", shape=(None,)))
    if len(labels) != count or list(labels) != sorted(set(labels)) or labels[0] < 1:
        raise branch.refuse("known_labels", f"is {labels!r:.60}, expected {count} different labels from 1 upwards")
    return labels


def _labels_of_vigra(home: Branch, count: int) -> tuple[int, ...]:
    """The labels by vigra's own note, empty where there is none that fits."""
    external = home.group("_ext_param")
    if not external.has("labels"):
        return ()
    found = numbers(external, "labels", "fiu").ravel().tolist()
    fits = len(found) == count and all(1 <= v <= 255 and v == int(v) for v in found)
    return tuple(int(v) for v in found) if fits and found == sorted(set(found)) else ()


def _read_forest(home: Branch, trees: list[StoredTree], expected: tuple[int, int] | None) -> tuple[int, int]:
    """Append a forest's trees; returns its number of features and of classes."""
    external, options = home.group("_ext_param"), home.group("_options")
    columns, classes = _count(external, "column_count_"), _count(external, "class_count_")
    if expected is not None and expected != (columns, classes):
        raise home.refuse("", f"has (features, classes) {(columns, classes)}, the forests before it {expected}")
    if not 1 <= columns <= 100_000 or not 1 <= classes <= 255:
        raise home.refuse("_ext_param", f"states {columns} features and {classes} classes")
    count = _count(options, "tree_count_")
    if not 1 <= count + len(trees) <= _MOST_TREES or count < 1:
        raise options.refuse("tree_count_", f"is {count}, expected at least 1 and {_MOST_TREES} in all forests")
    weighted = options.has("predict_weighted_") and _count(options, "predict_weighted_") == 1
    digits = len(str(count - 1))
    for index in range(count):
        tree = home.group(f"Tree_{index:0{digits}d}")
        topology = numbers(tree, "topology", "i", shape=(None,))
        trees.append(StoredTree(tree, topology, numbers(tree, "parameters", "f", shape=(None,)), weighted))
    return columns, classes


def _count(branch: Branch, name: str) -> int:
    value = float(numbers(branch, name, "fiu", shape=(1,))[0])
    if not value.is_integer() or not 0 <= value < 2**31:
        raise branch.refuse(name, f"is {value}, expected a count")
    return int(value)
