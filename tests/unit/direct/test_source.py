"""Files that are missing, damaged, not to be read or not where they should be: the server is the net."""

from __future__ import annotations

import logging
import os
from dataclasses import replace

import numpy as np
import pytest
import tifffile
from numpy.testing import assert_array_equal

from omero_pixclf.direct.mounts import DirectSettings, Mount
from omero_pixclf.direct.source import MAX_PRELOADED_BYTES, DirectSource
from omero_pixclf.errors import UnreachableError
from omero_pixclf.image import Region
from omero_pixclf.pixel_location import PixelLocation, StoredFile
from tests.unit.direct.image_files import (
    ROOT,
    Server,
    altered,
    assert_served,
    direct,
    fileset,
    group,
    in_planes,
    in_store,
    pixels,
    read_all,
)


def test_a_file_that_breaks_in_the_middle_of_reading(tmp_path, told):
    """What was read before stays; the rest comes from the server."""
    server = Server(pixels((8, 1, 200, 200, 1)))
    where = in_planes(tmp_path, server.pixels)
    source = direct(server, where, tmp_path, held=0)
    with source.open(server.info) as reader:
        first = reader.read(Region((0, 0, 0, 0, 0), (4, 1, 200, 200, 1)))
        os.truncate(tmp_path / "Pixels" / "1", 4 * 200 * 200 * 2)
        rest = reader.read(Region((4, 0, 0, 0, 0), (8, 1, 200, 200, 1)))
        again = reader.read(Region((0, 0, 0, 0, 0), (4, 1, 200, 200, 1)))
    assert_array_equal(np.concatenate([first, rest]), server.pixels)
    assert_array_equal(first, again)
    assert [r.levelname for r in told.records if "the file ends before" in r.getMessage()] == ["WARNING"]
    assert (source.tally.direct, source.tally.served.total()) == (0, 1)


@pytest.mark.parametrize("held", [0, MAX_PRELOADED_BYTES])
def test_a_damaged_tiff_breaks_in_the_middle_of_reading(tmp_path, held, told):
    server = Server(pixels((8, 1, 200, 200, 1)))
    tifffile.imwrite(tmp_path / "a.ome.tif", server.pixels[:, 0, :, :, 0], metadata={"axes": "TYX"}, compression="zlib")
    with tifffile.TiffFile(tmp_path / "a.ome.tif") as file:
        offset, count = file.pages[2].dataoffsets[0], file.pages[2].databytecounts[0]
    with (tmp_path / "a.ome.tif").open("r+b") as file:
        file.seek(offset)
        file.write(bytes(count))
    source = direct(server, fileset("a.ome.tif"), tmp_path, held=held)
    assert_served(source, server, "page 2 cannot be decoded", told)


@pytest.mark.parametrize("held", [0, MAX_PRELOADED_BYTES])
@pytest.mark.parametrize("content", [b"", b"no chunk", bytes(300)])
def test_a_damaged_chunk_breaks_in_the_middle_of_reading(tmp_path, content, held, told):
    server = Server(pixels((6, 1, 64, 64, 1)))
    in_store(tmp_path / "a.zarr", server.pixels)
    (tmp_path / "a.zarr" / "0" / "1" / "0" / "0" / "1" / "1").write_bytes(content)
    assert_served(direct(server, group(f"{ROOT}/a.zarr"), tmp_path, held=held), server, "cannot be read", told)


def test_a_store_in_which_chunks_are_missing_is_not_believed(tmp_path, told):
    """zarr would take them for empty ones."""
    server = Server(pixels((6, 1, 64, 64, 1)))
    in_store(tmp_path / "a.zarr", server.pixels)
    (tmp_path / "a.zarr" / "0" / "2" / "0" / "0" / "1" / "1").unlink()
    assert_served(direct(server, group(f"{ROOT}/a.zarr"), tmp_path), server, "1 of 24 chunks are missing", told)


