"""Which files are read in place of the server, and what is left to it."""

from __future__ import annotations

import json
import logging
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tifffile
import zarr
from numpy.testing import assert_array_equal

from omero_pixclf.image import Region
from omero_pixclf.pixel_location import PixelLocation, StoredFile
from tests.unit.direct.image_files import (
    ROOT,
    SHAPES,
    Server,
    altered,
    assert_direct,
    assert_served,
    direct,
    fileset,
    group,
    in_planes,
    in_store,
    pixels,
    planes_file,
    read_all,
)


@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint32", "float32", "float64"])
@pytest.mark.parametrize("shape", SHAPES)
def test_planes(tmp_path, shape, dtype):
    server = Server(pixels(shape, dtype))
    planes_file(tmp_path / "Pixels" / "1", server.pixels)
    where = PixelLocation("planes", StoredFile("Pixels/1"), roots=(ROOT,))
    assert_direct(direct(server, where, tmp_path), server)


@pytest.mark.parametrize("shape", SHAPES)
def test_ome_tiff(tmp_path, shape):
    server = Server(pixels(shape))
    tifffile.imwrite(tmp_path / "a.ome.tif", server.pixels.transpose(0, 4, 1, 2, 3), metadata={"axes": "TCZYX"})
    assert_direct(direct(server, fileset("a.ome.tif"), tmp_path), server)


def test_an_image_among_several_of_a_file(tmp_path):
    images = [Server(pixels((1, 1, 70, 80, 2)) + n) for n in range(3)]
    with tifffile.TiffWriter(tmp_path / "a.ome.tif") as file:
        for server in images:
            file.write(server.pixels[0, 0].transpose(2, 0, 1), metadata={"axes": "CYX"}, compression="zlib")
    for n, server in enumerate(images):
        assert_direct(direct(server, fileset("a.ome.tif", n), tmp_path), server)


@pytest.mark.parametrize("shape", [(7, 1, 80, 90, 1), (1, 7, 80, 90, 1), (1, 1, 80, 90, 7)])
def test_pages_without_a_meaning_are_what_the_server_takes_them_for(tmp_path, shape):
    server = Server(pixels(shape))
    tifffile.imwrite(tmp_path / "a.tif", server.pixels.transpose(0, 4, 1, 2, 3).reshape(7, 80, 90), metadata=None)
    assert_direct(direct(server, fileset("a.tif"), tmp_path), server)


def test_zarr_that_the_server_was_told_of(tmp_path):
    server = Server(pixels((2, 3, 65, 64, 2)))
    in_store(tmp_path / "a.zarr" / "0", server.pixels)
    assert_direct(direct(server, group(f"{ROOT}/a.zarr/0"), tmp_path), server)


@pytest.mark.parametrize("shards", [None, (1, 1, 1, 64, 64)])
def test_zarr_of_version_3(tmp_path, shards):
    server = Server(pixels((2, 1, 130, 100, 2)))
    content = server.pixels.transpose(0, 4, 1, 2, 3)
    store = tmp_path / "a.zarr"
    array = zarr.create_array(
        store=str(store / "0"), shape=content.shape, chunks=(1, 1, 1, 32, 32), shards=shards, dtype="uint16",
        config={"write_empty_chunks": True},
    )  # fmt: skip
    array[:] = content
    multiscales = [{"axes": [{"name": key} for key in "tczyx"], "datasets": [{"path": "0"}]}]
    attributes = {"ome": {"version": "0.5", "multiscales": multiscales}}
    (store / "zarr.json").write_text(json.dumps({"zarr_format": 3, "node_type": "group", "attributes": attributes}))
    assert_direct(direct(server, group(f"{ROOT}/a.zarr"), tmp_path), server)
    piece = next(p for p in sorted((store / "0" / "c").rglob("*")) if p.is_file())
    piece.unlink()
    again = direct(server, group(f"{ROOT}/a.zarr"), tmp_path)
    assert_array_equal(read_all(again, server), server.pixels)
    assert again.tally.direct == 0


def test_a_store_that_was_imported(tmp_path):
    servers = [Server(pixels((1, 1, 65, 64, 1)) + n) for n in range(2)]
    for n, server in enumerate(servers):
        in_store(tmp_path / "lab" / "a.ome.zarr" / str(n), server.pixels)
    (tmp_path / "lab" / "a.ome.zarr" / ".zattrs").write_text('{"bioformats2raw.layout": 3}')
    for n, server in enumerate(servers):
        assert_direct(direct(server, fileset("lab/a.ome.zarr/.zattrs", n), tmp_path), server)


