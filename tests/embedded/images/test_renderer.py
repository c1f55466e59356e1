"""Window, curve, colour, projections, sizes of pictures."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from omero_pixclf.embedded.images.renderer import (
    PROJECTIONS,
    ChannelRendering,
    encode_jpeg,
    pack_argb,
    quantise,
    render_rgb,
)

RED, GREEN = (255, 0, 0), (0, 255, 0)


def test_the_window_is_stretched_over_all_levels() -> None:
    levels = quantise(np.array([5, 10, 35, 60, 99], ">u2"), ChannelRendering(10, 60))
    assert levels.tolist() == [0, 0, 128, 255, 255]


def test_inverted_brightness_mirrors_the_levels() -> None:
    samples = np.arange(0, 256, dtype=np.uint8)
    plain = quantise(samples, ChannelRendering(0, 255))
    turned = quantise(samples, ChannelRendering(0, 255, inverted=True))
    assert (plain.astype(int) + turned == 255).all()


@pytest.mark.parametrize("family", ["linear", "polynomial", "logarithmic", "exponential"])
def test_every_curve_rises_from_the_first_to_the_last_level(family: str) -> None:
    levels = quantise(np.linspace(1, 4, 50), ChannelRendering(1, 4, family, 1.5)).astype(int)
    assert (levels[0], levels[-1]) == (0, 255)
    assert (np.diff(levels) >= 0).all()


def test_a_window_without_width_splits_below_and_above() -> None:
    assert quantise(np.array([4, 5, 6]), ChannelRendering(5, 5)).tolist() == [0, 0, 255]


def test_a_table_of_all_values_draws_what_single_samples_do() -> None:
    plane = np.random.default_rng(1).integers(-3000, 3000, (300, 300)).astype(">i2")
    look = ChannelRendering(-1000, 2000, "polynomial", 0.5, GREEN)
    whole = render_rgb([plane], [look])
    assert np.array_equal(whole[:10, :10], render_rgb([plane[:10, :10]], [look]))


def test_colours_of_channels_add_up_and_stop_at_the_brightest() -> None:
    bright, half = np.full((1, 2), 100, ">u2"), np.full((1, 2), 50, ">u2")
    looks = [
        ChannelRendering(0, 100, colour=RED),
        ChannelRendering(0, 100, colour=GREEN),
        ChannelRendering(0, 100, colour=RED),
    ]
    assert render_rgb([bright, half, half], looks)[0, 0].tolist() == [255, 128, 0]


def test_grey_shows_the_first_channel_only() -> None:
    planes = [np.array([[0, 100]], ">u2"), np.array([[100, 100]], ">u2")]
    drawn = render_rgb(planes, [ChannelRendering(0, 100, colour=RED), ChannelRendering(0, 100)], grey=True)
    assert drawn.tolist() == [[[0, 0, 0], [255, 255, 255]]]


def test_projections_take_maximum_mean_and_sum() -> None:
    stack = [np.array([[1, 8]], ">u2"), np.array([[5, 2]], ">u2")]
    assert PROJECTIONS["MAXIMUMINTENSITY"](iter(stack)).tolist() == [[5, 8]]
    assert PROJECTIONS["MEANINTENSITY"](iter(stack)).tolist() == [[3, 5]]
    assert PROJECTIONS["SUMINTENSITY"](iter(stack)).tolist() == [[6, 10]]


def test_packed_pictures_are_opaque_argb() -> None:
    found = pack_argb(np.array([[[1, 2, 3]]], np.uint8))
    assert found.view(np.uint32).tolist() == [0xFF010203]


def test_jpegs_have_the_wanted_size() -> None:
    data = encode_jpeg(np.zeros((60, 120, 3), np.uint8), size=(32, 16))
    image = Image.open(io.BytesIO(data))
    assert (image.format, image.size) == ("JPEG", (32, 16))
