"""Files that hold a server's pixels, and what is asserted of reading them."""

from __future__ import annotations

import json
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
import zarr
from numpy.testing import assert_array_equal

from omero_pixclf.direct.check import SAMPLE_SIZE
from omero_pixclf.direct.mounts import DirectSettings, Mount
from omero_pixclf.direct.source import DirectSource
from omero_pixclf.image import ArrayReader, ImageInfo, Region
from omero_pixclf.pixel_location import PixelLocation, StoredFile

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
    return PixelLocation("fileset", StoredFile(name, ROOT, **known), series, (ROOT,))


def group(path):
    return PixelLocation("multiscales", StoredFile(path), roots=(ROOT,))


def direct(server, where, *folders, check="sample", **options):
    return DirectSource(server, lambda image: where, DirectSettings(tuple(Mount(f) for f in folders), check), **options)


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
    assert all(max(r.shape[2:4]) <= SAMPLE_SIZE for r in server.reads)


def assert_served(source, server, reason, caplog):
    """All pixels are right; they came from the server, and the log says why."""
    assert_array_equal(read_all(source, server), server.pixels)
    assert source.tally.direct == 0
    assert source.tally.served.total() == 1
    assert any(reason in r.getMessage() and "Image:1" in r.getMessage() for r in caplog.records), caplog.text


SHAPES = [(1, 1, 90, 100, 1), (1, 5, 90, 100, 1), (4, 1, 70, 80, 2), (2, 3, 65, 64, 3), (1, 1, 20, 30, 2)]


def altered(image, where):
    other = image.copy()
    other[where] += 1
    return other


def in_planes(folder, image):
    planes_file(folder / "Pixels" / "1", image)
    return PixelLocation("planes", StoredFile("Pixels/1"), roots=(ROOT,))
