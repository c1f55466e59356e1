"""Brush strokes."""

from __future__ import annotations

import h5py
import numpy as np
import pytest

from omero_pixclf.errors import ProjectError
from omero_pixclf.ilastik.labels import draw_strokes, read_labels
from tests.properties.ilp_fuzz import edited, replaced
from tests.unit.ilastik.test_project import content

BLOCK = "PixelClassification/LabelSets/labels000/block0000"


def test_strokes_have_places_and_classes() -> None:
    (strokes,) = read_labels(content())
    assert np.bincount(strokes.classes).tolist() == [0, 200, 200]
    assert strokes.positions.shape == (400, 4)
    assert strokes.lane.axes == "yxc"


def test_a_label_image_holds_exactly_the_strokes() -> None:
    (strokes,) = read_labels(content("k08_2t3d_u16_mixed2d3d"))
    image = draw_strokes(strokes, (2, 40, 60, 64))
    assert image.shape == (2, 40, 60, 64, 1)
    assert int((image > 0).sum()) == len(strokes.classes)
    assert np.array_equal(image[..., 0][tuple(strokes.positions.T)], strokes.classes)


def test_strokes_without_tags_take_the_lanes_axes() -> None:
    def edit(file: h5py.File) -> None:
        del file[BLOCK].attrs["axistags"]

    (before,), (after,) = read_labels(content()), read_labels(edited(content(), edit))
    assert np.array_equal(before.positions, after.positions)


def test_strokes_in_an_unknown_order_of_axes_are_refused() -> None:
    def edit(file: h5py.File) -> None:
        replaced(BLOCK, data=np.ones((1, 2, 3, 1, 1), np.uint8))(file)
        file[BLOCK].attrs["blockSlice"] = "[0:1,0:2,0:3,0:1,0:1]"

    with pytest.raises(ProjectError, match="not established"):
        read_labels(edited(content(), edit))


def test_strokes_that_do_not_fit_their_place_are_refused() -> None:
    def edit(file: h5py.File) -> None:
        file[BLOCK].attrs["blockSlice"] = "[0:7,0:7,0:1]"

    with pytest.raises(ProjectError, match="has strokes of shape"):
        read_labels(edited(content(), edit))
