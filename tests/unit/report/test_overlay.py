"""Outlines over images."""

from __future__ import annotations

import io

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from omero_pixclf.report.overlay import draw_overlay, lighten_for_dark_background

RED, YELLOW = (255, 0, 0), (255, 255, 0)


def picture(content: bytes) -> NDArray[np.int64]:
    return np.asarray(Image.open(io.BytesIO(content)).convert("RGB")).astype(np.int64)


def is_red(pixels: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Where the red outline is drawn over a grey image."""
    found: NDArray[np.bool_] = pixels[..., 0] - pixels[..., 1] > 60
    return found


def square(side: int = 480, at: slice = slice(100, 200)) -> NDArray[np.int32]:
    labels = np.zeros((1, 1, side, side), np.int32)
    labels[0, 0, at, at] = 1
    return labels


def grey(shape: tuple[int, ...]) -> NDArray[np.uint16]:
    """Noise that is darker than any class colour."""
    return np.random.default_rng(1).integers(0, 1000, shape).astype(np.uint16)


def test_the_outline_is_the_rim_of_the_object_and_nothing_else() -> None:
    red = is_red(picture(draw_overlay(grey((1, 1, 480, 480, 1)), {"A": square()}, {"A": RED})))
    assert red[100:200, 100].all() and red[100, 100:200].all()
    inside, outside = red[104:196, 104:196], red.copy()
    outside[98:202, 98:202] = False
    assert not inside.any() and not outside.any()


def test_an_image_without_classes_or_objects_is_just_the_image() -> None:
    pixels = grey((1, 1, 480, 480, 1))
    assert draw_overlay(pixels, {}, {}) == draw_overlay(pixels, {"A": square(at=slice(0, 0))}, {"A": RED})


def test_a_stack_shows_the_brightest_of_its_planes_and_objects_of_all_planes() -> None:
    pixels = np.zeros((1, 3, 480, 480, 1), np.uint16)
    pixels[0, 2, 300:400, 300:400] = 500
    labels = np.zeros((1, 3, 480, 480), np.int32)
    labels[0, 1, 100:200, 100:200] = 7
    shown = picture(draw_overlay(pixels, {"A": labels}, {"A": RED}))
    assert shown[350, 350].min() > 200 and shown[10, 10].max() == 0
    assert is_red(shown)[150, 100]


@pytest.mark.parametrize(("frames", "shown"), [(1, 1), (2, 2), (3, 3), (20, 3)])
def test_a_time_series_shows_three_frames_at_most(frames: int, shown: int) -> None:
    width = picture(draw_overlay(grey((frames, 1, 480, 480, 1)), {}, {})).shape[1]
    assert width == shown * 480 + (shown - 1) * 4


def test_small_images_are_enlarged_and_large_ones_reduced() -> None:
    assert picture(draw_overlay(grey((1, 1, 100, 160, 1)), {}, {})).shape == (300, 480, 3)
    assert picture(draw_overlay(grey((1, 1, 1000, 2000, 1)), {}, {})).shape == (240, 480, 3)


def test_of_an_image_full_of_tiny_objects_a_part_is_shown() -> None:
    labels = np.zeros((1, 1, 2000, 2000), np.int32)
    for n in range(400):  # of 8 x 8 pixels: not two across in the whole image
        y, x = divmod(n, 20)
        labels[0, 0, y * 100 : y * 100 + 8, x * 100 : x * 100 + 8] = n + 1
    red = is_red(picture(draw_overlay(grey((1, 1, 2000, 2000, 1)), {"A": labels}, {"A": RED})))
    share = red.mean()
    assert 0.002 < share < 0.02  # some 18 objects, each with a rim that is seen


def test_three_channels_of_bytes_keep_their_colours() -> None:
    pixels = np.full((1, 1, 480, 480, 3), 240, np.uint8)
    pixels[0, 0, :100, :100] = (120, 40, 140)
    shown = picture(draw_overlay(pixels, {}, {}))
    assert shown[50, 50].tolist() == [120, 40, 140] and shown[300, 300].tolist() == [240, 240, 240]


@pytest.mark.parametrize("value", [0.0, np.nan, 7.0])
def test_an_image_without_contrast_is_black(value: float) -> None:
    assert not picture(draw_overlay(np.full((1, 1, 64, 64, 2), value, np.float32), {}, {})).any()


def test_the_scale_bar_has_the_length_that_it_says() -> None:
    dark = np.zeros((1, 1, 480, 480, 1), np.uint16)
    shown = picture(draw_overlay(dark, {}, {}, pixel_um=0.5))
    bar = (shown[480 - 12] == 252).all(axis=-1) | (shown[480 - 12] == 255).all(axis=-1)
    assert abs(int(bar.sum()) - 100) <= 1  # 50 µm: the largest round length below a quarter of 240 µm


def test_dark_class_colours_are_lightened_and_light_ones_stay() -> None:
    assert lighten_for_dark_background(YELLOW) == YELLOW
    assert lighten_for_dark_background((0, 0, 0)) == (105, 105, 105)
    assert min(lighten_for_dark_background((0, 0, 255))) > 80
