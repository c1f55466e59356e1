"""Pixels from files in place of the server, with the server as a net."""

from __future__ import annotations

import json
import logging
import os
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pytest
import tifffile
import zarr
from numpy.testing import assert_array_equal

from omero_pixclf.direct.check import SIDE, differing, samples
from omero_pixclf.direct.source import DirectSource
from omero_pixclf.errors import UnreachableError
from omero_pixclf.files.mounts import Direct, Mount
from omero_pixclf.image import ArrayReader, ImageInfo, Region
from omero_pixclf.whereabouts import StoredFile, Whereabouts

ROOT = "/OMERO/ManagedRepository"


@dataclass
class Server:
    """A source that counts what is asked of it."""

    pixels: np.ndarray
    reads: list[Region] = field(default_factory=list)

    @property
    def info(self):
        names = ("",) * self.pixels.shape[4]
        return ImageInfo("Image:1", "a", self.pixels.shape, self.pixels.dtype.name, names, fingerprint="Pixels:1")

    def images(self, targets):
        yield self.info

    @contextmanager
    def open(self, image):
        yield self

    def read(self, region):
        self.reads.append(region)
        return ArrayReader(self.info, self.pixels).read(region)


def pixels(shape=(1, 1, 90, 100, 1), dtype="uint16"):
    return np.random.default_rng(0).integers(0, 255, shape).astype(dtype)


def fileset(name, series=0, **known):
    return Whereabouts("fileset", StoredFile(name, ROOT, **known), series, (ROOT,))


def group(path):
    return Whereabouts("multiscales", StoredFile(path), roots=(ROOT,))


def direct(server, where, *folders, check="sample"):
    return DirectSource(server, lambda image: where, Direct(tuple(Mount(f) for f in folders), check))


def read_all(source, server):
    with source.open(server.info) as reader:
        return reader.read(Region.whole(server.info.shape))


def planes_file(path, image):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(image.transpose(0, 4, 1, 2, 3).astype(image.dtype.newbyteorder(">")).tobytes())


def in_store(path, image, chunks=(1, 1, 1, 32, 32), name="0"):
    """An OME-Zarr image of version 0.4."""
    path.mkdir(parents=True)
    array = zarr.create_array(
        store=str(path / name), shape=image.transpose(0, 4, 1, 2, 3).shape, chunks=chunks, dtype=image.dtype,
        zarr_format=2, chunk_key_encoding={"name": "v2", "separator": "/"}, config={"write_empty_chunks": True},
    )  # fmt: skip
    array[:] = image.transpose(0, 4, 1, 2, 3)
    axes = [{"name": a} for a in "tczyx"]
    attributes = {"multiscales": [{"axes": axes, "datasets": [{"path": name}], "version": "0.4"}]}
    (path / ".zgroup").write_text('{"zarr_format": 2}')
    (path / ".zattrs").write_text(json.dumps(attributes))


def assert_direct(source, server):
    """All pixels are right, and the server was asked for samples only."""
    assert_array_equal(read_all(source, server), server.pixels)
    assert source.tally.direct == 1, str(source.tally)
    assert all(max(r.shape[2:4]) <= SIDE for r in server.reads)


def assert_served(source, server, reason, caplog):
    """All pixels are right; they came from the server, and the log says why."""
    assert_array_equal(read_all(source, server), server.pixels)
    assert source.tally.direct == 0
    assert source.tally.served.total() == 1
    assert any(reason in r.getMessage() and "Image:1" in r.getMessage() for r in caplog.records), caplog.text


@pytest.fixture
def told(caplog):
    caplog.set_level(logging.INFO, "omero_pixclf")
    return caplog


SHAPES = [(1, 1, 90, 100, 1), (1, 5, 90, 100, 1), (4, 1, 70, 80, 2), (2, 3, 65, 64, 3), (1, 1, 20, 30, 2)]


