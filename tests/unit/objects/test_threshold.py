"""Foreground is where ilastik says it is."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from omero_pixclf.ilastik.object_project import ThresholdSettings
from omero_pixclf.objects.threshold import above_threshold, is_most_probable, smooth
from omero_pixclf.objects.two_level_threshold import hysteresis_threshold, two_level_threshold


def plane(*rows: list[float]) -> np.ndarray:
    return np.array([[rows]], np.float32)


def test_a_level_is_part_of_the_foreground_in_float32() -> None:
    level = 0.7  # float32(0.7) is below the float64 0.7
    assert above_threshold(plane([0.7, 0.69999, 0.71]), level).tolist() == [[[[True, False, True]]]]


def test_the_first_of_equal_classes_wins_as_in_simple_segmentation() -> None:
    probabilities = np.random.default_rng(0).integers(0, 3, (1, 2, 20, 20, 4)).astype(np.float32)
    segmentation = probabilities.argmax(axis=-1) + 1
    for index in range(4):
        assert np.array_equal(is_most_probable(probabilities, index), segmentation == index + 1)


def test_smoothing_is_a_gaussian_cut_at_two_sigma_and_leaves_single_planes_alone() -> None:
    noise = np.random.default_rng(0).random((2, 1, 30, 40)).astype(np.float32)
    expected = gaussian_filter(noise.astype(float), (0, 0, 1.5, 0.7), mode="mirror", truncate=2)
    assert np.allclose(smooth(noise, (3.0, 1.5, 0.7)), expected, atol=1e-6)
    assert np.array_equal(smooth(noise, (3.0, 0.05, 0.0)), noise)


def test_time_points_are_smoothed_apart() -> None:
    noise = np.random.default_rng(0).random((3, 4, 9, 9)).astype(np.float32)
    assert np.array_equal(smooth(noise, (1, 1, 1))[1:2], smooth(noise[1:2], (1, 1, 1)))


def test_hysteresis_keeps_objects_with_a_core() -> None:
    wide = plane([1, 1, 0, 1, 0, 1]) > 0
    core = plane([0, 1, 0, 0, 0, 1]) > 0
    assert hysteresis_threshold(wide, core, connectivity=4).tolist() == [[[[1, 1, 0, 0, 0, 2]]]]


def test_a_core_of_another_class_adds_to_the_objects_own_probability() -> None:
    own, other = [0.3, 0.3, 0.0, 0.6], [0.1, 0.4, 0.0, 0.0]
    probabilities = np.stack((plane(own), plane(other)), axis=-1)
    settings = ThresholdSettings("hysteresis", 0, 1, low=0.4, high=0.4, sigma=(0, 0, 0), min_size=1)
    assert two_level_threshold(probabilities, settings).tolist() == [[[[1, 1, 0, 0]]]]


@pytest.mark.parametrize(("sigma", "smooths"), [((0.0, 1.0, 1.0), True), ((1.0, 0.05, 1.0), False)])
def test_one_missing_sigma_switches_ilastiks_smoothing_off_unless_its_axis_is_single(sigma, smooths) -> None:
    probabilities = np.zeros((1, 1, 9, 9, 1), np.float32)
    probabilities[0, 0, 4, 4] = 1
    found = two_level_threshold(probabilities, ThresholdSettings(low=0.05, sigma=sigma, min_size=1))
    assert (np.count_nonzero(found) > 1) == smooths
