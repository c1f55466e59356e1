"""Reader of ETS files, the tiles of cellSens' virtual slides.

A file begins with two headers: ``SIS`` has the number of axes of a tile and the offset of the tiles' directory, ``ETS``
the storage of samples and the sizes of a tile and of the image. Axes are x, y, those that the ``.vsi`` names, and the
resolution level. All numbers are little-endian.
"""

from __future__ import annotations

import struct
import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from omero_pixclf.errors import ImageError

__all__ = ["EtsFile"]

_SAMPLES = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 9: "f4", 10: "f8"}
_ENTRY_TAIL = struct.Struct("<qii")  # a tile's offset, bytes and number
_SIZES_AT = 47  # in 4-byte words from the second header: number of sizes, then the sizes themselves
_CACHED_TILES = 64
_MOST_TILES = 50_000_000


@dataclass(frozen=True)
class _Header:
    """Values of the two headers; ``sizes`` are the image's along its axes (without level), if given."""

    axes: int
    directory: int
    tiles: int
    dtype: np.dtype[Any]
    samples: int
    compression: int
    tile: tuple[int, int]
    sizes: tuple[int, ...]


class EtsFile:
    """An open ETS file; the caller closes it.

    Attributes
    ----------
    dtype, samples
        Type of a sample, and samples per pixel (3 in colour).
    sizes
        Sizes of the full image along x, y and the other axes.
    levels
        Width and height of each resolution, the largest first.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = path.open("rb")
        try:
            self._header = self._read_header()
            self._tiles = self._read_directory()
        except (struct.error, OSError, KeyError, ValueError) as error:
            self._file.close()
            raise ImageError(f"{path.name}: not a readable ETS file: {error}") from error
        self._lock = threading.Lock()
        self._cache: OrderedDict[tuple[int, ...], NDArray[Any]] = OrderedDict()
        self.dtype = self._header.dtype.newbyteorder("=")
        self.samples = self._header.samples
        self.sizes = self._image_sizes()
        width, height = self.sizes[:2]
        count = 1 + max(place[-1] for place in self._tiles)
        self.levels = tuple((max(1, -(-width >> i)), max(1, -(-height >> i))) for i in range(count))

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    # ---- headers ---------------------------------------------------------------------------------------------
    def _read_header(self) -> _Header:
        head = self._file.read(44)
        if head[:4] != b"SIS\0":
            raise ValueError("it does not begin with SIS")
        axes, second, _, _, directory, tiles = struct.unpack_from("<iqiiqi", head, 12)
        self._file.seek(second)
        words = self._file.read(4 * (_SIZES_AT + 1 + axes))
        if words[:4] != b"ETS\0" or not 3 <= axes <= 16 or not 1 <= tiles <= _MOST_TILES:
            raise ValueError(f"{axes} axes and {tiles} tiles")
        _, kind, samples, _, compression, _, width, height = struct.unpack_from("<8i", words, 4)
        if min(samples, width, height) < 1:
            raise ValueError(f"tiles of {width} x {height} x {samples}")
        return _Header(
            axes, directory, tiles, np.dtype("<" + _SAMPLES[kind]), samples, compression, (width, height), _sizes(words)
        )

    def _read_directory(self) -> dict[tuple[int, ...], tuple[int, int]]:
        """Return offset and bytes of each tile by (position along each axis …, level)."""
        head = self._header
        size = 4 + 4 * head.axes + _ENTRY_TAIL.size
        self._file.seek(head.directory)
        data = self._file.read(size * head.tiles)
        if len(data) < size * head.tiles:
            raise ValueError("its directory of tiles is cut off")
        found = {}
        for at in range(0, len(data), size):
            place = struct.unpack_from(f"<{head.axes}i", data, at + 4)
            found[place] = _ENTRY_TAIL.unpack_from(data, at + 4 + 4 * head.axes)[:2]
        return found

    def _image_sizes(self) -> tuple[int, ...]:
        """Return the image's sizes: those in the header if they match the tiles, else whole tiles."""
        head = self._header
        most = [1 + max(place[i] for place in self._tiles if place[-1] == 0) for i in range(head.axes - 1)]
        padded = (most[0] * head.tile[0], most[1] * head.tile[1], *most[2:])
        given = head.sizes[: len(padded)]
        fits = len(given) == len(padded) and all(
            0 <= whole - size < (head.tile[i] if i < 2 else 1)
            for i, (size, whole) in enumerate(zip(given, padded, strict=True))
        )
        return given if fits else padded

    # ---- pixels ----------------------------------------------------------------------------------------------
    def rows(self, place: tuple[int, ...], level: int, rows: slice) -> NDArray[Any]:
        """Rows of a plane, ``(rows, x, samples)``; ``place`` are the indices along the further axes.

        Missing tiles are black.

        Raises
        ------
        ImageError
            A tile cannot be decoded.
        """
        width, _ = self.levels[level]
        tile_width, tile_height = self._header.tile
        made = np.zeros((rows.stop - rows.start, width, self.samples), self.dtype)
        for tile_y in range(rows.start // tile_height, -(-rows.stop // tile_height)):
            top = max(rows.start, tile_y * tile_height)
            bottom = min(rows.stop, (tile_y + 1) * tile_height)
            for tile_x in range(-(-width // tile_width)):
                pixels = self._tile((tile_x, tile_y, *place, level))
                if pixels is not None:
                    left = tile_x * tile_width
                    part = pixels[top - tile_y * tile_height : bottom - tile_y * tile_height, : width - left]
                    made[top - rows.start : top - rows.start + part.shape[0], left : left + part.shape[1]] = part
        return made

    def _tile(self, place: tuple[int, ...]) -> NDArray[Any] | None:
        with self._lock:
            if place in self._cache:
                self._cache.move_to_end(place)
                return self._cache[place]
            if place not in self._tiles:
                return None
            offset, size = self._tiles[place]
            self._file.seek(offset)
            data = self._file.read(size)
            pixels = self._decode(place, data)
            self._cache[place] = pixels
            if len(self._cache) > _CACHED_TILES:
                self._cache.popitem(last=False)
            return pixels

    def _decode(self, place: tuple[int, ...], data: bytes) -> NDArray[Any]:
        head = self._header
        try:
            pixels = _decoder(head.compression)(data)
            if pixels.dtype == np.uint8 and pixels.ndim == 1:  # stored uncompressed
                pixels = pixels.view(head.dtype).reshape(head.tile[1], head.tile[0], head.samples)
        except (RuntimeError, ValueError, KeyError, TypeError) as error:
            raise ImageError(f"{self.path.name}: tile {place} cannot be decoded: {error}") from error
        shaped = pixels if pixels.ndim == 3 else pixels[..., np.newaxis]
        return shaped.astype(self.dtype, copy=False)


def _sizes(words: bytes) -> tuple[int, ...]:
    """Return the sizes along all axes except the level, if the header has them."""
    count = struct.unpack_from("<i", words, 4 * _SIZES_AT)[0] if len(words) >= 4 * (_SIZES_AT + 1) else 0
    room = len(words) // 4 - _SIZES_AT - 1
    return struct.unpack_from(f"<{count}i", words, 4 * (_SIZES_AT + 1)) if 2 <= count <= room else ()


def _decoder(compression: int) -> Callable[[bytes], NDArray[Any]]:
    import imagecodecs

    known: dict[int, Callable[[bytes], NDArray[Any]]] = {
        0: lambda data: np.frombuffer(data, np.uint8),
        2: imagecodecs.jpeg_decode,
        3: imagecodecs.jpeg2k_decode,
        5: imagecodecs.ljpeg_decode,
        8: imagecodecs.png_decode,
        9: imagecodecs.bmp_decode,
    }
    return known[compression]
