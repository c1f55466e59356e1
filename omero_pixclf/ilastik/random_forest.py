"""Read ilastik's classifier, random forests of vigra, as plain arrays, and check each node."""

from __future__ import annotations

import re
from dataclasses import dataclass

from omero_pixclf.ilastik.decision_trees import StoredTree, flatten_trees
from omero_pixclf.ilastik.safe_hdf5.file import Hdf5Group, read_numbers, read_texts
from omero_pixclf.ilastik.workflows import untrained_project_error
from omero_pixclf.image import Float64Array, Int32Array

__all__ = ["ForestArrays", "read_forests"]

_PARALLEL, _SINGLE = "ParallelVigraRfLazyflowClassifier", ("VigraRfLazyflowClassifier", "VigraRfPixelwiseClassifier")
_MAX_TREES = 10_000


@dataclass(frozen=True, eq=False)
class ForestArrays:
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

    columns: Int32Array
    thresholds: Float64Array
    children: Int32Array
    leaves: Float64Array
    roots: Int32Array
    sizes: tuple[int, ...]
    column_count: int
    known_labels: tuple[int, ...]


def read_forests(group: Hdf5Group) -> ForestArrays:
    """Read and validate a ``ClassifierForests`` group.

    Raises
    ------
    ProjectError
        A classifier of another kind (a pickled one is never opened), or broken, cyclic or out of range trees.
    """
    trees: list[StoredTree] = []
    sizes: list[int] = []
    shape: tuple[int, int] | None = None
    for home in _find_forest_groups(group):
        shape = _read_forest(home, trees, shape)
        sizes.append(len(trees) - sum(sizes))
    assert shape is not None
    grown = flatten_trees(trees, *shape)
    return ForestArrays(
        grown.columns,
        grown.thresholds,
        grown.children,
        grown.leaves,
        grown.roots,
        tuple(sizes),
        shape[0],
        _read_known_labels(group, shape[1]),
    )


def _find_forest_groups(group: Hdf5Group) -> list[Hdf5Group]:
    kind = _PARALLEL
    if group.has("pickled_type"):
        kind = _read_class_name(group)
    elif group.has("pickled_classifier"):
        kind = "SklearnLazyflowClassifier"
    if kind == "SklearnLazyflowClassifier":
        raise group.error(
            "pickled_classifier",
            "is a pickled scikit-learn classifier: reading it would run code out of the file, so it is refused; "
            "expected ilastik's own random forest (choose 'Parallel Random Forest (VIGRA)' and train again)",
        )
    if kind in _SINGLE:
        return [group.group("forest")]
    if kind != _PARALLEL:
        raise group.error("pickled_type", f"names the classifier {kind!r:.80}; known are {_PARALLEL}, {_SINGLE}")
    names = [name for name in group.names() if re.fullmatch(r"Forest\d+", name)]
    if not names:
        raise untrained_project_error(group.file, "it was saved without a trained classifier")
    return [group.group(name) for name in names]


def _read_class_name(group: Hdf5Group) -> str:
    """The class that ``pickled_type`` names, taken from its text: ``c``, a module, a line end, the class."""
    text = "".join(read_texts(group, "pickled_type"))
    found = re.match(r"c[\w.]+\n(\w+)\n", text)
    return found.group(1) if found else text


def _read_known_labels(group: Hdf5Group, count: int) -> tuple[int, ...]:
    """The labels of the forests' classes; before 1.2 only vigra noted them, in each forest."""
    if not group.has("known_labels"):
        return _vigra_labels(_find_forest_groups(group)[0], count) or tuple(range(1, count + 1))
    labels = tuple(int(v) for v in read_numbers(group, "known_labels", "iu", shape=(None,)))
    if len(labels) < count:  # object classifiers vote for all classes, also those without labelled objects
        every = _vigra_labels(_find_forest_groups(group)[0], count)
        if labels and set(labels) <= set(every):
            return every
    if len(labels) != count or list(labels) != sorted(set(labels)) or labels[0] < 1:
        raise group.error("known_labels", f"is {labels!r:.60}, expected {count} different labels from 1 upwards")
    return labels


def _vigra_labels(home: Hdf5Group, count: int) -> tuple[int, ...]:
    """The labels by vigra's own note, empty where there is none that fits."""
    external = home.group("_ext_param")
    if not external.has("labels"):
        return ()
    found = read_numbers(external, "labels", "fiu").ravel().tolist()
    fits = len(found) == count and all(1 <= v <= 255 and v == int(v) for v in found)
    return tuple(int(v) for v in found) if fits and found == sorted(set(found)) else ()


def _read_forest(home: Hdf5Group, trees: list[StoredTree], expected: tuple[int, int] | None) -> tuple[int, int]:
    """Append a forest's trees; returns its number of features and of classes."""
    external, options = home.group("_ext_param"), home.group("_options")
    columns, classes = _read_count(external, "column_count_"), _read_count(external, "class_count_")
    if expected is not None and expected != (columns, classes):
        raise home.error("", f"has (features, classes) {(columns, classes)}, the forests before it {expected}")
    if not 1 <= columns <= 100_000 or not 1 <= classes <= 255:
        raise home.error("_ext_param", f"states {columns} features and {classes} classes")
    count = _read_count(options, "tree_count_")
    if not 1 <= count + len(trees) <= _MAX_TREES or count < 1:
        raise options.error("tree_count_", f"is {count}, expected at least 1 and {_MAX_TREES} in all forests")
    weighted = options.has("predict_weighted_") and _read_count(options, "predict_weighted_") == 1
    digits = len(str(count - 1))
    for index in range(count):
        tree = home.group(f"Tree_{index:0{digits}d}")
        topology = read_numbers(tree, "topology", "i", shape=(None,))
        trees.append(StoredTree(tree, topology, read_numbers(tree, "parameters", "f", shape=(None,)), weighted))
    return columns, classes


def _read_count(group: Hdf5Group, name: str) -> int:
    value = float(read_numbers(group, name, "fiu", shape=(1,))[0])
    if not value.is_integer() or not 0 <= value < 2**31:
        raise group.error(name, f"is {value}, expected a count")
    return int(value)
