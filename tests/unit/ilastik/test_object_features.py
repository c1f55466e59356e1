"""The catalogue of ilastik's features of objects."""

from __future__ import annotations

import pytest

from omero_pixclf.ilastik.object_features import (
    HULL_2D,
    HULL_3D,
    SKELETON_2D,
    STANDARD,
    ObjectFeature,
    available_features,
    column_count,
    display_name,
    exists_in,
    is_known,
    plugin_exists_in,
)


@pytest.mark.parametrize(
    ("dims", "channels", "features", "columns"), [(2, 1, 69, 235), (3, 1, 60, 258), (2, 3, 62, 156)]
)
def test_all_features_of_an_image_have_so_many_columns(dims: int, channels: int, features: int, columns: int) -> None:
    found = available_features(dims, channels, (5, 5, 1))
    assert len(found) == len(set(found)) == features
    assert sum(column_count(feature, dims, channels) for feature in found) == columns


def test_features_are_sorted_as_the_classifier_has_them() -> None:
    found = available_features(2, 1, (5, 5, 1))
    assert list(found) == sorted(found, key=lambda feature: (feature.plugin, feature.name))


def test_only_features_in_the_neighborhood_have_a_margin() -> None:
    for feature in available_features(2, 1, (5, 4, 1)):
        assert (feature.margin == (5, 4, 1)) == feature.name.endswith(" in neighborhood")


@pytest.mark.parametrize(("plugin", "dims"), [(SKELETON_2D, 3), (HULL_2D, 3), (HULL_3D, 2)])
def test_plugins_of_the_other_dimension_do_not_exist(plugin: str, dims: int) -> None:
    assert not plugin_exists_in(plugin, dims)
    assert not any(feature.plugin == plugin for feature in available_features(dims, 1, (1, 1, 1)))


def test_histograms_are_for_one_channel_and_covariances_for_several() -> None:
    assert exists_in(ObjectFeature(STANDARD, "Histogram"), 2, 1)
    assert not exists_in(ObjectFeature(STANDARD, "Histogram"), 2, 2)
    assert exists_in(ObjectFeature(STANDARD, "Covariance in neighborhood"), 3, 2)
    assert not exists_in(ObjectFeature(STANDARD, "Covariance in neighborhood"), 3, 1)


def test_names_that_ilastik_does_not_have_are_unknown() -> None:
    assert not is_known(ObjectFeature(STANDARD, "Beauty"))
    assert not is_known(ObjectFeature("My plug-in", "Mean"))


def test_every_feature_has_a_name_for_people() -> None:
    names = [display_name(feature) for feature in available_features(2, 1, (1, 1, 1))]
    assert len(set(names)) == len(names)
    assert "Mean Intensity in neighborhood" in names
