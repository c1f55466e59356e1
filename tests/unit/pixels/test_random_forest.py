"""Bit vectors walk every tree to the leaf that a walk from the root finds."""

from __future__ import annotations

import math

import numpy as np
import pytest

from omero_pixclf.ilastik.random_forest import ForestArrays
from omero_pixclf.pixels import kernels_numpy
from omero_pixclf.pixels.kernels import NATIVE
from omero_pixclf.pixels.random_forest import build_bit_forest, predict_proba

COLUMNS = 6


def random_forests(
    seed: int, leaves: int, sizes: tuple[int, ...], classes: int = 3, pure_leaves: bool = True
) -> ForestArrays:
    """Forests of random trees with that many leaves each."""
    rng = np.random.default_rng(seed)
    columns: list[int] = []
    thresholds: list[float] = []
    children: list[list[int]] = []
    values: list[list[float]] = []

    def grow(count: int) -> int:
        if count == 1:
            share = np.eye(classes)[rng.integers(classes)] if pure_leaves else rng.dirichlet(np.ones(classes))
            values.append(share.tolist())
            return -len(values)
        node = len(columns)
        columns.append(int(rng.integers(COLUMNS)))
        thresholds.append(float(rng.choice([rng.normal(), np.float32(rng.normal()), 0.25])))
        children.append([0, 0])
        left = int(rng.integers(1, count))
        children[node] = [grow(left), grow(count - left)]
        return node

    roots = [grow(leaves) for _ in range(sum(sizes))]
    return ForestArrays(
        np.array(columns, np.int32),
        np.array(thresholds),
        np.array(children, np.int32).reshape(-1, 2),
        np.array(values),
        np.array(roots, np.int32),
        sizes,
        COLUMNS,
        tuple(range(1, classes + 1)),
    )


def walked(forests: ForestArrays, row: np.ndarray) -> np.ndarray:
    """vigra's rule, pixel by pixel: float32 sums over each forest's trees, a double total, float32 means."""
    classes = forests.leaves.shape[1]
    if np.isnan(row).any():
        return np.zeros(classes, np.float32)
    mean, tree = np.zeros(classes, np.float32), 0
    for size in forests.sizes:
        sums, total = np.zeros(classes, np.float32), 0.0
        for root in forests.roots[tree : tree + size].tolist():
            at = root
            while at >= 0:
                below = float(row[forests.columns[at]]) < forests.thresholds[at]
                at = int(forests.children[at, 0 if below else 1])
            for c, value in enumerate(forests.leaves[-1 - at].tolist()):
                sums[c] += np.float32(value)
                total += value
        mean += sums / np.float32(total) * np.float32(size)
        tree += size
    return mean / np.float32(sum(forests.sizes))


def rows_for(forests: ForestArrays, count: int) -> np.ndarray:
    """Features near and exactly on thresholds, and numbers that are not ordinary."""
    rng = np.random.default_rng(5)
    rows = rng.normal(size=(COLUMNS, count)).astype(np.float32)
    some = rng.random(rows.shape) < 0.3
    near = rng.choice(forests.thresholds, size=rows.shape).astype(np.float32)
    rows[some] = near[some]
    rows[:, 3], rows[2, 5], rows[1, 7], rows[0, 9] = np.float32(0.25), np.nan, np.inf, -np.inf
    return rows


@pytest.mark.parametrize("leaves", [2, 17, 32, 33, 64, 113, 300])
@pytest.mark.parametrize("pure_leaves", [True, False], ids=["pure", "mixed"])
@pytest.mark.parametrize("count", [1, 31, 77])
def test_votes_are_those_of_walks(leaves: int, pure_leaves: bool, count: int) -> None:
    forests = random_forests(leaves, leaves, (3, 4), pure_leaves=pure_leaves)
    rows = rows_for(forests, max(count, 10))[:, :count]
    expected = np.stack([walked(forests, row) for row in rows.T])
    prepared = build_bit_forest(forests, 3)
    assert (prepared.votes.size > 0) == pure_leaves
    np.testing.assert_array_equal(predict_proba(prepared, np.ascontiguousarray(rows)), expected)
    walks = build_bit_forest(forests, 3, most_words=0)
    assert walks.roots.size == 7
    np.testing.assert_array_equal(predict_proba(walks, np.ascontiguousarray(rows)), expected)


