"""Upload pixels through a raw pixels store: planes, rows of planes, or tiles of a pyramid.

OMERO.server stores planes of more than 3192 x 3192 pixels as pyramids (except floating point). These are written tile
by tile, in the order of planes and with the server's tile size; the first tile determines the layout of the file.
Other planes are written as they are. A message of ``Ice.MessageSizeMax`` (64 MB) or more closes the connection.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from omero_pixclf.image import PixelReader, Region, Shape5

__all__ = ["LARGEST_MESSAGE", "write_pixels"]

LARGEST_MESSAGE = 16 << 20
"""Maximum bytes of pixels, shapes or rows in one call; a server's limit is 64 MB."""


@dataclass
class _ChannelRanges:
    """Minimum and maximum of each channel in the pixels added so far, float64 (c, 2)."""

    found: NDArray[np.float64]

    @classmethod
    def of(cls, channels: int) -> _ChannelRanges:
        return cls(np.array([[np.inf, -np.inf]] * channels))

    def add(self, channel: int, pixels: NDArray[Any]) -> None:
        low, high = self.found[channel]
        self.found[channel] = min(low, pixels.min()), max(high, pixels.max())


def write_pixels(store: Any, reader: PixelReader) -> NDArray[np.float64]:
    """Write an image's pixels into its open RawPixelsStore; return minimum and maximum of each channel, (c, 2)."""
    ranges = _ChannelRanges.of(reader.info.shape[4])
    if store.requiresPixelsPyramid():
        width, height = store.getTileSize()
        _write_tiles(store, reader, ranges, int(width), int(height))
    else:
        _write_planes(store, reader, ranges)
    return ranges.found


def _write_tiles(store: Any, reader: PixelReader, ranges: _ChannelRanges, width: int, height: int) -> None:
    """Write tiles in the order t, c, z, y, x, which a server requires."""
    t_end, z_end, y_end, x_end, c_end = reader.info.shape
    for t in range(t_end):
        for c in range(c_end):
            for z in range(z_end):
                for y in range(0, y_end, height):
                    y_to = min(y + height, y_end)
                    rows = reader.read(Region((t, z, y, 0, c), (t + 1, z + 1, y_to, x_end, c + 1)))[0, 0, :, :, 0]
                    ranges.add(c, rows)
                    for x in range(0, x_end, width):
                        tile = rows[:, x : x + width]
                        store.setTile(_big_endian(tile), z, c, t, x, y, tile.shape[1], tile.shape[0])


def _write_planes(store: Any, reader: PixelReader, ranges: _ChannelRanges) -> None:
    """Write whole planes, or bands of rows of larger ones, at their offsets in OMERO's order XYZCT."""
    shape, itemsize = reader.info.shape, np.dtype(reader.info.dtype).itemsize
    for region in _split_into_bands(shape, itemsize):
        t, z, y = region.start[:3]
        rows = reader.read(region)[0, 0]
        for c in range(shape[4]):
            part = rows[..., c]
            ranges.add(c, part)
            if part.shape[0] == shape[2]:
                store.setPlane(_big_endian(part), z, c, t)
            else:
                data = _big_endian(part)
                store.setRegion(len(data), _row_offset(shape, itemsize, t, z, y, c), data)


def _split_into_bands(shape: Shape5, itemsize: int) -> Iterator[Region]:
    """Yield bands of rows of one plane in all channels, such that a band of one channel fits a message."""
    t_end, z_end, y_end, x_end, c_end = shape
    rows = max(1, min(y_end, LARGEST_MESSAGE // (x_end * itemsize)))
    for t in range(t_end):
        for z in range(z_end):
            for y in range(0, y_end, rows):
                yield Region((t, z, y, 0, 0), (t + 1, z + 1, min(y + rows, y_end), x_end, c_end))


def _row_offset(shape: Shape5, itemsize: int, t: int, z: int, y: int, c: int) -> int:
    """Return the byte offset of a row in the file of an image's pixels."""
    _, z_end, y_end, x_end, c_end = shape
    return ((((t * c_end + c) * z_end + z) * y_end) + y) * x_end * itemsize


def _big_endian(pixels: NDArray[Any]) -> bytes:
    return pixels.astype(pixels.dtype.newbyteorder(">")).tobytes()
