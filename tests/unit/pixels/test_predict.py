"""A project applied to images: what is refused, and that parts are parts of the whole."""

from __future__ import annotations

import threading
from dataclasses import replace

import numpy as np
import pytest

from omero_pixclf.errors import ImageError
from omero_pixclf.ilastik.project import Project, read_project
from omero_pixclf.image import ImageInfo, Region, Shape5
from omero_pixclf.pixels.features import features_of_image
from omero_pixclf.pixels.predict import (
    autocontext_input,
    feature_blocks,
    find_incompatibility,
    predict_array,
    predict_blocks,
)
from tests.golden.cases import reader
from tests.unit.ilastik.test_project import content


@pytest.fixture(scope="module")
def flat() -> Project:
    return read_project(content("k05_2d_customscales_reordered"), name="flat.ilp")


@pytest.fixture(scope="module")
def mixed() -> Project:
    return read_project(content("k08_2t3d_u16_mixed2d3d"), name="mixed.ilp")


def info(shape: Shape5, dtype: str = "uint8") -> ImageInfo:
    return ImageInfo("Image:51", "cells", shape, dtype, ("",) * shape[4])


def image(shape: Shape5, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 4000, shape).astype(np.uint16)


@pytest.mark.parametrize(
    ("shape", "dtype", "words"),
    [
        ((1, 1, 50, 50, 3), "uint8", r"flat.ilp: trained on 1 channel, Image:51 has 3; choose with --channels"),
        ((1, 1, 50, 9, 1), "uint8", "Image:51: 50 x 9 pixels; the project's filters need at least 22 x 22"),
        ((1, 1, 50, 50, 1), "complex64", "Image:51: pixels are complex64, .* tested with"),
        ((1, 1, 50, 50, 1), "bool", "Image:51: pixels are bool, .* tested with"),
    ],
)
def test_what_cannot_be_done_is_said_before_pixels_are_read(
    flat: Project, shape: Shape5, dtype: str, words: str
) -> None:
    problem = find_incompatibility(flat, info(shape, dtype))
    assert problem is not None
    with pytest.raises(ImageError, match=words):
        raise ImageError(problem)


def test_a_volume_project_refuses_a_plane(mixed: Project) -> None:
    problem = find_incompatibility(mixed, info((1, 1, 60, 60, 1)))
    assert problem is not None
    assert "z-plane" in problem


def test_what_can_be_done_is_not_refused(flat: Project, mixed: Project) -> None:
    assert find_incompatibility(flat, info((7, 5, 50, 50, 1), "float32")) is None
    assert find_incompatibility(mixed, info((2, 40, 60, 60, 1), "int16")) is None


def test_a_plane_project_sees_every_plane_of_a_stack_by_itself(flat: Project) -> None:
    stack = image((2, 3, 40, 50, 1))
    whole = predict_array(flat, stack)
    for t in range(2):
        for z in range(3):
            np.testing.assert_array_equal(whole[t : t + 1, z : z + 1], predict_array(flat, stack[t : t + 1, z : z + 1]))


@pytest.mark.parametrize("memory", [None, 1])
def test_a_region_is_the_crop_of_the_whole(mixed: Project, memory: int | None) -> None:
    raw = image((2, 30, 50, 60, 1))
    whole = predict_array(mixed, raw)
    region = Region((1, 3, 10, 7, 0), (2, 20, 33, 55, 1))
    out = np.full_like(whole, np.nan)
    for part, block in predict_blocks(mixed, reader(raw), region=region, memory=memory, threads=1):
        out[part.slices] = block
    crop = (slice(1, 2), slice(3, 20), slice(10, 33), slice(7, 55))
    np.testing.assert_array_equal(out[crop], whole[crop])
    out[crop] = np.nan
    assert np.isnan(out).all()


