"""Cores grow down to the lower threshold without merging."""

from __future__ import annotations

import numpy as np
import pytest

from omero_pixclf.ilastik.object_project import ThresholdSettings
from omero_pixclf.objects.ipht import grow_cores
from omero_pixclf.objects.two_level_threshold import two_level_threshold


def row(*values: float) -> np.ndarray:
    return np.array(values, np.float32)[None, None, None]


def test_two_cores_meet_in_the_valley_between_them() -> None:
    probability = row(0.9, 0.8, 0.7, 0.6, 0.75, 0.9)
    found = grow_cores(probability, np.array([[[[1, 0, 0, 0, 0, 2]]]]), 0.5)
    assert found.ravel()[:3].tolist() == [1, 1, 1]
    assert found.ravel()[4:].tolist() == [2, 2]


def test_every_object_has_a_rim_below_the_threshold() -> None:
    found = grow_cores(row(0.1, 0.2, 0.9, 0.2, 0.1), np.array([[[[0, 0, 1, 0, 0]]]]), 0.5)
    assert found.ravel().tolist() == [0, 1, 1, 1, 0]


def test_the_cores_given_are_left_alone() -> None:
    cores = np.array([[[[1, 0, 0]]]], np.int32)
    grow_cores(row(0.9, 0.9, 0.9), cores, 0.5)
    assert cores.ravel().tolist() == [1, 0, 0]


@pytest.mark.parametrize("shape", [(2, 1, 6, 7), (1, 4, 5, 6)])
def test_without_cores_there_are_no_objects(shape: tuple[int, ...]) -> None:
    found = grow_cores(np.full(shape, 0.9, np.float32), np.zeros(shape, np.int32), 0.5)
    assert found.shape == shape and not found.any()


def test_two_level_thresholding_keeps_neighbours_apart() -> None:
    across = np.arange(40)
    ridge = np.maximum(np.exp(-((across - 12) ** 2) / 40), np.exp(-((across - 26) ** 2) / 40))
    probabilities = np.broadcast_to(ridge, (1, 1, 9, 40))[..., None].astype(np.float32)
    settings = {"low": 0.2, "high": 0.9, "sigma": (0.0, 0.0, 0.0), "min_size": 3}
    joined = two_level_threshold(probabilities, ThresholdSettings("hysteresis", **settings))
    apart = two_level_threshold(probabilities, ThresholdSettings("identity-preserving", **settings))
    assert joined.max() == 1 and apart.max() == 2
    assert ((apart > 0) >= (joined > 0)).all()
