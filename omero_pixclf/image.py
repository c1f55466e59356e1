"""An image's metadata (axes, shape, channels, place in its container), regions, and the protocol to read pixels.

Inside omero_pixclf every image has five axes in ilastik's order, ``(t, z, y, x, c)``. Sources and sinks convert at
the boundary; nothing else does.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from math import prod
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "AXES",
    "Array",
    "ArrayReader",
    "BoolArray",
    "ChannelReader",
    "Float32Array",
    "Float64Array",
    "ImageInfo",
    "ImageLocation",
    "Int32Array",
    "Int64Array",
    "PixelArray",
    "PixelReader",
    "Region",
    "Shape5",
    "UInt8Array",
    "UInt32Array",
    "parse_id",
    "split_into_bands",
    "well_name",
]

Array = NDArray[Any]
BoolArray = NDArray[np.bool_]
Float32Array = NDArray[np.float32]
Float64Array = NDArray[np.float64]
Int32Array = NDArray[np.int32]
Int64Array = NDArray[np.int64]
UInt8Array = NDArray[np.uint8]
UInt32Array = NDArray[np.uint32]

AXES = "tzyxc"
Shape5 = tuple[int, int, int, int, int]
_LONGEST_ID = 19  # digits of 2**63


def parse_id(text: str) -> int | None:
    """The id of an OMERO object, or None where the text is none.

    Ids are 64-bit numbers in ASCII digits: other scripts' digits and numbers that no database holds are none.

    >>> parse_id("51"), parse_id("²"), parse_id("9" * 5000), parse_id("-1")
    (51, None, None, None)
    """
    if not (text.isascii() and text.isdecimal() and len(text) <= _LONGEST_ID):
        return None
    return int(text) if int(text) < 2**63 else None


@dataclass(frozen=True)
class Region:
    """A box in an image, ``start`` inclusive and ``stop`` exclusive, both in ``(t, z, y, x, c)``."""

    start: Shape5
    stop: Shape5

    @classmethod
    def whole(cls, shape: Shape5) -> Region:
        """The box that is the entire image of this shape."""
        return cls((0, 0, 0, 0, 0), shape)

    @property
    def shape(self) -> Shape5:
        """Extents in ``(t, z, y, x, c)``."""
        t, z, y, x, c = (b - a for a, b in zip(self.start, self.stop, strict=True))
        return (t, z, y, x, c)

    @property
    def slices(self) -> tuple[slice, ...]:
        """Five slices that cut this box out of an array of the image."""
        return tuple(slice(a, b) for a, b in zip(self.start, self.stop, strict=True))


def split_into_bands(shape: Shape5, itemsize: int, *, most: int = 2**26, rows: int = 64) -> Iterator[Region]:
    """Boxes that tile an image, whole where it has at most ``most`` bytes, else some rows of a plane, all channels.

    Bands start at multiples of ``rows``, which is also the least that a band has.
    """
    t, z, y, x, c = shape
    if prod(shape) * itemsize <= most:
        yield Region.whole(shape)
        return
    step = max(1, most // max(1, x * c * itemsize * rows)) * rows
    for n in range(t):
        for plane in range(z):
            for row in range(0, y, step):
                yield Region((n, plane, row, 0, 0), (n + 1, plane + 1, min(row + step, y), x, c))


def well_name(row: int, column: int) -> str:
    """A well's name from its row and column, from 0.

    >>> well_name(1, 2), well_name(26, 0)
    ('B3', 'AA1')
    """
    letters = ""
    rest = row + 1
    while rest:
        rest, digit = divmod(rest - 1, 26)
        letters = chr(ord("A") + digit) + letters
    return f"{letters}{column + 1}"


@dataclass(frozen=True)
class ImageLocation:
    """Where an image lies: the container that gets its tables and, on a plate, its well.

    Attributes
    ----------
    container
        ``"Dataset:7"``, ``"Plate:3"``, ``"Image:51"`` (an orphan is its own container) or a folder's path.
    name
        The container's name.
    well, well_id, field, acquisition
        ``"B3"``, the Well's id, the 1-based field number and the plate acquisition's name; None off plates.
    plate
        Rows and columns of the plate, where the source says so.
    """

    container: str
    name: str = ""
    well: str | None = None
    well_id: int | None = None
    field: int | None = None
    acquisition: str | None = None
    plate: tuple[int, int] | None = None


@dataclass(frozen=True)
class ImageInfo:
    """What is known of an image before its pixels are read.

    Attributes
    ----------
    key
        ``"Image:51"`` or a file's path; unique within its source.
    shape
        Extents in ``(t, z, y, x, c)``.
    dtype
        The numpy name of the stored type, such as ``"uint16"``.
    channels
        One name per channel, possibly empty strings.
    pixel_size_um
        Micrometres per pixel along ``(z, y, x)``; None where the source does not say.
    fingerprint
        What identifies these very pixels (OMERO: pixels id and, where known, their SHA-1), for the run's identity.
    problem
        Why it cannot be read, known when it was listed; "" for an image. A plan refuses it, so that it counts.
    other_places
        Further places in the same container: of an image that several wells share.
    made_by
        The id of the run that made this image and did not find it by its own name: a result, no input. Else empty.
    """

    key: str
    name: str
    shape: Shape5
    dtype: str
    channels: tuple[str, ...]
    pixel_size_um: tuple[float | None, float | None, float | None] = (None, None, None)
    place: ImageLocation = ImageLocation("")
    fingerprint: str = ""
    problem: str = ""
    other_places: tuple[ImageLocation, ...] = ()
    made_by: str = ""


class PixelReader(Protocol):
    """An open image. ``read`` may be called from several threads; the owner closes it."""

    @property
    def info(self) -> ImageInfo:
        """What the image is."""

    def read(self, region: Region) -> NDArray[Any]:
        """The pixels of a region as a C-contiguous ``(t, z, y, x, c)`` array in native byte order."""


class PixelArray(Protocol):
    """Pixels ``(t, z, y, x, c)`` that are had by slices: an array in memory, or one that lies in files."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Extents."""

    @property
    def dtype(self) -> Any:
        """Numpy's."""

    def __getitem__(self, place: Any, /) -> NDArray[Any]: ...


@dataclass(frozen=True)
class ArrayReader:
    """An image that is already in memory, or in files that are read by slices."""

    info: ImageInfo
    pixels: PixelArray

    def read(self, region: Region) -> NDArray[Any]:
        """The pixels of a region, ``(t, z, y, x, c)``."""
        return np.ascontiguousarray(self.pixels[region.slices])


@dataclass(frozen=True)
class ChannelReader:
    """Another reader with some of its channels, in the order wanted (0-based)."""

    reader: PixelReader
    channels: tuple[int, ...]

    @property
    def info(self) -> ImageInfo:
        """The image's facts, reduced to the chosen channels."""
        whole = self.reader.info
        names = tuple(whole.channels[c] for c in self.channels)
        return replace(whole, shape=(*whole.shape[:4], len(names)), channels=names)

    def read(self, region: Region) -> NDArray[Any]:
        """The pixels of a region; its c range counts the chosen channels."""
        wanted = self.channels[region.start[4] : region.stop[4]]
        parts = [self.reader.read(Region((*region.start[:4], c), (*region.stop[:4], c + 1))) for c in wanted]
        return np.concatenate(parts, axis=4) if len(parts) > 1 else parts[0]
