"""The compiled kernels and those in Python give the same numbers, bit for bit."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage

from omero_pixclf.objects import kernels_python
from omero_pixclf.objects.kernels import NATIVE
from tests.unit.objects.features.scenes import blobs

needs_compiler = pytest.mark.skipif(NATIVE is None, reason="the package was installed without compiled kernels")


@needs_compiler
@pytest.mark.parametrize("dimensions", [1, 2, 3, 5])
@pytest.mark.parametrize("weighted", [False, True])
def test_scatter_and_eigenvectors(dimensions: int, weighted: bool) -> None:
    rng = np.random.default_rng(dimensions)
    rows = rng.integers(0, 50, (200, dimensions)).astype(np.float64)
    weights = rng.random(200) - 0.05 if weighted else np.empty(0)
    starts = np.array([0, 1, 3, 3, 40, 41, 120, 200])
    results = []
    for kernels in (NATIVE, kernels_python):
        vectors, values = np.full((7, dimensions, dimensions), 9.0), np.zeros((7, dimensions))
        kernels.scatter(rows, weights, starts, vectors, dimensions)
        matrices = vectors.copy()
        kernels.eigensystems(vectors, values, dimensions)
        results.append((matrices, vectors, values))
    for ours, theirs in zip(*results, strict=True):
        assert np.array_equal(ours, theirs)


@needs_compiler
def test_matrices_that_are_not_finite_come_to_an_end() -> None:
    vectors, values = np.full((1, 3, 3), np.nan), np.zeros((1, 3))
    NATIVE.eigensystems(vectors, values, 3)
    assert np.isnan(values).any()


@needs_compiler
@pytest.mark.parametrize("seed", range(8))
def test_skeletons(seed: int) -> None:
    labels = blobs((1, 30 + seed, 50 - 2 * seed), seed=seed, share=0.3 + 0.08 * seed)[0]
    if seed == 7:  # blocks that touch
        labels = np.random.default_rng(seed).integers(0, 4, (9, 9)).repeat(5, 0).repeat(5, 1).astype(np.int32)
    ours, theirs = (skeletons_by(kernels, labels) for kernels in (NATIVE, kernels_python))
    assert np.array_equal(ours, theirs)
    assert ours.any()


def skeletons_by(kernels: object, labels: NDArray[np.int32]) -> NDArray[np.float64]:
    labels = np.pad(labels, ((1, 1), (0, 1)))  # the image goes on everywhere but at the left
    found = [(i + 1, box) for i, box in enumerate(ndimage.find_objects(labels)) if box]
    boxes = np.array([[y.start, x.start, y.stop, x.stop] for _, (y, x) in found])
    out = np.zeros((len(found), 12))
    numbers = np.array([number for number, _ in found], np.int32)
    image = (labels.shape[0] + 9, labels.shape[1] + 7)
    kernels.skeletons(labels, labels.shape[1], numbers, boxes, out, (4, 0), image)
    return out


@needs_compiler
@pytest.mark.parametrize("shape", [(1, 20, 23), (6, 9, 11)])
@pytest.mark.parametrize("levels", [4, 10**6])
def test_floods(shape: tuple[int, int, int], levels: int) -> None:
    """Few levels: many pixels of equal cost, whose order the queue decides."""
    rng = np.random.default_rng(levels)
    cost = (rng.integers(0, levels, shape) / levels).astype(np.float32)
    seeds = np.where(rng.random(shape) < 0.03, rng.integers(1, 9, shape), 0).astype(np.int32)
    ours, theirs = seeds.copy(), seeds.copy()
    NATIVE.flood(cost, ours, shape, 0.7)
    kernels_python.flood(cost, theirs, shape, 0.7)
    assert np.array_equal(ours, theirs)
    assert (ours > 0).sum() > (seeds > 0).sum()


@needs_compiler
def test_arrays_that_do_not_fit_are_refused() -> None:
    labels = np.ones((4, 5), np.int32)
    number, out = np.array([1], np.int32), np.zeros((1, 12))
    for box in ([0, 0, 5, 5], [-1, 0, 4, 5], [2, 0, 2, 5]):
        with pytest.raises(ValueError, match="skeletons"):
            NATIVE.skeletons(labels, 5, number, np.array([box]), out, (0, 0), (4, 5))
    with pytest.raises(ValueError, match="scatter"):
        NATIVE.scatter(np.zeros((3, 2)), np.empty(0), np.array([0, 4]), np.zeros((1, 2, 2)), 2)
    with pytest.raises(ValueError, match="eigensystems"):
        NATIVE.eigensystems(np.zeros((2, 2)), np.zeros(3), 2)
    with pytest.raises(ValueError, match="shape"):
        NATIVE.flood(np.zeros((1, 2, 2), np.float32), np.zeros((1, 2, 3), np.int32), (1, 2, 2), 1.0)