@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint32", "float32", "float64"])
@pytest.mark.parametrize("shape", SHAPES)
def test_planes(tmp_path, shape, dtype):
    server = Server(pixels(shape, dtype))
    planes_file(tmp_path / "Pixels" / "1", server.pixels)
    where = Whereabouts("planes", StoredFile("Pixels/1"), roots=(ROOT,))
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


def altered(image, where):
    other = image.copy()
    other[where] += 1
    return other


def in_planes(folder, image):
    planes_file(folder / "Pixels" / "1", image)
    return Whereabouts("planes", StoredFile("Pixels/1"), roots=(ROOT,))


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
    assert_served(direct(server, where, tmp_path), server, "are others than the server's", told)


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
        assert differing(reader.read(Region.whole(server.info.shape)), server.pixels) == 1


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
    for _ in range(3):
        assert_array_equal(read_all(source, server), server.pixels)
    assert len([r for r in told.records if "not a format that is read directly" in r.getMessage()]) == 1
    assert str(source.tally).endswith("not a format that is read directly (3)")


def test_an_image_in_an_object_store_is_left_to_the_server(tmp_path, told):
    server = Server(pixels())
    source = direct(server, group("s3://host/bucket/secret-key/a.zarr/0?anonymous=true"), tmp_path)
    assert_served(source, server, "reached by s3", told)


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


def damaged(path, at=0.5):
    content = bytearray(path.read_bytes())
    middle = int(len(content) * at)
    content[middle : middle + 500] = bytes(500)
    path.write_bytes(content)


def test_a_file_that_breaks_in_the_middle_of_reading(tmp_path, told):
    """What was read before stays; the rest comes from the server."""
    server = Server(pixels((8, 1, 200, 200, 1)))
    where = in_planes(tmp_path, server.pixels)
    source = direct(server, where, tmp_path)
    with source.open(server.info) as reader:
        first = reader.read(Region((0, 0, 0, 0, 0), (4, 1, 200, 200, 1)))
        os.truncate(tmp_path / "Pixels" / "1", 4 * 200 * 200 * 2)
        rest = reader.read(Region((4, 0, 0, 0, 0), (8, 1, 200, 200, 1)))
        again = reader.read(Region((0, 0, 0, 0, 0), (4, 1, 200, 200, 1)))
    assert_array_equal(np.concatenate([first, rest]), server.pixels)
    assert_array_equal(first, again)
    assert [r.levelname for r in told.records if "the file ends before" in r.getMessage()] == ["WARNING"]
    assert (source.tally.direct, source.tally.served.total()) == (0, 1)


def test_a_damaged_tiff_breaks_in_the_middle_of_reading(tmp_path, told):
    server = Server(pixels((8, 1, 200, 200, 1)))
    tifffile.imwrite(tmp_path / "a.ome.tif", server.pixels[:, 0, :, :, 0], metadata={"axes": "TYX"}, compression="zlib")
    with tifffile.TiffFile(tmp_path / "a.ome.tif") as file:
        offset, count = file.pages[2].dataoffsets[0], file.pages[2].databytecounts[0]
    with (tmp_path / "a.ome.tif").open("r+b") as file:
        file.seek(offset)
        file.write(bytes(count))
    source = direct(server, fileset("a.ome.tif"), tmp_path)
    assert_served(source, server, "page 2 cannot be decoded", told)


@pytest.mark.parametrize("content", [b"", b"no chunk", bytes(300)])
def test_a_damaged_chunk_breaks_in_the_middle_of_reading(tmp_path, content, told):
    server = Server(pixels((6, 1, 64, 64, 1)))
    in_store(tmp_path / "a.zarr", server.pixels)
    (tmp_path / "a.zarr" / "0" / "1" / "0" / "0" / "1" / "1").write_bytes(content)
    assert_served(direct(server, group(f"{ROOT}/a.zarr"), tmp_path), server, "cannot be read", told)


