"""Kernels with ilastik's radii and roundings."""

from __future__ import annotations

import math

import numpy as np
import pytest

from omero_pixclf.pixels.gaussian import FILTER_WINDOW, SMOOTHING_WINDOW, gaussian_kernel, kernel_radius


@pytest.mark.parametrize(
    ("order", "weights"),
    [
        (0, [0.40261996, 0.24420133, 0.05448868]),
        (1, [0.0, 0.26419792, 0.11790105]),
        (2, [-0.5311237, 0.02074913, 0.24481271]),
    ],
)
def test_weights_at_sigma_one_are_ilastiks(order: int, weights: list[float]) -> None:
    np.testing.assert_allclose(gaussian_kernel(1.0, order, FILTER_WINDOW), weights, rtol=0, atol=6e-9)


def test_radii_of_the_standard_scales_are_ilastiks() -> None:
    sigmas = [0.3, 0.7, 1.0, *(math.sqrt(s * s - 1) for s in (1.6, 3.5, 5.0, 10.0))]
    assert [kernel_radius(sigma, SMOOTHING_WINDOW) for sigma in sigmas] == [1, 2, 4, 4, 12, 17, 35]


@pytest.mark.parametrize("order", [0, 1, 2])
def test_a_kernel_without_reach_leaves_the_image_alone(order: int) -> None:
    assert gaussian_kernel(0.15, order, FILTER_WINDOW).tolist() == [1.0]


@pytest.mark.parametrize("sigma", [0.7, 1.0, 2.5, 9.9])
def test_kernels_are_exact_on_constants_ramps_and_parabolas(sigma: float) -> None:
    smooth, first, second = (gaussian_kernel(sigma, order, SMOOTHING_WINDOW).astype(float) for order in (0, 1, 2))
    k = np.arange(smooth.size)
    assert smooth[0] + 2 * smooth[1:].sum() == pytest.approx(1, abs=1e-6)
    assert (first * 2 * k).sum() == pytest.approx(1, abs=1e-6)
    assert second[0] + 2 * second[1:].sum() == pytest.approx(0, abs=1e-5)
    assert (second * k * k).sum() == pytest.approx(1, abs=1e-5)