def test_trees_of_one_leaf_count() -> None:
    forests = random_forests(1, 1, (2,))
    found = predict_proba(build_bit_forest(forests, 3), np.zeros((COLUMNS, 4), np.float32))
    np.testing.assert_array_equal(found, np.tile(forests.leaves.mean(0).astype(np.float32), (4, 1)))


def test_weighted_leaves_divide_by_the_total() -> None:
    base = random_forests(4, 9, (5,), pure_leaves=False)
    weighted = ForestArrays(**{**base.__dict__, "leaves": base.leaves * np.arange(1, len(base.leaves) + 1)[:, None]})
    rows = rows_for(weighted, 40)
    expected = np.stack([walked(weighted, row) for row in rows.T])
    np.testing.assert_array_equal(predict_proba(build_bit_forest(weighted, 3), rows), expected)


def test_a_class_without_samples_has_an_empty_channel() -> None:
    base = random_forests(3, 20, (4,), classes=2)
    forests = ForestArrays(**{**base.__dict__, "known_labels": (1, 4)})
    found = predict_proba(build_bit_forest(forests, 5), rows_for(forests, 20))
    assert found.shape == (20, 5)
    assert not found[:, [1, 2, 4]].any()


@pytest.mark.parametrize("level", ["portable", "avx2", "avx512"])
@pytest.mark.skipif(NATIVE is None, reason="built without a compiler")
@pytest.mark.parametrize("most_words", [0, 100], ids=["walks", "bits"])
@pytest.mark.parametrize("pure_leaves", [True, False], ids=["pure", "mixed"])
def test_every_instruction_set_and_numpy_agree(level: str, pure_leaves: bool, most_words: int) -> None:
    forests = random_forests(8, 90, (4, 3), pure_leaves=pure_leaves)
    rows = rows_for(forests, 101)
    tables = build_bit_forest(forests, 3, most_words=most_words).tables
    ours, theirs = np.empty((101, 3), np.float32), np.empty((101, 3), np.float32)
    usual = NATIVE.level()
    try:
        NATIVE.use(level)
    except ValueError:
        pytest.skip(f"this processor has no {level}")
    try:
        NATIVE.evaluate(rows, ours, *tables)
    finally:
        NATIVE.use(usual)
    kernels_numpy.evaluate(rows, theirs, *tables)
    np.testing.assert_array_equal(ours, theirs)


@pytest.mark.skipif(NATIVE is None, reason="built without a compiler")
@pytest.mark.parametrize("most_words", [0, 100], ids=["walks", "bits"])
def test_tables_that_do_not_fit_are_refused_before_anything_is_read(most_words: int) -> None:
    prepared = build_bit_forest(random_forests(1, 40, (3,)), 3, most_words=most_words)
    tables = dict(zip(list(prepared.__dataclass_fields__), prepared.tables, strict=False))
    rows, out = np.zeros((COLUMNS, 10), np.float32), np.empty((10, 3), np.float32)
    for broken in (
        {"column_ends": tables["column_ends"][:-1]},
        {"column_ends": tables["column_ends"] + 1000},
        {"word_ends": tables["word_ends"] + 1},
        {"forest_ends": tables["forest_ends"] + 1},
        {"channels": tables["channels"] + 1},
        {"votes": tables["votes"][:-1]},
        {"leaves": tables["leaves"][:-1]},
        {"roots": np.zeros(2, np.int32)},
        {"roots": np.full(3, 10**6, np.int32)},
        {"nodes": np.full(3, 7, np.int32).tobytes() + b"\x09" * 4},
        {"nodes": np.zeros(4, np.int32).tobytes()},
    ):
        with pytest.raises(ValueError, match="do not fit together"):
            NATIVE.evaluate(rows, out, *{**tables, **broken}.values())
    with pytest.raises(ValueError, match="do not fit together"):
        NATIVE.evaluate(rows, np.empty((9, 3), np.float32), *tables.values())


def test_thresholds_keep_their_side_in_single_precision() -> None:
    just_above = math.nextafter(float(np.float32(0.1)), 1.0)
    one = ForestArrays(
        np.array([0], np.int32),
        np.array([just_above]),
        np.array([[-1, -2]], np.int32),
        np.eye(2),
        np.array([0], np.int32),
        (1,),
        1,
        (1, 2),
    )
    rows = np.array([[np.float32(0.1), np.nextafter(np.float32(0.1), np.float32(1))]])
    assert predict_proba(build_bit_forest(one, 2), rows).tolist() == [[1.0, 0.0], [0.0, 1.0]]
