"""PNG files, read and written through imagecodecs; JPEG, BMP and GIF files, read through Pillow."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from omero_pixclf.errors import ImageError, OutputError
from omero_pixclf.files.atomic import write_bytes
from omero_pixclf.files.axes import axes_from_keys
from omero_pixclf.files.decoder_warnings import decoder_errors, raise_decoder_warnings
from omero_pixclf.files.export.output_array import OutputArray
from omero_pixclf.files.stored_array import StoredArray

__all__ = ["check_png", "open_png", "png_buffer_bytes", "save_png"]

_MOST_CHANNELS = 4  # grey, grey and alpha, RGB, RGBA
_COMPRESSION = 1  # of 0 to 9: higher levels take longer for hardly smaller files, see docs/development/file-formats.md
_OVERHEAD = 64 << 10  # bytes of a file beside its compressed pixels: more than its headers
_WITH_COLOURS = {"1": "L", "P": "RGB", "PA": "RGBA"}  # Pillow's modes of two values and of palettes


@contextmanager
def open_png(path: Path) -> Iterator[StoredArray]:
    """Open a PNG, JPEG, BMP or GIF file as an array with the axes ``yxc``; palettes become colours, as in ilastik.

    The pixels are decoded at once and stay in memory. PNG gives uint8 or uint16 as the file has it.

    Raises
    ------
    ImageError
        If the file cannot be read, is incomplete, or holds several frames.
    """
    from PIL import Image

    try:
        with raise_decoder_warnings(path), Image.open(path) as image:
            _check_frames(path, image)
            array = _decode_png(path, image) if image.format == "PNG" else _decode_by_pillow(image)
    except Image.DecompressionBombError as error:
        raise ImageError(
            f"{path}: too large for a picture, which is decoded at once: {error} Save it as TIFF"
        ) from error
    except decoder_errors() as error:
        raise ImageError(f"{path}: not a readable picture: {error}; copy or save it again") from error
    pixels = array[..., np.newaxis] if array.ndim == 2 else array
    yield StoredArray(
        name=str(path),
        shape=pixels.shape,
        dtype=pixels.dtype.newbyteorder("="),
        axes=axes_from_keys("yxc"),
        read=lambda slices: pixels[slices],
        cache_bytes=pixels.nbytes,
    )


def _check_frames(path: Path, image: Any) -> None:
    """Refuse an animation, of which only the first frame would be read. Previews in a JPEG file are no frames."""
    frames = getattr(image, "n_frames", 1)
    if frames > 1 and image.format not in ("MPO", "JPEG"):
        raise ImageError(f"{path}: holds {frames} frames, expected one; save them as a TIFF stack")


def _decode_png(path: Path, image: Any) -> NDArray[Any]:
    """Decode a PNG file whose header Pillow has read.

    libpng turns a transparent colour (chunk tRNS) into an alpha channel. That channel is wanted for palettes only, as
    in ilastik.
    """
    import imagecodecs

    pixels: NDArray[Any] = imagecodecs.png_decode(path.read_bytes())
    if "transparency" not in image.info or image.mode == "P":
        return pixels
    return pixels[..., 0] if pixels.shape[-1] == 2 else pixels[..., :-1]


def _decode_by_pillow(image: Any) -> NDArray[Any]:
    mode = _WITH_COLOURS.get(image.mode, image.mode)
    if image.mode == "P" and "transparency" in image.info:
        mode = "RGBA"
    return np.asarray(image if mode == image.mode else image.convert(mode))


def save_png(path: Path, pixels: NDArray[Any]) -> None:
    """Write ``(y, x)`` or ``(y, x, c)`` pixels, uint8 or uint16, with one to four channels.

    The encoded file is held in memory before it is written: see `png_buffer_bytes`.

    Raises
    ------
    OutputError
        If PNG cannot hold these pixels or the file cannot be written.
    """
    import imagecodecs

    check_png(path, pixels.shape[2] if pixels.ndim == 3 else 1, pixels.dtype)
    picture = pixels[..., 0] if pixels.ndim == 3 and pixels.shape[2] == 1 else pixels
    buffer = bytearray(picture.nbytes + picture.nbytes // 100 + len(picture) + _OVERHEAD)
    write_bytes(path, imagecodecs.png_encode(np.ascontiguousarray(picture), level=_COMPRESSION, out=buffer))


def check_png(path: Path, channels: int, dtype: np.dtype[Any]) -> None:
    """Refuse pixels that PNG cannot hold, before anything is computed.

    Raises
    ------
    OutputError
        If PNG does not have this number of channels or this type.
    """
    if dtype not in (np.uint8, np.uint16) or not 1 <= channels <= _MOST_CHANNELS:
        raise OutputError(
            f"{path}: PNG holds 1 to 4 channels of uint8 or uint16, the result has {channels} of {dtype}; "
            "see --export_dtype and --export_drange"
        )


def png_buffer_bytes(target: OutputArray) -> int:
    """Return the memory in bytes that writing a picture takes at most: its encoded file, and a copy in another order.

    Noise does not compress, so an encoded file may be as large as its pixels. The copy is made if the channels are
    not the last axis.
    """
    in_order = sorted(target.keys, key="tzyxc".index) == list(target.keys)
    return target.nbytes * (1 if in_order else 2)
