"""Segmenting, measuring and outlining arrays of any rank and order of axes."""

from __future__ import annotations

import inspect
import sys
from typing import Any

import numpy as np
import pytest

import omero_pixclf
from omero_pixclf.config import ObjectSettings
from omero_pixclf.errors import ImageError, UsageError

FOREGROUND = np.zeros((3, 32, 40), np.float32)
FOREGROUND[:, 2:8, 2:8] = FOREGROUND[1:, 20:30, 20:36] = 0.9
SCORES = np.stack([FOREGROUND, 1 - FOREGROUND], axis=-1)


def test_the_parameters_are_the_recipes() -> None:
    found = {n: p.default for n, p in inspect.signature(omero_pixclf.segment).parameters.items()}
    settings = {name: field.default for name, field in ObjectSettings.model_fields.items() if name != "label"}
    assert {name: found[name] for name in settings if name != "smooth"} == {
        name: default for name, default in settings.items() if name != "smooth"
    }
    assert ObjectSettings(smooth=found["smooth"]).smooth == settings["smooth"]


def test_objects_are_3d_in_stacks_and_2d_in_time_series() -> None:
    assert omero_pixclf.segment(SCORES, "zyxc").max() == 2
    per_time = omero_pixclf.segment(SCORES, "tyxc")
    assert per_time.max(axis=(1, 2)).tolist() == [1, 2, 2]
    assert (omero_pixclf.segment(np.moveaxis(SCORES, -1, 0), "czyx") == omero_pixclf.segment(SCORES, "zyxc")).all()


def test_the_second_label_is_the_background_here() -> None:
    assert (omero_pixclf.segment(SCORES[0], label=2) == 1).sum() == 32 * 40 - 36


@pytest.mark.parametrize(
    ("error", "says", "options"),
    [
        (UsageError, "label 3: the probability array has 2 classes", {"label": 3}),
        (UsageError, "label 0", {"label": 0}),
        (UsageError, "threshold", {"threshold": 2.0}),
        (UsageError, "low", {"method": "hysteresis", "low": 0.9, "high": 0.2}),
        (UsageError, "expected an axis 'c'", {"axes": "zyx"}),
        (ImageError, r"is 3D \(shape \(32, 40, 2\)\), axes='yxzc' are for a 4D", {"axes": "yxzc"}),
    ],
)
def test_bad_values_are_named(error: type[Exception], says: str, options: dict[str, Any]) -> None:
    with pytest.raises(error, match=says):
        omero_pixclf.segment(SCORES[0], **options)


def test_measure_takes_the_images_axes() -> None:
    labels = omero_pixclf.segment(SCORES, "zyxc")
    image = np.stack([FOREGROUND * 10, FOREGROUND * 20])
    table = omero_pixclf.measure(
        labels, image, "czyx", probabilities=np.moveaxis(SCORES, -1, 0), channels=("A", "B"), class_name="Nucleus"
    )
    assert table["Volume_px"].tolist() == [108, 320]
    assert table["Mean_B"] == pytest.approx([18, 18])
    assert table["Probability_mean"] == pytest.approx([0.9, 0.9])
    assert np.isnan(omero_pixclf.measure(labels[0], image[0, 0])["Probability_mean"]).all()


def test_shapes_that_do_not_fit_are_named() -> None:
    labels = omero_pixclf.segment(SCORES, "zyxc")
    with pytest.raises(ImageError, match=r"labels have the shape \(3, 32, 40\) \(zyx\), the image \(3, 32, 30\)"):
        omero_pixclf.measure(labels, FOREGROUND[..., :30], "zyx")
    with pytest.raises(ImageError, match=r"probabilities have the shape \(3, 32, 30, 2\) \(zyxc\)"):
        omero_pixclf.measure(labels, FOREGROUND, "zyx", probabilities=SCORES[:, :, :30])
    with pytest.raises(ImageError, match="name others, such as axes='zyx'"):
        omero_pixclf.measure(labels, FOREGROUND)


def test_outlines_of_stacks_and_wrong_types() -> None:
    labels = omero_pixclf.segment(SCORES, "zyxc")
    assert [len(outline.shapes) for outline in omero_pixclf.outlines(labels, "zyx")] == [3, 2]
    with pytest.raises(ImageError, match="float32, expected integers"):
        omero_pixclf.outlines(FOREGROUND[0])
    with pytest.raises(ImageError, match="float32, expected integers"):
        omero_pixclf.measure(FOREGROUND[0], FOREGROUND[0])
    with pytest.raises(UsageError, match="no axis 'c'"):
        omero_pixclf.outlines(labels, "cyx")


def test_a_table_becomes_a_data_frame_or_says_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    table = omero_pixclf.measure(omero_pixclf.segment(SCORES[1]), FOREGROUND[1])
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(UsageError, match="pip install pandas"):
        table.to_pandas()
    monkeypatch.undo()
    pandas = pytest.importorskip("pandas")
    frame = table.to_pandas()
    assert isinstance(frame, pandas.DataFrame)
    assert frame["Area_px"].tolist() == [36, 160]
    assert list(frame.columns) == list(table.names)
