"""An image in a few numbers."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from omero_pixclf.objects.summary import focus_score, summarize_image


def score(channel: np.ndarray) -> float:
    return focus_score(channel[..., None], 0)


def test_counts_and_fractions_are_per_class_and_over_all_times() -> None:
    nuclei = np.zeros((2, 1, 4, 5), np.int32)
    nuclei[0, 0, 0, :2], nuclei[0, 0, 2, 2:4], nuclei[1, 0, 3, 0] = 1, 2, 1
    found = summarize_image(np.ones((2, 1, 4, 5, 2)), None, {"Nucleus": nuclei, "Debris": np.zeros_like(nuclei)})
    assert found.objects == {"Nucleus": 3, "Debris": 0}
    assert found.area_fraction == {"Nucleus": 5 / 40, "Debris": 0.0}
    assert math.isnan(found.uncertainty)
    assert len(found.focus) == 2


def test_uncertainty_is_the_mean_distance_between_the_first_two() -> None:
    probabilities = np.array([[0.5, 0.25, 0.25], [1.0, 0.0, 0.0]], np.float32).reshape(1, 1, 1, 2, 3)
    assert summarize_image(np.ones((1, 1, 1, 2, 1)), probabilities, {}).uncertainty == pytest.approx((0.75 + 0.0) / 2)


def test_a_blurred_image_scores_lower_and_a_brighter_one_the_same() -> None:
    sharp = np.random.default_rng(0).random((1, 1, 40, 40)) + 1
    assert score(gaussian_filter(sharp, (0, 0, 2, 2))) < score(sharp) / 10
    assert score(3 * sharp) == pytest.approx(score(sharp))


def test_an_image_whose_mean_is_zero_has_no_score_and_a_black_one_has_zero() -> None:
    balanced = np.tile(np.array([[1.0, -1.0], [-1.0, 1.0]]), (1, 1, 8, 8))
    assert math.isnan(score(balanced))
    assert score(np.zeros((1, 1, 8, 8))) == 0.0


def test_a_stack_scores_as_its_sharpest_plane() -> None:
    sharp = np.random.default_rng(0).random((1, 1, 40, 40)) + 1
    stack = np.concatenate((gaussian_filter(sharp, (0, 0, 2, 2)), sharp), axis=1)
    assert score(stack) == pytest.approx(score(sharp))
    assert math.isnan(score(sharp[:, :, :2]))
