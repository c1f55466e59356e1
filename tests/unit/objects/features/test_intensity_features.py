"""Statistics of intensities over objects, beside numpy's and scipy's."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy import stats

from omero_pixclf.objects.features.intensity_features import (
    compute_histograms,
    compute_intensity_features,
    compute_quantiles,
)
from omero_pixclf.objects.features.object_pixels import ObjectPixels, gather_pixels
from tests.unit.objects.features.scenes import blobs, noise, spans

NAMES = ("Sum", "Mean", "Minimum", "Maximum", "Variance", "Skewness", "Kurtosis", "Covariance")
LABELS = blobs((1, 60, 70))
IMAGE = noise(LABELS.shape, channels=2)


def pixels_of(*objects: list[float]) -> ObjectPixels:
    count = np.array([len(values) for values in objects])
    values = np.concatenate([np.array(values, np.float64) for values in objects])[None]
    return ObjectPixels(np.cumsum(count) - count, count.astype(np.float64), values[:0], values)


def test_moments_are_those_of_scipy() -> None:
    pixels = gather_pixels(spans(LABELS), IMAGE, dims=2, origin=(0, 0, 0))
    found = compute_intensity_features(pixels, NAMES)
    assert set(found) == set(NAMES)
    for row, label in enumerate(np.unique(LABELS)[1:]):
        own = IMAGE[label == LABELS].astype(np.float64)
        assert_allclose(found["Sum"][row], own.sum(axis=0))
        assert_allclose(found["Mean"][row], own.mean(axis=0))
        assert_allclose(found["Minimum"][row], own.min(axis=0))
        assert_allclose(found["Maximum"][row], own.max(axis=0))
        assert_allclose(found["Variance"][row], own.var(axis=0), atol=1e-9)
        if len(own) > 2:
            assert_allclose(found["Skewness"][row], stats.skew(own), atol=1e-9)
            assert_allclose(found["Kurtosis"][row], stats.kurtosis(own), atol=1e-9)
            assert_allclose(found["Covariance"][row].reshape(2, 2), np.cov(own.T, bias=True), atol=1e-9)


def test_only_what_is_asked_for_is_given() -> None:
    pixels = gather_pixels(spans(LABELS), IMAGE, dims=2, origin=(0, 0, 0))
    assert set(compute_intensity_features(pixels, {"Kurtosis", "Central<PowerSum<2>>"})) == {
        "Kurtosis",
        "Central<PowerSum<2>>",
    }


def test_an_object_of_one_value_has_no_skewness() -> None:
    found = compute_intensity_features(pixels_of([float(np.float32(0.1))] * 3), ("Variance", "Skewness", "Kurtosis"))
    assert found["Variance"].tolist() == [[0.0]]
    assert np.isnan(found["Skewness"]).all() and np.isnan(found["Kurtosis"]).all()


def test_intensities_are_rounded_to_float32_first() -> None:
    image = np.array([[[[16_777_217.0], [1.0]]]])
    pixels = gather_pixels(spans(np.array([[[1, 1]]])), image, dims=2, origin=(0, 0, 0))
    assert pixels.values.tolist() == [[16_777_216.0, 1.0]]


def test_the_largest_value_is_in_the_last_bin() -> None:
    found = compute_histograms(pixels_of([0.0, 1.0, 63.9, 64.0], [32.0]), np.zeros(2), np.full(2, 64.0))
    assert found[0].nonzero()[0].tolist() == [1, 2, 64]
    assert found[0, 64] == 2
    assert found[1].nonzero()[0].tolist() == [33]


def test_a_range_of_one_value_is_one_bin() -> None:
    found = compute_histograms(pixels_of([5.0, 5.0]), np.array([5.0]), np.array([5.0]))
    assert found[0, 1] == found.sum() == 2
    quantiles = compute_quantiles(found, *(np.array([5.0]) for _ in range(4)))
    assert_allclose(quantiles, np.full((1, 7), 5.0))


def test_pixels_that_are_not_numbers_are_in_no_bin() -> None:
    found = compute_histograms(pixels_of([np.nan, 1.0, np.inf]), np.array([0.0]), np.array([2.0]))
    assert found[0].nonzero()[0].tolist() == [0, 33]


def test_quantiles_are_linear_within_a_bin() -> None:
    values = np.arange(0.0, 640.0)
    pixels = pixels_of(values.tolist())
    low, high = np.array([0.0]), np.array([640.0])
    found = compute_quantiles(compute_histograms(pixels, low, high), low, high, low, np.array([639.0]))
    assert_allclose(found[0], np.array([0.0, 64.0, 160.0, 320.0, 480.0, 576.0, 639.0]))


@pytest.mark.parametrize("seed", range(5))
def test_quantiles_rise_from_the_smallest_to_the_largest_value(seed: int) -> None:
    labels = blobs((1, 40, 40), seed=seed)
    pixels = gather_pixels(spans(labels), noise(labels.shape, seed=seed), dims=2, origin=(0, 0, 0))
    n = len(pixels.starts)
    low, high = np.full(n, pixels.values.min()), np.full(n, pixels.values.max())
    least, most = pixels.minimum(pixels.values)[:, 0], pixels.maximum(pixels.values)[:, 0]
    found = compute_quantiles(compute_histograms(pixels, low, high), low, high, least, most)
    assert_allclose(found[:, [0, -1]], np.stack([least, most], axis=1))
    assert (np.diff(found, axis=1) >= -1e-9).all()