def test_a_plate_that_was_imported(tmp_path):
    servers = {n: Server(pixels((1, 1, 65, 64, 1)) + n) for n in range(3)}
    store = tmp_path / "p.zarr"
    for n, place in enumerate(("A/1/0", "A/1/1", "B/2/0")):
        in_store(store / place, servers[n].pixels)
    (store / ".zattrs").write_text('{"plate": {"wells": [{"path": "A/1"}, {"path": "B/2"}]}}')
    (store / "A" / "1" / ".zattrs").write_text('{"well": {"images": [{"path": "0"}, {"path": "1"}]}}')
    (store / "B" / "2" / ".zattrs").write_text('{"well": {"images": [{"path": "0"}]}}')
    for n, server in servers.items():
        assert_direct(direct(server, fileset("p.zarr/.zattrs", n), tmp_path), server)


def test_what_other_readers_decode_otherwise_is_left_to_the_server(tmp_path, told):
    server = Server(pixels((1, 1, 96, 96, 1), "uint8"))
    plane = server.pixels[0, 0, :, :, 0]
    for options, reason in (
        ({"compression": "jpeg"}, "JPEG compression"),
        ({"photometric": "miniswhite"}, "MINISWHITE pixels"),
        ({"photometric": "palette", "colormap": np.zeros((3, 256), "uint16")}, "PALETTE pixels"),
    ):
        told.clear()
        tifffile.imwrite(tmp_path / "a.tif", plane, **options)
        assert_served(direct(server, fileset("a.tif"), tmp_path), server, reason, told)
        assert not [r for r in told.records if r.levelno >= logging.WARNING]


@pytest.mark.parametrize("name", ["a.czi", "a.nd2", "Index.idx.xml"])
def test_a_format_of_the_servers_is_told_once_and_counted(tmp_path, name, told):
    server = Server(pixels())
    (tmp_path / name).write_bytes(b"?")
    source = direct(server, fileset(name), tmp_path)
    for n in range(3):
        with source.open(replace(server.info, key=f"Image:{n}")) as reader:
            assert_array_equal(reader.read(Region.whole(server.info.shape)), server.pixels)
    assert len([r for r in told.records if "not a format that is read directly" in r.getMessage()]) == 1
    assert str(source.tally).endswith("not a format that is read directly (3)")


def test_an_image_in_an_object_store_is_left_to_the_server(tmp_path, told):
    server = Server(pixels())
    source = direct(server, group("s3://host/bucket/secret-key/a.zarr/0?anonymous=true"), tmp_path)
    assert_served(source, server, "accessed by s3", told)


def test_several_files_of_one_image_are_left_to_the_server(tmp_path, told):
    server = Server(pixels((1, 1, 90, 100, 1)))
    secret = tmp_path / "secret.tif"
    tifffile.imwrite(secret, server.pixels[0, 0, :, :, 0])
    folder = tmp_path / "mount"
    folder.mkdir()
    xml = (
        '<OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06" UUID="urn:uuid:1"><Image ID="Image:0">'
        '<Pixels ID="Pixels:0" DimensionOrder="XYCZT" Type="uint16" '
        'SizeX="100" SizeY="90" SizeC="1" SizeZ="1" SizeT="1">'
        '<Channel ID="Channel:0:0" SamplesPerPixel="1"/><TiffData IFD="0" PlaneCount="1">'
        '<UUID FileName="../secret.tif">urn:uuid:2</UUID></TiffData></Pixels></Image></OME>'
    )
    tifffile.imwrite(folder / "a.ome.tif", np.zeros((90, 100), "uint16"), description=xml, metadata=None)
    assert_served(direct(server, fileset("a.ome.tif"), folder), server, "one of several OME-TIFF files", told)


def test_several_threads_read_one_file(tmp_path):
    server = Server(pixels((6, 1, 200, 200, 1)))
    in_store(tmp_path / "a.zarr", server.pixels)
    source = direct(server, group(f"{ROOT}/a.zarr"), tmp_path)
    regions = [Region((t, 0, y, 0, 0), (t + 1, 1, y + 50, 200, 1)) for t in range(6) for y in range(0, 200, 50)]
    with source.open(server.info) as reader, ThreadPoolExecutor(4) as pool:
        parts = list(pool.map(reader.read, regions))
    for region, part in zip(regions, parts, strict=True):
        assert_array_equal(part, server.pixels[region.slices])
        assert part.flags.c_contiguous


def test_no_file_stays_open(tmp_path):
    server = Server(pixels())
    where = in_planes(tmp_path, server.pixels)
    other = in_planes(tmp_path / "other", altered(server.pixels, (0, 0, 0, 0, 0)))
    before = len(list(Path("/proc/self/fd").iterdir()))
    read_all(direct(server, where, tmp_path), server)
    read_all(direct(server, other, tmp_path / "other"), server)
    assert len(list(Path("/proc/self/fd").iterdir())) == before
