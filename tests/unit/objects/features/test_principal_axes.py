"""Principal axes of coordinates and channels, beside numpy's and scikit-image's."""

from __future__ import annotations

import numpy as np
from numpy.testing import assert_allclose
from skimage.measure import regionprops_table

from omero_pixclf.objects.features.object_pixels import gather_pixels
from omero_pixclf.objects.features.principal_axes import compute_channel_features, compute_coordinate_features
from tests.unit.objects.features.scenes import blobs, noise, spans

FLAT, DEEP = blobs((1, 50, 60)), blobs((9, 20, 22))


def test_radii_are_the_roots_of_the_inertia_of_scikit_image() -> None:
    found = compute_coordinate_features(gather_pixels(spans(FLAT), noise(FLAT.shape), dims=2, origin=(0, 0, 0)))
    theirs = regionprops_table(FLAT[0], properties=("inertia_tensor_eigvals", "centroid"))
    values = np.stack([theirs["inertia_tensor_eigvals-0"], theirs["inertia_tensor_eigvals-1"]], axis=1)
    assert_allclose(np.nan_to_num(found["RegionRadii"]), np.sqrt(values), atol=1e-6)
    assert_allclose(found["RegionCenter"], np.stack([theirs["centroid-1"], theirs["centroid-0"]], axis=1))


def test_axes_are_eigenvectors_of_the_scatter_matrix_in_3d() -> None:
    found = compute_coordinate_features(gather_pixels(spans(DEEP), noise(DEEP.shape), dims=3, origin=(0, 0, 0)))
    for row, label in enumerate(np.unique(DEEP)[1:]):
        own = np.argwhere(label == DEEP)[:, ::-1].astype(np.float64)
        away = own - own.mean(axis=0)
        axes = found["RegionAxes"][row].reshape(3, 3)
        sums = found["Coord<Principal<PowerSum<2>>>"][row]
        assert_allclose(axes.T @ axes, np.eye(3), atol=1e-9)
        assert_allclose(away.T @ away @ axes, axes * sums, atol=1e-6)
        assert (np.diff(sums) <= 0).all()
        assert_allclose(found["Coord<Principal<PowerSum<3>>>"][row], ((away @ axes) ** 3).sum(axis=0), atol=1e-6)


def test_weights_are_as_if_pixels_counted_more_than_once() -> None:
    labels = np.array([[[1, 1, 1, 0], [0, 1, 1, 1]]])
    image = np.array([[[[1], [2], [3], [9]], [[9], [1], [1], [2]]]], np.uint8)
    pixels = gather_pixels(spans(labels), image, dims=2, origin=(0, 0, 0))
    found = compute_coordinate_features(pixels, pixels.values[0])
    own = np.repeat(pixels.coordinates.T, pixels.values[0].astype(int), axis=0)
    assert_allclose(found["PowerSum<0>"], [[10.0]])
    assert_allclose(found["RegionCenter"][0], own.mean(axis=0))
    spread = np.linalg.eigvalsh(np.cov(own.T, bias=True))[::-1]
    assert_allclose(found["RegionRadii"][0], np.sqrt(spread))


def test_one_pixel_has_no_radii_and_the_axes_of_the_image() -> None:
    found = compute_coordinate_features(
        gather_pixels(spans(np.array([[[0, 4]]])), np.ones((1, 1, 2, 1)), dims=2, origin=(0, 7, 5))
    )
    assert found["RegionCenter"].tolist() == [[6.0, 7.0]]
    assert found["RegionRadii"].tolist() == [[0.0, 0.0]]
    assert np.abs(found["RegionAxes"]).reshape(2, 2).sum(axis=0).tolist() == [1.0, 1.0]
    assert np.isnan(found["Coord<Principal<Skewness>>"]).all()


def test_channels_have_axes_too() -> None:
    image = noise(FLAT.shape, channels=3)
    found = compute_channel_features(gather_pixels(spans(FLAT), image, dims=2, origin=(0, 0, 0)))
    for row, label in enumerate(np.unique(FLAT)[1:]):
        own = image[label == FLAT].astype(np.float64)
        away = own - own.mean(axis=0)
        axes = found["PrincipalAxes"][row].reshape(3, 3)
        assert_allclose(found["Principal<Maximum>"][row], (away @ axes).max(axis=0), atol=1e-6)
        assert_allclose(found["Principal<Variance>"][row], ((away @ axes) ** 2).mean(axis=0), atol=1e-3)
