"""Whether a file gives the pixels of the server."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import numpy as np
import pytest
import tifffile

from omero_pixclf.direct.check import count_differing_pixels, sample_regions
from omero_pixclf.image import ImageInfo, Region
from tests.unit.direct.image_files import (
    SHAPES,
    Server,
    altered,
    assert_direct,
    assert_served,
    direct,
    fileset,
    in_planes,
    pixels,
)


@pytest.mark.parametrize(
    "place",
    [
        (0, 0, 0, 0, 0),
        (0, 0, -1, -1, 0),
        (-1, -1, 0, -1, -1),
        (-1, -1, -1, 0, -1),
        (-1, 0, 300, 250, 0),
        (0, -1, 300, 250, 0),
    ],
)
def test_other_pixels_at_a_place_that_is_looked_at(tmp_path, place, told):
    server = Server(pixels((3, 4, 600, 500, 2)))
    where = in_planes(tmp_path, altered(server.pixels, place))
    assert_served(direct(server, where, tmp_path), server, "1 of 4096 pixels", told)


def test_a_channel_that_differs_only_where_something_is(tmp_path, told):
    """Corners and middle are black, as in many images."""
    server = Server(np.zeros((1, 1, 900, 800, 2), "uint16"))
    server.pixels[0, 0, 333, 222, 1] = 7
    other = server.pixels.copy()
    other[0, 0, 333, 222] = (7, 0)
    assert_served(direct(server, in_planes(tmp_path, other), tmp_path), server, "1 of 4096 pixels", told)


def test_channels_the_other_way_round(tmp_path, told):
    server = Server(pixels((1, 1, 90, 100, 2)))
    where = in_planes(tmp_path, server.pixels[..., ::-1])
    assert_served(direct(server, where, tmp_path), server, "differ from the server's", told)


def test_all_pixels_are_compared_where_that_is_wanted(tmp_path, told):
    server = Server(pixels((3, 1, 600, 500, 1)))
    where = in_planes(tmp_path, altered(server.pixels, (1, 0, 100, 100, 0)))
    source = direct(server, where, tmp_path, check="all")
    assert_served(source, server, "1 of 900000 pixels", told)


def test_a_difference_that_no_sample_shows_needs_the_whole_comparison(tmp_path):
    """What the check by samples cannot promise."""
    server = Server(pixels((3, 1, 600, 500, 1)))
    where = in_planes(tmp_path, altered(server.pixels, (1, 0, 590, 300, 0)))
    with direct(server, where, tmp_path).open(server.info) as reader:
        assert count_differing_pixels(reader.read(Region.whole(server.info.shape)), server.pixels) == 1


@pytest.mark.parametrize(
    ("shape", "dtype"), [((1, 1, 90, 101, 1), "uint16"), ((1, 2, 90, 100, 1), "uint16"), ((1, 1, 90, 100, 1), "int16")]
)
def test_a_file_of_another_size_or_type(tmp_path, shape, dtype, told):
    server = Server(pixels())
    tifffile.imwrite(tmp_path / "a.tif", pixels(shape, dtype).reshape([n for n in shape if n > 1]), metadata=None)
    assert_served(direct(server, fileset("a.tif"), tmp_path), server, "the server says uint16 tzyxc", told)


def test_a_file_of_another_length_or_checksum(tmp_path, told):
    server = Server(pixels())
    tifffile.imwrite(tmp_path / "a.tif", server.pixels[0, 0, :, :, 0])
    size = (tmp_path / "a.tif").stat().st_size
    for known, reason in (({"size": size + 1}, f"has {size} bytes"), ({"sha1": "0" * 40}, "its SHA-1 is")):
        told.clear()
        assert_served(direct(server, fileset("a.tif", **known), tmp_path), server, reason, told)


def test_of_planes_with_the_right_checksum_nothing_is_left_to_compare(tmp_path):
    server = Server(pixels((2, 3, 90, 100, 2)))
    where = in_planes(tmp_path, server.pixels)
    sha1 = hashlib.sha1((tmp_path / "Pixels" / "1").read_bytes()).hexdigest()
    source = direct(server, replace(where, file=replace(where.file, sha1=sha1)), tmp_path)
    assert_direct(source, server)
    assert server.reads == []


def test_a_file_of_the_right_checksum_may_still_be_decoded_otherwise(tmp_path, told):
    server = Server(pixels((1, 1, 90, 100, 2)))
    path = tmp_path / "a.ome.tif"
    tifffile.imwrite(path, server.pixels[0, 0, :, :, ::-1].transpose(2, 0, 1), metadata={"axes": "CYX"})
    where = fileset(path.name, sha1=hashlib.sha1(path.read_bytes()).hexdigest())
    assert_served(direct(server, where, tmp_path), server, "differ from the server's", told)


@pytest.mark.parametrize("shape", [*SHAPES, (1, 1, 1, 1, 1), (50, 20, 2000, 1500, 4)])
def test_samples_lie_within_and_are_few(shape):
    class Black:
        info = ImageInfo("", "", shape, "uint8", ("",) * shape[4])

        def read(self, region):
            return np.zeros(region.shape, "uint8")

    found = list(sample_regions(Black()))
    for region in found:
        assert all(0 <= a < b <= n for a, b, n in zip(region.start, region.stop, shape, strict=True))
    assert len(set(found)) == len(found) <= 6 + shape[4]
    assert {r.start[4] for r in found} == set(range(shape[4]))
