"""An object classifier applied: inputs, columns, classes, pictures."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest

from omero_pixclf.errors import ProjectError
from omero_pixclf.ilastik.object_features import STANDARD, ObjectFeature
from omero_pixclf.ilastik.object_project import ThresholdSettings, read_object_project
from omero_pixclf.objects.features.compute import FeatureTable
from omero_pixclf.objects.object_classifier import (
    classify_objects,
    feature_matrix,
    find_objects,
    label_equal_values,
    number_consecutively,
    paint_objects,
)
from tests.unit.objects.features.scenes import blobs, noise

CASE = Path(__file__).parents[2] / "golden" / "cases" / "o10_oc_2d_ipht"
PROJECT = read_object_project(gzip.decompress((CASE / "project.ilp.gz").read_bytes()), name="cells.ilp")


def test_every_object_gets_the_class_of_its_highest_probability() -> None:
    labels = blobs((1, 60, 60))
    found = classify_objects(PROJECT, labels, noise(labels.shape))
    assert found.label.tolist() == list(range(1, labels.max() + 1))
    assert found.probabilities.shape == (labels.max(), 2)
    assert np.allclose(found.probabilities.sum(axis=1), 1)
    assert (found.predicted == found.probabilities.argmax(axis=1) + 1).all()
    assert list(found.features.values) == list(PROJECT.features)


def test_an_image_without_objects_has_no_classes() -> None:
    found = classify_objects(PROJECT, np.zeros((1, 9, 9), np.int32), noise((1, 9, 9)))
    assert found.probabilities.shape == (0, 2) and not len(found.predicted)


def test_an_image_of_other_channels_is_refused() -> None:
    with pytest.raises(ProjectError, match="2 channel"):
        classify_objects(PROJECT, np.ones((1, 9, 9), np.int32), noise((1, 9, 9), channels=2))


def test_what_float32_cannot_hold_is_zero_to_the_forest() -> None:
    feature = ObjectFeature(STANDARD, "Central<PowerSum<4>>")
    table = FeatureTable(np.arange(4), {feature: np.array([[1.5], [1e39], [np.nan], [-np.inf]])})
    assert feature_matrix(table, [feature]).tolist() == [[1.5], [0.0], [0.0], [0.0]]


def test_touching_parts_of_different_values_are_different_objects() -> None:
    image = np.array([[[[1, 2, 2], [1, 0, 1]]], [[[0, 0, 0], [0, 5, 5]]]])
    assert label_equal_values(image).tolist() == [[[[1, 2, 2], [1, 0, 3]]], [[[0, 0, 0], [0, 1, 1]]]]


def test_label_images_keep_their_order_and_lose_their_gaps() -> None:
    labels, originals = number_consecutively(np.array([[[[0, 900, 5]]], [[[0, 0, 0]]]], np.uint16))
    assert labels.tolist() == [[[[0, 2, 1]]], [[[0, 0, 0]]]]
    assert [numbers.tolist() for numbers in originals] == [[5, 900], []]


def test_a_channel_that_the_probabilities_do_not_have_is_refused() -> None:
    with pytest.raises(ValueError, match=r"channel 2 .* have 2"):
        find_objects(np.zeros((1, 1, 4, 4, 2), np.float32), ThresholdSettings(channel=2))


def test_objects_are_painted_with_their_values() -> None:
    labels = np.array([[[0, 1, 3], [2, 2, 0]]])
    painted = paint_objects(labels, np.array([1, 2, 3]), np.array([[0.1, 0.9], [0.2, 0.8], [0.3, 0.7]], np.float32))
    assert painted.shape == (1, 2, 3, 2)
    assert painted[0, 0].tolist() == [[0.0, 0.0], pytest.approx([0.1, 0.9]), pytest.approx([0.3, 0.7])]
