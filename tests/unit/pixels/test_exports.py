"""Segmentation and uncertainty out of probabilities."""

from __future__ import annotations

import numpy as np

from omero_pixclf.pixels.exports import simple_segmentation, uncertainty

PROBABILITIES = np.array([[0.2, 0.5, 0.3], [0.4, 0.4, 0.2], [0.1, 0.45, 0.45], [0, 0, 0]], np.float32)


def test_the_lowest_of_equal_classes_wins_and_nothing_counts_as_the_first() -> None:
    found = simple_segmentation(PROBABILITIES)
    assert found.dtype == np.uint8
    assert found.tolist() == [[2], [1], [2], [1]]


def test_uncertainty_is_one_minus_the_lead() -> None:
    np.testing.assert_allclose(uncertainty(PROBABILITIES)[:, 0], [0.8, 1.0, 1.0, 1.0], rtol=1e-6)


def test_a_single_class_is_certain() -> None:
    assert uncertainty(np.array([[1.0], [0.0]], np.float32)).tolist() == [[0.0], [0.0]]
    assert simple_segmentation(np.array([[1.0], [0.0]], np.float32)).tolist() == [[1], [1]]


def test_inputs_stay_as_they_are() -> None:
    before = PROBABILITIES.copy()
    simple_segmentation(PROBABILITIES)
    uncertainty(PROBABILITIES)
    assert np.array_equal(before, PROBABILITIES)