def test_a_store_does_not_lead_out(tmp_path, told):
    server = Server(pixels((1, 1, 64, 64, 1)))
    in_store(tmp_path / "secret.zarr", server.pixels)
    mount = tmp_path / "mount"
    in_store(mount / "a.zarr", server.pixels)
    evil = (mount / "a.zarr" / ".zattrs").read_text().replace('"path": "0"', '"path": "../../secret.zarr/0"')
    (mount / "a.zarr" / ".zattrs").write_text(evil)
    assert_served(direct(server, group(f"{ROOT}/a.zarr"), mount), server, "outside of a.zarr", told)
    told.clear()
    in_store(mount / "b.zarr", server.pixels)
    chunk = mount / "b.zarr" / "0" / "0" / "0" / "0" / "0" / "0"
    chunk.unlink()
    chunk.symlink_to(tmp_path / "secret.zarr" / "0" / "0" / "0" / "0" / "0" / "0")
    assert_served(direct(server, group(f"{ROOT}/b.zarr"), mount), server, "a link within a store", told)
    told.clear()
    (mount / "c.zarr").mkdir()
    (mount / "c.zarr" / ".zattrs").write_text('{"plate": {"wells": [{"path": "../../secret.zarr"}]}}')
    assert_served(direct(server, fileset("c.zarr/.zattrs"), mount), server, "outside of c.zarr", told)
    told.clear()
    (mount / "d.zarr" / "OME").mkdir(parents=True)
    (mount / "d.zarr" / ".zattrs").write_text('{"bioformats2raw.layout": 3}')
    (mount / "d.zarr" / "OME" / ".zattrs").write_text('{"series": ["../../secret.zarr"]}')
    assert_served(direct(server, fileset("d.zarr/.zattrs"), mount), server, "outside of d.zarr", told)


def test_a_file_that_may_not_be_read(tmp_path, told):
    server = Server(pixels())
    where = in_planes(tmp_path, server.pixels)
    file = tmp_path / "Pixels" / "1"
    file.chmod(0)
    if os.access(file, os.R_OK):
        pytest.skip("this user may read everything")
    assert_served(direct(server, where, tmp_path), server, "Permission denied", told)


def test_what_is_not_mounted_here_is_said_once(tmp_path, told):
    server = Server(pixels())
    source = direct(server, fileset("a.tif"), tmp_path / "nowhere")
    for n in range(3):
        with source.open(replace(server.info, key=f"Image:{n}")) as reader:
            assert_array_equal(reader.read(Region.whole(server.info.shape)), server.pixels)
    said = [r.getMessage() for r in told.records if r.levelno == logging.WARNING]
    assert said == [f"--direct {tmp_path / 'nowhere'}: no such folder on this machine; pixels come through the server"]
    assert "no folder is mounted (3)" in str(source.tally)


def test_a_server_that_is_gone_is_not_taken_for_a_bad_file(tmp_path):
    server = Server(pixels())

    def gone(image):
        raise UnreachableError("no connection")

    source = DirectSource(server, gone, DirectSettings((Mount(tmp_path),)))
    with pytest.raises(UnreachableError), source.open(server.info):
        pass


def test_only_some_images_are_warned_of_one_by_one(tmp_path, told):
    server = Server(pixels())
    (tmp_path / "Pixels").mkdir()
    source = direct(server, PixelLocation("planes", StoredFile("Pixels/1"), roots=(ROOT,)), tmp_path)
    for n in range(50):
        with source.open(replace(server.info, key=f"Image:{n}")):
            pass
    assert len([r for r in told.records if r.levelno == logging.WARNING]) == 20
    assert "files not as they should be (50)" in str(source.tally)


def test_regions_out_of_the_image_are_the_servers_to_refuse(tmp_path):
    server = Server(pixels())
    source = direct(server, in_planes(tmp_path, server.pixels), tmp_path)
    with source.open(server.info) as reader:
        outside = Region((0, 0, 80, 0, 0), (1, 1, 99, 9, 1))
        reader.read(outside)
    assert server.reads[-1] == outside


def test_an_image_that_is_opened_for_each_of_its_pieces_is_looked_at_once(tmp_path):
    server = Server(pixels())
    source = direct(server, in_planes(tmp_path, server.pixels), tmp_path)
    assert_array_equal(read_all(source, server), server.pixels)
    asked = len(server.reads)
    assert asked > 0
    assert_array_equal(read_all(source, server), server.pixels)
    assert (len(server.reads), source.tally.direct) == (asked, 1)
    (tmp_path / "Pixels" / "1").unlink()
    assert_array_equal(read_all(source, server), server.pixels)
    assert (source.tally.direct, source.tally.served.total()) == (0, 1)
    asked = len(server.reads)
    read_all(source, server)
    assert len(server.reads) == asked + 1  # the image itself, and nothing compared


def test_an_image_that_is_not_believed_is_not_looked_at_again(tmp_path, told):
    server = Server(pixels())
    source = direct(server, in_planes(tmp_path, altered(server.pixels, (0, 0, 0, 0, 0))), tmp_path)
    for _ in range(3):
        assert_array_equal(read_all(source, server), server.pixels)
    assert source.tally.served.total() == 1
    assert len([r for r in told.records if r.levelno == logging.WARNING]) == 1
