"""Reading and writing the planes of a Pixels object in its file, addressed as OMERO addresses them.

Samples are big-endian, in the order XYZCT. The file is never memory-mapped: a full disk or a truncated file must cause
an exception, not a signal.
"""

from __future__ import annotations

import hashlib
import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from omero_pixclf.embedded.server.exceptions import api_usage_error
from omero_pixclf.embedded.storage.data_paths import read_at, write_at

__all__ = ["MAX_PLANE_SIDE", "PixelBuffer", "PixelLayout", "sample_type"]

MAX_PLANE_SIDE = 3192  # larger planes are 'big images', which OMERO handles by tiles
_TILE_SIDE = 256
_TILE_BYTES = 1 << 20
_SAMPLES = {
    "int8": ">i1",
    "uint8": ">u1",
    "int16": ">i2",
    "uint16": ">u2",
    "int32": ">i4",
    "uint32": ">u4",
    "float": ">f4",
    "double": ">f8",
}


def sample_type(pixels_type: str) -> np.dtype[Any]:
    """Return the big-endian dtype of a pixel type; ApiUsageException for complex and bit."""
    if pixels_type not in _SAMPLES:
        raise api_usage_error(f"Unknown type: '{pixels_type}'")
    return np.dtype(_SAMPLES[pixels_type])