def test_a_store_in_which_chunks_are_missing_is_not_believed(tmp_path, told):
    """zarr would take them for empty ones."""
    server = Server(pixels((6, 1, 64, 64, 1)))
    in_store(tmp_path / "a.zarr", server.pixels)
    (tmp_path / "a.zarr" / "0" / "2" / "0" / "0" / "1" / "1").unlink()
    assert_served(direct(server, group(f"{ROOT}/a.zarr"), tmp_path), server, "1 of 24 chunks are not there", told)


def test_a_store_does_not_lead_out(tmp_path, told):
    server = Server(pixels((1, 1, 64, 64, 1)))
    in_store(tmp_path / "secret.zarr", server.pixels)
    mount = tmp_path / "mount"
    in_store(mount / "a.zarr", server.pixels)
    evil = (mount / "a.zarr" / ".zattrs").read_text().replace('"path": "0"', '"path": "../../secret.zarr/0"')
    (mount / "a.zarr" / ".zattrs").write_text(evil)
    assert_served(direct(server, group(f"{ROOT}/a.zarr"), mount), server, "out of the store", told)
    told.clear()
    in_store(mount / "b.zarr", server.pixels)
    chunk = mount / "b.zarr" / "0" / "0" / "0" / "0" / "0" / "0"
    chunk.unlink()
    chunk.symlink_to(tmp_path / "secret.zarr" / "0" / "0" / "0" / "0" / "0" / "0")
    assert_served(direct(server, group(f"{ROOT}/b.zarr"), mount), server, "a link within a store", told)
    told.clear()
    (mount / "c.zarr").mkdir()
    (mount / "c.zarr" / ".zattrs").write_text('{"plate": {"wells": [{"path": "../../secret.zarr"}]}}')
    assert_served(direct(server, fileset("c.zarr/.zattrs"), mount), server, "out of the store", told)
    told.clear()
    (mount / "d.zarr" / "OME").mkdir(parents=True)
    (mount / "d.zarr" / ".zattrs").write_text('{"bioformats2raw.layout": 3}')
    (mount / "d.zarr" / "OME" / ".zattrs").write_text('{"series": ["../../secret.zarr"]}')
    assert_served(direct(server, fileset("d.zarr/.zattrs"), mount), server, "out of the store", told)


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
    for _ in range(3):
        assert_array_equal(read_all(source, server), server.pixels)
    said = [r.getMessage() for r in told.records if r.levelno == logging.WARNING]
    assert said == [f"--direct {tmp_path / 'nowhere'}: no such folder on this machine; pixels come through the server"]
    assert "nothing is mounted here (3)" in str(source.tally)


def test_a_server_that_is_gone_is_not_taken_for_a_bad_file(tmp_path):
    server = Server(pixels())

    def gone(image):
        raise UnreachableError("no connection")

    source = DirectSource(server, gone, Direct((Mount(tmp_path),)))
    with pytest.raises(UnreachableError), source.open(server.info):
        pass


def test_only_some_images_are_warned_of_one_by_one(tmp_path, told):
    server = Server(pixels())
    (tmp_path / "Pixels").mkdir()
    source = direct(server, Whereabouts("planes", StoredFile("Pixels/1"), roots=(ROOT,)), tmp_path)
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


@pytest.mark.parametrize("shape", [*SHAPES, (1, 1, 1, 1, 1), (50, 20, 2000, 1500, 4)])
def test_samples_lie_within_and_are_few(shape):
    class Black:
        info = ImageInfo("", "", shape, "uint8", ("",) * shape[4])

        def read(self, region):
            return np.zeros(region.shape, "uint8")

    found = list(samples(Black()))
    for region in found:
        assert all(0 <= a < b <= n for a, b, n in zip(region.start, region.stop, shape, strict=True))
    assert len(set(found)) == len(found) <= 6 + shape[4]
    assert {r.start[4] for r in found} == set(range(shape[4]))
