"""Features of whole label images: numbers beside scikit-image's, batches, parts, refusals."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose
from skimage.measure import regionprops_table

from omero_pixclf.ilastik.object_features import STANDARD, ObjectFeature, available_features
from omero_pixclf.objects.features.blockwise_features import compute_features_blockwise
from omero_pixclf.objects.features.compute import FeatureTable, compute_features, find_value_range
from tests.unit.objects.features.scenes import blobs, noise

MARGIN = (4, 3, 2)


def standard(*names: str) -> list[ObjectFeature]:
    return [ObjectFeature(STANDARD, name) for name in names]


def assert_same(ours: FeatureTable, theirs: FeatureTable) -> None:
    assert ours.label.tolist() == theirs.label.tolist()
    assert list(ours.values) == list(theirs.values)
    for feature, values in ours.values.items():
        assert np.array_equal(values, theirs.values[feature], equal_nan=True), feature


@pytest.mark.parametrize("shape", [(1, 60, 70), (8, 24, 26)])
def test_what_scikit_image_measures_too_is_the_same(shape: tuple[int, int, int]) -> None:
    labels, image = blobs(shape), noise(shape)
    names = ("Count", "RegionCenter", "Coord<Minimum>", "Coord<Maximum>", "Mean", "Minimum", "Maximum")
    found = compute_features(labels, image, standard(*names))
    flat, dims = (labels[0], 2) if shape[0] == 1 else (labels, 3)
    pixels = image[..., 0].reshape(flat.shape)
    properties = ("label", "area", "bbox", "centroid", "intensity_mean", "intensity_min", "intensity_max")
    theirs = regionprops_table(flat, pixels, properties=properties)
    columns = dict(zip(names, found.values.values(), strict=True))
    assert found.label.tolist() == theirs["label"].tolist()
    assert_allclose(columns["Count"][:, 0], theirs["area"])
    for i in range(dims):
        assert_allclose(columns["RegionCenter"][:, i], theirs[f"centroid-{dims - 1 - i}"])
        assert_allclose(columns["Coord<Minimum>"][:, i], theirs[f"bbox-{dims - 1 - i}"])
        assert_allclose(columns["Coord<Maximum>"][:, i], theirs[f"bbox-{2 * dims - 1 - i}"])
    for ours, their in (("Mean", "mean"), ("Minimum", "min"), ("Maximum", "max")):
        assert_allclose(columns[ours][:, 0], theirs[f"intensity_{their}"])


@pytest.mark.parametrize(
    ("shape", "channels"), [((1, 40, 44), 1), ((1, 40, 44), 3), ((7, 18, 20), 1), ((7, 18, 20), 2)]
)
def test_numbers_do_not_depend_on_how_many_pixels_are_held(shape: tuple[int, int, int], channels: int) -> None:
    labels, image = blobs(shape), noise(shape, channels=channels)
    features = available_features(3 if shape[0] > 1 else 2, channels, MARGIN)
    whole = compute_features(labels, image, features)
    assert_same(compute_features(labels, image, features, max_pixels=50), whole)


@pytest.mark.parametrize("block", [(1, 16, 16), (4, 7, 50), (100, 100, 100)])
@pytest.mark.parametrize(("shape", "channels"), [((1, 40, 44), 1), ((7, 18, 20), 2)])
def test_blocks_give_the_same_numbers(shape: tuple[int, int, int], channels: int, block: tuple[int, int, int]) -> None:
    labels, image = blobs(shape, share=0.3), noise(shape, channels=channels)
    features = available_features(3 if shape[0] > 1 else 2, channels, MARGIN)
    assert_same(
        compute_features_blockwise(labels[None], image[None], features, block=block),
        compute_features(labels, image, features),
    )


@pytest.mark.parametrize("gap", [1000, 2**33])
def test_labels_may_have_gaps(gap: int) -> None:
    labels, image = blobs((1, 30, 30)).astype(np.int64), noise((1, 30, 30))
    features = available_features(2, 1, MARGIN)
    wide = compute_features(labels * gap, image, features)
    dense = compute_features(labels, image, features)
    assert wide.label.tolist() == (dense.label * gap).tolist()
    for feature, values in wide.values.items():
        assert np.array_equal(values, dense.values[feature], equal_nan=True)


@pytest.mark.parametrize("shape", [(1, 5, 6), (3, 5, 6)])
def test_an_image_without_objects_has_a_table_without_rows(shape: tuple[int, int, int]) -> None:
    labels, image = np.zeros(shape, np.int32), noise(shape)
    features = available_features(3 if shape[0] > 1 else 2, 1, MARGIN)
    found = compute_features(labels, image, features)
    assert len(found) == 0
    assert_same(compute_features_blockwise(labels[None], image[None], features, block=(2, 2, 2)), found)


def test_the_range_of_intensities_is_that_of_all_objects() -> None:
    labels = np.array([[[0, 1, 1, 0, 2]]])
    image = np.array([[[[99], [3], [5], [0], [7]]]], np.uint8)
    assert find_value_range(labels, image) == (3.0, 7.0)
    found = compute_features(labels, image, standard("Global<Minimum>", "Global<Maximum>"))
    assert [values.ravel().tolist() for values in found.values.values()] == [[3.0, 3.0], [7.0, 7.0]]
    given = compute_features(labels, image, standard("Global<Maximum>"), value_range=(0.0, 50.0))
    assert next(iter(given.values.values())).ravel().tolist() == [50.0, 50.0]


def test_the_place_of_the_extremes_is_that_of_the_first_pixel() -> None:
    labels = np.array([[[1, 1, 1], [1, 1, 1]]])
    image = np.array([[[[5], [2], [9]], [[2], [9], [5]]]], np.uint8)
    found = compute_features(labels, image, standard("Coord<ArgMinWeight>", "Coord<ArgMaxWeight>"))
    assert [values.tolist() for values in found.values.values()] == [[[1.0, 0.0]], [[2.0, 0.0]]]


def test_pixels_that_are_not_numbers_do_not_stop_anything() -> None:
    labels, image = blobs((1, 30, 30)), noise((1, 30, 30)).astype(np.float32)
    image[0, ::7, ::5] = np.nan
    image[0, 3, 3] = np.inf
    found = compute_features(labels, image, available_features(2, 1, MARGIN))
    assert len(found) == labels.max()


@pytest.mark.parametrize(
    ("name", "channels", "said"),
    [
        ("Histogram", 2, r"Histogram does not exist for 2D images with 2"),
        ("Covariance", 1, "Covariance"),
        ("Beauty", 1, "Beauty does not exist"),
    ],
)
def test_features_that_do_not_exist_are_refused(name: str, channels: int, said: str) -> None:
    labels = np.ones((1, 3, 3), np.int32)
    with pytest.raises(ValueError, match=said):
        compute_features(labels, noise((1, 3, 3), channels=channels), standard(name))


def test_shapes_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match=r"labels \(1, 3, 3\) and image \(1, 3, 4, 1\)"):
        compute_features(np.ones((1, 3, 3), np.int32), noise((1, 3, 4)), standard("Count"))


def test_neighborhoods_need_a_margin() -> None:
    with pytest.raises(ValueError, match="need a margin"):
        compute_features(np.ones((1, 3, 3), np.int32), noise((1, 3, 3)), standard("Mean in neighborhood"))