@pytest.mark.parametrize("memory", [None, 1])
def test_an_array_given_takes_the_whole_region(mixed: Project, memory: int | None) -> None:
    raw = image((2, 30, 50, 60, 1))
    region = Region((1, 3, 10, 7, 0), (2, 20, 33, 55, 1))
    out = np.full((1, 17, 23, 48, len(mixed.classes)), np.nan, np.float32)
    for part, block in predict_blocks(mixed, reader(raw), region=region, memory=memory, threads=2, out=out):
        assert np.shares_memory(block, out)
        assert block.shape == part.shape
    np.testing.assert_array_equal(out, predict_array(mixed, raw)[1:2, 3:20, 10:33, 7:55])


@pytest.mark.parametrize("unfit", [np.empty((1, 1, 60, 70, 1), np.float32), np.empty((1, 1, 60, 70, 2))])
def test_an_array_given_must_fit(flat: Project, unfit: np.ndarray) -> None:
    with pytest.raises(ValueError, match="expected float32"):
        list(predict_blocks(flat, reader(image((1, 1, 60, 70, 1))), out=unfit))


def test_nothing_is_predicted_outside_of_a_mask(flat: Project) -> None:
    raw = image((1, 2, 60, 70, 1))
    mask = np.zeros((1, 2, 60, 70, 2), np.uint8)
    mask[0, 1, 20:40, 10:30, 1] = 7
    found, whole = predict_array(flat, raw, mask=mask), predict_array(flat, raw)
    inside = mask.any(axis=4)
    np.testing.assert_array_equal(found[inside], whole[inside])
    assert not found[~inside].any()


def test_an_array_of_another_rank_is_refused_with_what_was_expected(flat: Project) -> None:
    plane = np.zeros((16, 20), np.uint8)
    with pytest.raises(ImageError, match=r"the image is 2D \(shape \(16, 20\)\), expected 5D \(t, z, y, x, c\)"):
        predict_array(flat, plane)
    with pytest.raises(ImageError, match="the mask is 2D"):
        predict_array(flat, plane[None, None, ..., None], mask=plane)


def test_a_mask_of_another_size_is_refused(flat: Project) -> None:
    with pytest.raises(ImageError, match="the mask has"):
        predict_array(flat, image((1, 1, 60, 70, 1)), mask=np.ones((1, 1, 70, 60, 1), np.uint8))


def test_feature_blocks_are_the_features(mixed: Project) -> None:
    raw = image((2, 30, 50, 60, 1))
    whole = features_of_image(mixed, raw)
    out = np.empty_like(whole)
    for region, block in feature_blocks(mixed, reader(raw), memory=1, threads=2):
        assert block.shape == region.shape
        out[region.slices] = block
    np.testing.assert_array_equal(out, whole)


def test_an_error_in_a_reader_ends_the_blocks_with_that_error(flat: Project) -> None:
    class Broken:
        info = info((1, 1, 60, 70, 1))

        def read(self, region: Region) -> np.ndarray:
            raise ImageError("Image:51: the disk is gone")

    with pytest.raises(ImageError, match="the disk is gone"):
        list(predict_blocks(flat, Broken()))


def test_a_caller_who_stops_early_leaves_no_thread_behind(flat: Project) -> None:
    before = threading.active_count()
    blocks = predict_blocks(flat, reader(image((1, 3, 300, 400, 1))), memory=1, threads=3)
    next(blocks)
    assert threading.active_count() > before
    blocks.close()  # type: ignore[attr-defined]
    assert threading.active_count() == before


def test_a_second_stage_sees_probabilities_in_the_images_own_type() -> None:
    before = np.array([[0.0, 0.999, 1.0]], np.float32)
    raw = np.array([[7]], np.uint8)
    assert autocontext_input(raw, before).tolist() == [[7, 0, 254, 255]]
    assert autocontext_input(raw.astype(np.uint16), before).tolist() == [[7, 0, 65469, 65535]]
    found = autocontext_input(raw.astype(np.float64), before)
    assert found.dtype == np.float64
    assert found[0, 1:].tolist() == before[0].astype(np.float64).tolist()


def test_autocontext_on_signed_pixels_is_refused_as_not_established(flat: Project) -> None:
    two = replace(flat, stages=(flat.stages[0], flat.stages[0]))
    problem = find_incompatibility(two, info((1, 1, 60, 60, 1), "int16"))
    assert problem is not None
    assert "has not been tested" in problem
