"""A table row per object, with numbers that can be counted by hand, and the same columns for every image."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from omero_pixclf.objects.measure import measure
from omero_pixclf.objects.outline import trace_outlines
from omero_pixclf.table import Table, column_names, concatenate

SIZE = (2.0, 0.5, 0.5)


def scene(shape: tuple[int, int, int, int] = (2, 1, 12, 14), channels: int = 2) -> tuple[NDArray[Any], NDArray[Any]]:
    image = np.random.default_rng(4).integers(0, 4000, (*shape, channels)).astype(np.uint16)
    labels = np.zeros(shape, np.int32)
    labels[0, :, 2:5, 3:9] = 1
    labels[0, :, 8:12, 1:3] = 2
    labels[1, :, 5:6, 5:6] = 1
    return labels, image


def measured(labels: NDArray[Any], image: NDArray[Any], **options: Any) -> Table:
    settings: dict[str, Any] = {"dims": 2, "channels": ["DAPI", "GFP"], "probabilities": None, **options}
    return measure(labels, image, settings.pop("probabilities"), class_name="Nucleus", **settings)


def test_rows_are_in_the_order_of_the_outlines() -> None:
    labels, image = scene()
    table = measured(labels, image)
    assert list(zip(table["T"], table["Label"], strict=True)) == [(o.t, o.label) for o in trace_outlines(labels)]


def test_place_and_area_are_those_of_the_pixels() -> None:
    labels, image = scene()
    row = next(measured(labels, image, pixel_size_um=SIZE).rows())
    assert row["Area_px"] == 18
    assert row["Area_um2"] == pytest.approx(18 * 0.25)
    assert (row["Centroid_X_px"], row["Centroid_Y_px"], row["Centroid_Z"]) == (6.0, 3.5, 0.0)
    assert [row[f"BBox_{a}_px"] for a in ("X0", "X1", "Y0", "Y1")] == [3, 9, 2, 5]
    assert not row["Touches_border"]


def test_only_objects_at_the_border_touch_it() -> None:
    labels, image = scene()
    assert measured(labels, image)["Touches_border"].tolist() == [False, True, False]


def test_intensities_are_those_of_each_channel() -> None:
    labels, image = scene()
    table = measured(labels, image)
    for row in table.rows():
        for c, name in enumerate(("DAPI", "GFP")):
            values = image[row["T"], ..., c][labels[row["T"]] == row["Label"]].astype(np.float64)
            assert row[f"Mean_{name}"] == pytest.approx(values.mean(), rel=1e-12)
            assert row[f"Std_{name}"] == pytest.approx(values.std(), rel=1e-9, abs=1e-9)
            assert row[f"Integrated_{name}"] == values.sum()
            assert (row[f"Min_{name}"], row[f"Max_{name}"]) == (values.min(), values.max())


def test_probability_and_uncertainty_are_means_over_the_object() -> None:
    labels, image = scene()
    raw = np.random.default_rng(1).random((*labels.shape, 3)).astype(np.float32)
    probabilities = raw / raw.sum(axis=-1, keepdims=True)
    table = measured(labels, image, probabilities=probabilities, class_index=1)
    ordered = np.sort(probabilities, axis=-1)
    doubt = 1 - (ordered[..., -1] - ordered[..., -2])
    for row in table.rows():
        inside = labels[row["T"]] == row["Label"]
        assert row["Probability_mean"] == pytest.approx(probabilities[row["T"], ..., 1][inside].mean(), rel=1e-6)
        assert row["Probability_min"] == pytest.approx(probabilities[row["T"], ..., 1][inside].min())
        assert row["Uncertainty_mean"] == pytest.approx(doubt[row["T"]][inside].mean(), rel=1e-6)


def test_volumes_are_of_objects_through_z() -> None:
    labels, image = scene((2, 3, 12, 14))
    row = next(measured(labels, image, dims=3, pixel_size_um=SIZE).rows())
    assert row["Volume_px"] == 54
    assert row["Volume_um3"] == pytest.approx(54 * 0.5)
    assert math.isnan(row["Area_px"])
    assert row["Z"] == 1


def test_unknown_pixel_size_leaves_micrometres_open() -> None:
    labels, image = scene()
    row = next(measured(labels, image, pixel_size_um=(None, 0.5, None)).rows())
    assert math.isnan(row["Area_um2"])
    assert row["Area_px"] == 18


def test_columns_are_the_same_for_any_image_and_for_no_objects() -> None:
    flat, image = scene()
    solid, stack = (np.ones((1, 4, 5, 5), np.int32), np.ones((1, 4, 5, 5, 2)))
    nothing = measured(np.zeros_like(flat), image)
    tables = [measured(flat, image), measured(solid, stack, dims=3, pixel_size_um=SIZE), nothing]
    assert len(nothing) == 0
    assert len(concatenate(tables)) == 4


def test_a_missing_pixel_value_spoils_its_own_object_only() -> None:
    labels, image = scene()
    image = image.astype(np.float32)
    image[0, 0, 3, 4, 0] = np.nan
    table = measured(labels, image)
    assert np.isnan(table["Mean_DAPI"]).tolist() == [True, False, False]
    assert not np.isnan(table["Mean_GFP"]).any()


def test_labels_with_gaps_keep_their_numbers() -> None:
    labels, image = scene()
    labels[labels == 2] = 40
    assert measured(labels, image)["Label"].tolist() == [1, 40, 1]


def test_column_names_fit_columns_and_differ() -> None:
    assert column_names(["a b", "A_b", "", "µ"], 5) == ("a_b", "A_b_2", "Channel_3", "Channel_4", "Channel_5")


def test_shapes_that_do_not_fit_are_refused() -> None:
    labels, image = scene()
    with pytest.raises(ValueError, match="expected"):
        measured(labels[:, :, 1:], image)
    with pytest.raises(ValueError, match="probabilities"):
        measured(labels, image, probabilities=np.zeros((1, 1, 1, 1, 2)))
