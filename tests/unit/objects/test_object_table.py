"""The table of ilastik's object classification."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np

from omero_pixclf.ilastik.object_project import read_object_project
from omero_pixclf.objects.features.compute import compute_features
from omero_pixclf.objects.object_classifier import ObjectClasses, classify_features
from omero_pixclf.objects.object_table import build_object_columns, default_features
from tests.unit.objects.features.scenes import blobs, noise

CASE = Path(__file__).parents[2] / "golden" / "cases" / "o10_oc_2d_ipht"
PROJECT = read_object_project(gzip.decompress((CASE / "project.ilp.gz").read_bytes()), name="cells.ilp")
ASKED = [*PROJECT.features, *default_features(PROJECT.features)]


def classified(seed: int, count: int | None = None) -> ObjectClasses:
    labels = blobs((1, 30, 30), seed=seed)
    labels = labels if count is None else np.where(labels <= count, labels, 0)
    return classify_features(PROJECT, compute_features(labels, noise(labels.shape), ASKED), PROJECT.features)


def test_rows_of_all_time_points_are_numbered_through() -> None:
    frames = {3: classified(1, 4), 0: classified(2, 2)}
    found = build_object_columns(PROJECT, frames, PROJECT.features)
    assert found["object_id"].tolist() == [0, 1, 2, 3, 4, 5]
    assert found["timestep"].tolist() == [0, 0, 3, 3, 3, 3]
    assert found["labelimage_oid"].tolist() == [1, 2, 1, 2, 3, 4]
    assert set(found["Predicted Class"]) <= {"small", "large"}
    assert set(found["User Label"]) == {"0"}


def test_default_features_follow_in_double_precision() -> None:
    found = build_object_columns(PROJECT, {0: classified(1)}, PROJECT.features)
    names = list(found)
    assert names[5:8] == ["Probability of small", "Probability of large", "Size in pixels"]
    assert names[-2:] == ["Center of the object_0", "Center of the object_1"]
    assert found["Center of the object_0"].dtype == np.float64
    assert found["Mean Intensity"].dtype == found["Probability of small"].dtype == np.float32


def test_labels_of_the_user_and_original_numbers_belong_to_objects() -> None:
    frames = {0: classified(1, 3), 1: classified(2, 2)}
    found = build_object_columns(
        PROJECT,
        frames,
        PROJECT.features,
        user_labels={0: np.array([0, 2])},
        originals={0: np.array([10, 20, 30]), 1: np.array([7, 9])},
    )
    assert found["User Label"].tolist() == ["0", "large", "0", "0", "0"]
    assert found["original_oid"].tolist() == [10, 20, 30, 7, 9]


def test_a_table_without_objects_has_its_columns() -> None:
    empty = classified(1, 0)
    found = build_object_columns(PROJECT, {0: empty}, PROJECT.features)
    assert all(len(column) == 0 for column in found.values())
    assert list(found) == list(build_object_columns(PROJECT, {0: classified(1)}, PROJECT.features))
