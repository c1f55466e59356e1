"""Read pixels from OMERO: regions as hypercubes or tiles, through one raw pixels store per image."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from omero_pixclf.connector.hierarchy import DTYPES, find_empty_wells, iterate_images
from omero_pixclf.connector.raw_planes import LARGEST_MESSAGE
from omero_pixclf.connector.sessions.exceptions import REMOTE_ERRORS
from omero_pixclf.connector.sessions.session import ALL_GROUPS, Session
from omero_pixclf.errors import ImageError
from omero_pixclf.image import ImageInfo, Region
from omero_pixclf.text import pluralize

__all__ = ["BLOCK_BYTES", "FEW", "TILE", "OmeroReader", "OmeroSource", "PixelBlock", "split_region"]

_log = logging.getLogger(__name__)

FEW = 10  # wells named in a message
BLOCK_BYTES = 4 << 20
"""OMERO.server is fastest with blocks of about this size."""
TILE = 1024


@dataclass(frozen=True)
class PixelBlock:
    """The pixels that one call reads: ``depth`` planes of one time point and channel, or a tile of one plane."""

    t: int
    c: int
    z: int
    y: int
    x: int
    depth: int
    height: int
    width: int

    @property
    def shape(self) -> tuple[int, int, int]:
        """Extents along ``(z, y, x)``."""
        return (self.depth, self.height, self.width)


def split_region(region: Region, itemsize: int, *, tile: int = TILE, size: int = BLOCK_BYTES) -> Iterator[PixelBlock]:
    """Split a region into the blocks that single calls read.

    A block has several small planes, up to ``size`` bytes together. Planes larger than that are read in tiles on a
    grid of ``tile`` pixels.
    """
    (t0, z0, y0, x0, c0), (t1, z1, y1, x1, c1) = region.start, region.stop
    plane = max(1, (y1 - y0) * (x1 - x0) * itemsize)
    depth = max(1, size // plane)
    step = max(y1, x1) if plane <= size else tile
    for t in range(t0, t1):
        for c in range(c0, c1):
            for z in range(z0, z1, depth):
                for y, height in _split_range(y0, y1, step):
                    for x, width in _split_range(x0, x1, step):
                        yield PixelBlock(t, c, z, y, x, min(depth, z1 - z), height, width)


def _split_range(start: int, stop: int, step: int) -> Iterator[tuple[int, int]]:
    at = start
    while at < stop:
        end = min(stop, (at // step + 1) * step)
        yield at, end - at
        at = end


class OmeroReader:
    """An open image with one raw store, opened at the first read and again after a lost connection."""

    def __init__(self, session: Session, info: ImageInfo) -> None:
        self.info = info
        self._session = session
        self._pixels = int(info.fingerprint.split()[0].partition(":")[2])
        self._dtype = np.dtype(info.dtype).newbyteorder(">")
        self._lock = threading.Lock()
        self._store: Any = None
        self._opened_by: Any = None
        self._tile = TILE

    def read(self, region: Region) -> NDArray[Any]:
        """Return the pixels of a region as a C-contiguous ``(t, z, y, x, c)`` array in native byte order.

        Raises
        ------
        ImageError
            The region is not inside the image.
        """
        if any(a < 0 or b > size for a, b, size in zip(region.start, region.stop, self.info.shape, strict=True)):
            raise ImageError(
                f"{self.info.key}: region {region.start}-{region.stop} is not in the image's shape {self.info.shape}"
            )
        out = np.empty(region.shape, np.dtype(self.info.dtype))
        with self._lock:
            self._session.read(
                f"{self.info.key}: reading pixels", lambda sf: self._attempt(sf, region, out), group=ALL_GROUPS
            )
        return out

    def _attempt(self, factory: Any, region: Region, out: NDArray[Any]) -> None:
        try:
            self._fill(factory, region, out)
        except REMOTE_ERRORS:
            self._store = None  # it can be closed although the session is open
            raise

    def _fill(self, factory: Any, region: Region, out: NDArray[Any]) -> None:
        store = self._open(factory)
        t0, z0, y0, x0, c0 = region.start
        for b in split_region(region, self._dtype.itemsize, tile=self._tile):
            raw = _read_block(store, b)
            part = np.frombuffer(raw, self._dtype).reshape(b.shape)
            z, y, x = b.z - z0, b.y - y0, b.x - x0
            out[b.t - t0, z : z + b.depth, y : y + b.height, x : x + b.width, b.c - c0] = part

    def _open(self, factory: Any) -> Any:
        if self._store is None or self._opened_by is not factory:
            store = factory.createRawPixelsStore()
            store.setPixelsId(self._pixels, True)
            plane = self.info.shape[2] * self.info.shape[3] * self._dtype.itemsize
            if plane > BLOCK_BYTES and store.requiresPixelsPyramid():  # smaller planes are never read in tiles
                self._tile = _choose_tile(min(store.getTileSize()), self._dtype.itemsize)
            self._store, self._opened_by = store, factory
        return self._store

    def close(self) -> None:
        """Close the raw store on the server."""
        store, self._store = self._store, None
        if store is not None:
            with suppress(*REMOTE_ERRORS):  # after a lost connection it is closed already
                store.close()


def _choose_tile(tile: int, itemsize: int) -> int:
    """Return the smallest multiple of the server's tile size from `TILE` on; `TILE` if such a tile fits no message."""
    found = tile * -(-TILE // max(1, tile))
    return found if 0 < found * found * itemsize <= LARGEST_MESSAGE else TILE


def _read_block(store: Any, b: PixelBlock) -> bytes:
    if b.depth == 1:
        return bytes(store.getTile(b.z, b.c, b.t, b.x, b.y, b.width, b.height))
    ones = [1, 1, 1, 1, 1]
    return bytes(store.getHypercube([b.x, b.y, b.z, b.c, b.t], [b.width, b.height, b.depth, 1, 1], ones))


@dataclass(frozen=True)
class OmeroSource:
    """Images of a server as an `omero_pixclf.runs.protocols.ImageSource`."""

    session: Session

    def images(self, targets: Sequence[str]) -> Iterator[ImageInfo]:
        """Yield every image below the targets (`omero_pixclf.connector.hierarchy.iterate_images`)."""
        for plate, wells in find_empty_wells(self.session, targets).items():
            some = ", ".join(wells[:FEW]) + (", …" if len(wells) > FEW else "")
            _log.warning("%s: %s without images: %s", plate, pluralize(len(wells), "well"), some)
        return iterate_images(self.session, targets)

    @contextmanager
    def open(self, image: ImageInfo) -> Iterator[OmeroReader]:
        """Open an image until the context ends.

        Raises
        ------
        ImageError
            The image has no pixels, or pixels of type ``bit`` or ``complex``.
        """
        if not image.dtype:
            raise ImageError(f"{image.key}: has no pixels; its import did not finish")
        if image.dtype not in DTYPES.values():
            raise ImageError(f"{image.key}: pixels of type {image.dtype}, expected one of {', '.join(DTYPES)}")
        reader = OmeroReader(self.session, image)
        try:
            yield reader
        finally:
            reader.close()
