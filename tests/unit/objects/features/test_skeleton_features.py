"""Skeletons of simple forms, whose numbers can be told without a computer."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray

from omero_pixclf.objects.features.skeleton_features import compute_skeleton_features
from tests.unit.objects.features.scenes import blobs, spans


def skeleton(labels: NDArray[np.int32], origin: tuple[int, int] = (0, 0)) -> dict[str, list[list[float]]]:
    image = (labels.shape[0] + origin[0] + 3, labels.shape[1] + origin[1] + 3)
    found = compute_skeleton_features(spans(labels[None]), labels, origin=origin, image=image)
    return {name: values.tolist() for name, values in found.items()}


def test_a_line_is_its_own_skeleton() -> None:
    labels = np.zeros((5, 12), np.int32)
    labels[2, 1:11] = 1
    found = skeleton(labels)
    assert found["Diameter"] == found["Euclidean Diameter"] == [[9.0]]
    assert found["Terminal 1"] == [[10.0, 2.0]] or found["Terminal 1"] == [[1.0, 2.0]]
    assert found["Hole Count"] == [[0.0]]
    assert found["Skeleton Center"][0][1] == 2.0


def test_a_diagonal_is_longer_than_its_number_of_steps() -> None:
    found = skeleton(np.pad(np.eye(6, dtype=np.int32), 1))
    assert found["Diameter"][0][0] == pytest.approx(5 * math.sqrt(2))


def test_a_ring_has_a_hole() -> None:
    y, x = np.mgrid[-9:10, -9:10]
    radius = np.hypot(y, x)
    found = skeleton(((radius < 9) & (radius > 3)).astype(np.int32))
    assert found["Hole Count"] == [[1.0]]
    assert found["Total Length"][0][0] > 2 * math.pi * 3


def test_one_pixel_has_a_skeleton_of_no_length() -> None:
    labels = np.zeros((3, 3), np.int32)
    labels[1, 1] = 5
    found = skeleton(labels, origin=(10, 20))
    assert found["Diameter"] == [[0.0]]
    assert found["Skeleton Center"] == [[21.0, 11.0]]


def test_objects_do_not_depend_on_their_neighbours_numbers() -> None:
    labels = blobs((1, 50, 60), share=0.6)[0]
    other = np.where(labels > 0, labels.max() + 1 - labels, 0).astype(np.int32)
    ours = compute_skeleton_features(spans(labels[None]), labels, origin=(0, 0), image=labels.shape)
    theirs = compute_skeleton_features(spans(other[None]), other, origin=(0, 0), image=labels.shape)
    for name, values in ours.items():
        assert np.array_equal(values, theirs[name][::-1]), name