@dataclass(frozen=True)
class PixelLayout:
    """Sizes of a Pixels object and the byte offsets of its parts."""

    x: int
    y: int
    z: int
    c: int
    t: int
    pixels_type: str

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the samples."""
        return sample_type(self.pixels_type)

    @property
    def width(self) -> int:
        """Bytes of a sample."""
        return self.dtype.itemsize

    @property
    def row_size(self) -> int:
        """Bytes of a row."""
        return self.x * self.width

    @property
    def plane_size(self) -> int:
        """Bytes of a plane."""
        return self.row_size * self.y

    @property
    def stack_size(self) -> int:
        """Bytes of all planes along z."""
        return self.plane_size * self.z

    @property
    def timepoint_size(self) -> int:
        """Bytes of all stacks of a time point."""
        return self.stack_size * self.c

    @property
    def total_size(self) -> int:
        """Bytes of everything."""
        return self.timepoint_size * self.t

    @property
    def is_big(self) -> bool:
        """Whether OMERO's server would store a pyramid."""
        return self.x * self.y > MAX_PLANE_SIDE**2 and self.pixels_type not in ("float", "double")

    @property
    def tile_size(self) -> tuple[int, int]:
        """Width and height of the tiles that are read fastest."""
        if self.is_big:
            return min(self.x, _TILE_SIDE), min(self.y, _TILE_SIDE)
        return self.x, max(1, min(self.y, _TILE_BYTES // self.width // self.x))

    def check(self, **coordinates: int) -> None:
        """Raise ApiUsageException for a coordinate outside of the image."""
        for axis in "xyzct":
            value, size = coordinates.get(axis), getattr(self, axis)
            if value is not None and not 0 <= value < size:
                name = axis.upper()
                raise api_usage_error(f"{name} '{value}' greater than size{name} '{size}'.")

    def offset(self, y: int = 0, z: int = 0, c: int = 0, t: int = 0) -> int:
        """Return the byte offset of a row; ApiUsageException for coordinates outside."""
        self.check(y=y, z=z, c=c, t=t)
        return y * self.row_size + z * self.plane_size + c * self.stack_size + t * self.timepoint_size

    def check_cube(self, offset: Sequence[int], size: Sequence[int], step: Sequence[int]) -> None:
        """Raise ApiUsageException for a hypercube outside of the image."""
        if not len(offset) == len(size) == len(step) == 5:
            raise api_usage_error("Invalid List length: each list must contain 5 elements XYZCT")
        self.check(**dict(zip("xyzct", offset, strict=True)))
        self.check(**{a: o + s - 1 for a, o, s in zip("xyzct", offset, size, strict=True)})
        if min(step) < 1:
            raise api_usage_error("Invalid step size: steps sizes must be 1 or greater")


class PixelBuffer:
    """An open pixel file; a writable buffer creates the file at the first access."""

    def __init__(self, path: Path, layout: PixelLayout, *, writable: bool) -> None:
        self.path = path
        self.layout = layout
        self.writable = writable
        self._descriptor: int | None = None

    def close(self) -> None:
        """Close the file."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def _file(self) -> int:
        if self._descriptor is None:
            if not self.writable:
                self._descriptor = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
            else:
                self.path.parent.mkdir(parents=True, exist_ok=True)
                self._descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
                os.ftruncate(self._descriptor, self.layout.total_size)
        return self._descriptor

    # ---- reading ---------------------------------------------------------------------------------------------
    def region(self, offset: int, size: int) -> bytes:
        """Return bytes of the file; zeros for bytes not written yet."""
        if self._descriptor is None and not self.writable and not self.path.exists():
            return bytes(size)
        return read_at(self._file(), size, offset)

    def plane(self, z: int, c: int, t: int) -> bytes:
        """Return the bytes of a plane."""
        return self.region(self.layout.offset(0, z, c, t), self.layout.plane_size)

    def plane_array(self, z: int, c: int, t: int) -> NDArray[Any]:
        """Return a plane as a read-only, big-endian (y, x) array."""
        layout = self.layout
        return np.frombuffer(self.plane(z, c, t), layout.dtype).reshape(layout.y, layout.x)

    def xz_array(self, y: int, c: int, t: int) -> NDArray[Any]:
        """Return the rows at one y of all planes along z, as (z, x)."""
        layout = self.layout
        data = self.cube((0, y, 0, c, t), (layout.x, 1, layout.z, 1, 1), (1,) * 5)
        return np.frombuffer(data, layout.dtype).reshape(layout.z, layout.x)

    def zy_array(self, x: int, c: int, t: int) -> NDArray[Any]:
        """Return the columns at one x of all planes along z, as (y, z)."""
        layout = self.layout
        data = self.cube((x, 0, 0, c, t), (1, layout.y, layout.z, 1, 1), (1,) * 5)
        return np.frombuffer(data, layout.dtype).reshape(layout.z, layout.y).T

    def column(self, x: int, z: int, c: int, t: int) -> bytes:
        """Return the bytes of a column of a plane."""
        self.layout.check(x=x)
        return self.plane_array(z, c, t)[:, x].tobytes()

    def cube(self, offset: Sequence[int], size: Sequence[int], step: Sequence[int]) -> bytes:
        """Return a hypercube as bytes; offset, size and step along x, y, z, c, t."""
        layout = self.layout
        layout.check_cube(offset, size, step)
        xs, ys, zs, cs, ts = (range(o, o + s, p) for o, s, p in zip(offset, size, step, strict=True))
        if len(xs) == layout.x and len(ys) == layout.y and zs.step == 1:  # whole planes are contiguous
            stacks = [self.region(layout.offset(0, zs[0], c, t), len(zs) * layout.plane_size) for t in ts for c in cs]
            return stacks[0] if len(stacks) == 1 else b"".join(stacks)
        planes = [self._rows(xs, ys, z, c, t) for t in ts for c in cs for z in zs]
        return planes[0] if len(planes) == 1 else b"".join(planes)

    def _rows(self, xs: range, ys: range, z: int, c: int, t: int) -> bytes:
        """Return part of a plane; only the rows needed are read."""
        layout = self.layout
        height = ys[-1] - ys[0] + 1
        data = self.region(layout.offset(ys[0], z, c, t), height * layout.row_size)
        if len(xs) == layout.x and len(ys) == height:
            return data
        rows = np.frombuffer(data, layout.dtype).reshape(height, layout.x)
        return rows[:: ys.step, xs[0] : xs[-1] + 1 : xs.step].tobytes()

    def digest(self) -> bytes:
        """Return the SHA-1 of all planes in their order."""
        made = hashlib.sha1(usedforsecurity=False)
        layout, block = self.layout, 1 << 22
        for number in range(math.ceil(layout.total_size / block)):
            made.update(self.region(number * block, min(block, layout.total_size - number * block)))
        return made.digest()

    # ---- writing ---------------------------------------------------------------------------------------------
    def check_writable(self) -> None:
        """Raise ApiUsageException if the pixels were written before."""
        if not self.writable:
            raise api_usage_error("Write-method not permitted.")

    def write(self, offset: int, data: bytes) -> None:
        """Write bytes at an offset of the file."""
        self.check_writable()
        if offset < 0 or offset + len(data) > self.layout.total_size:
            raise api_usage_error(
                f"{len(data)} bytes at {offset} do not fit into {self.layout.total_size} bytes of pixels"
            )
        write_at(self._file(), data, offset)

    def write_tile(self, data: bytes, z: int, c: int, t: int, x: int, y: int, w: int, h: int) -> None:
        """Write part of a plane."""
        self.check_writable()
        layout = self.layout
        layout.check_cube((x, y, z, c, t), (w, h, 1, 1, 1), (1,) * 5)
        size = w * layout.width
        for row in range(h):
            start = layout.offset(y + row, z, c, t) + x * layout.width
            write_at(self._file(), data[row * size : (row + 1) * size], start)
