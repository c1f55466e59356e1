"""PNG images: read through Pillow, written row by row."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from omero_pixclf.errors import ImageError, OutputError
from omero_pixclf.files.atomic import write_atomically
from omero_pixclf.files.axes import axes_from_keys
from omero_pixclf.files.decoder_warnings import decoder_errors
from omero_pixclf.files.stored_array import StoredArray

__all__ = ["check_png", "open_png", "save_png"]

_COLOUR_TYPES = {1: 0, 2: 4, 3: 2, 4: 6}  # channels: grey, grey + alpha, RGB, RGBA (PNG specification, 11.2.2)
_PLAIN_MODES = {"1": "L", "P": "RGB", "PA": "RGBA"}


@contextmanager
def open_png(path: Path) -> Iterator[StoredArray]:
    """A PNG (or another picture that Pillow reads) as ``yxc``; palettes become colours, as in ilastik.

    Raises
    ------
    ImageError
        Where the file cannot be read, holds several frames, or 16-bit colour, which Pillow would shorten to 8 bits.
    """
    from PIL import Image

    try:
        with Image.open(path) as image:
            _refuse_deep_colour(path)
            _refuse_frames(path, image)
            mode = _PLAIN_MODES.get(image.mode, image.mode)
            if image.mode == "P" and "transparency" in image.info:
                mode = "RGBA"
            array = np.asarray(image if mode == image.mode else image.convert(mode))
    except Image.DecompressionBombError as error:
        raise ImageError(f"{path}: too large for a picture, which is read whole: {error} Save it as TIFF") from error
    except decoder_errors() as error:
        raise ImageError(f"{path}: not a readable picture: {error}; copy or save it again") from error
    if array.dtype == np.int32:  # Pillow's type for 16-bit grey in some versions
        array = array.astype(np.uint16)
    pixels = array[..., np.newaxis] if array.ndim == 2 else array
    yield StoredArray(
        str(path), pixels.shape, pixels.dtype.newbyteorder("="), axes_from_keys("yxc"), lambda s: pixels[s]
    )


def _refuse_frames(path: Path, image: Any) -> None:
    """Refuse an animation, of which only the first frame would be read; previews within a JPEG are none."""
    frames = getattr(image, "n_frames", 1)
    if frames > 1 and image.format not in ("MPO", "JPEG"):
        raise ImageError(f"{path}: holds {frames} frames, expected one; save them as a TIFF stack")


def _refuse_deep_colour(path: Path) -> None:
    with path.open("rb") as file:
        head = file.read(26)
    if head[:8] == b"\x89PNG\r\n\x1a\n" and head[24] == 16 and head[25] != 0:
        raise ImageError(f"{path}: 16-bit colour PNG cannot be read without loss; save it as TIFF")


def save_png(path: Path, pixels: NDArray[Any]) -> None:
    """Write ``(y, x)`` or ``(y, x, c)`` pixels, uint8 or uint16, one to four channels.

    Raises
    ------
    OutputError
        Where PNG cannot hold these pixels or the file cannot be written.
    """
    channels = pixels.shape[2] if pixels.ndim == 3 else 1
    check_png(path, channels, pixels.dtype)
    with write_atomically(path) as part, part.open("wb") as file:
        _write(file, pixels, _COLOUR_TYPES[channels])


def check_png(path: Path, channels: int, dtype: np.dtype[Any]) -> None:
    """Refuse, before anything is computed, what PNG cannot hold.

    Raises
    ------
    OutputError
        Where PNG cannot hold so many channels of this type.
    """
    if dtype not in (np.uint8, np.uint16) or channels not in _COLOUR_TYPES:
        raise OutputError(
            f"{path}: PNG holds 1 to 4 channels of uint8 or uint16, the result has {channels} of {dtype}; "
            "see --export_dtype and --export_drange"
        )


def _write(file: BinaryIO, pixels: NDArray[Any], colour_type: int) -> None:
    height, width = pixels.shape[:2]
    file.write(b"\x89PNG\r\n\x1a\n")
    depth = pixels.dtype.itemsize * 8
    _chunk(file, b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour_type, 0, 0, 0))
    packer = zlib.compressobj(6)
    rows = max(1, (4 << 20) // max(1, pixels[0].nbytes))
    for top in range(0, height, rows):
        band = np.ascontiguousarray(pixels[top : top + rows]).astype(pixels.dtype.newbyteorder(">"), copy=False)
        flat = band.reshape(len(band), -1).view(np.uint8)
        filtered = np.zeros((len(band), flat.shape[1] + 1), np.uint8)  # filter type 0 before every row
        filtered[:, 1:] = flat
        _chunk(file, b"IDAT", packer.compress(filtered.data))
    _chunk(file, b"IDAT", packer.flush())
    _chunk(file, b"IEND", b"")


def _chunk(file: BinaryIO, kind: bytes, data: bytes) -> None:
    if data or kind == b"IEND":
        file.write(struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)))
