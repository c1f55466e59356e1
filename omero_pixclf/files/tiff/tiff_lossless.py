"""Checks that all decoders give the same pixels for a TIFF file, and that all of the image is in this file.

They are used if pixels are read from a file instead of from a server with its own decoder: everything that depends on
the decoder is left to the server.
"""

from __future__ import annotations

import xml.etree.ElementTree as ET
from typing import Any

from omero_pixclf.errors import ImageError
from omero_pixclf.files.tiff.ome_xml import parse_ome_xml

__all__ = ["ServerOnlyError", "check_lossless", "check_single_file"]

_LOSSLESS = {1: "none", 5: "LZW", 8: "deflate", 32773: "packbits", 32946: "deflate", 34925: "LZMA", 50000: "zstd"}
_PHOTOMETRICS = (1, 2)  # grey with black as 0, and RGB: others are turned into colours, or not, as a reader likes
_DEPTHS = (8, 16, 32, 64)


class ServerOnlyError(ImageError):
    """A file that only the server can read, or that it may decode differently; the file is not damaged."""


def check_single_file(tiff: Any) -> None:
    """Refuse an OME-TIFF in several files. Call it before reading series: OME metadata makes tifffile open other files.

    Raises
    ------
    ServerOnlyError
        If pixels or the metadata are in other files.
    """
    root = parse_ome_xml(tiff.ome_metadata) if tiff.ome_metadata else None
    if root is None:
        return
    own = {root.get("UUID")} - {None}
    for element in root.iter():
        kind = element.tag.rpartition("}")[2]
        if kind == "BinaryOnly":
            raise ServerOnlyError("an OME-TIFF with its metadata in another file")
        if kind == "UUID" and not _is_own(element, own, tiff.filename):
            raise ServerOnlyError("one of several OME-TIFF files of an image")


def _is_own(element: ET.Element, own: set[str | None], name: str) -> bool:
    return element.text in own or element.get("FileName", name).lower() == name.lower()


def check_lossless(name: str, series: Any) -> None:
    """Refuse a series whose pixels depend on the decoder.

    Raises
    ------
    ServerOnlyError
        For lossy compression, palettes, inverted grey and packed bits.
    ImageError
        If planes are missing in the file.
    """
    page = series.keyframe
    if int(page.compression) not in _LOSSLESS:
        raise ServerOnlyError(f"{_name_of(page.compression)} compression, which not every reader decodes alike")
    if int(page.photometric) not in _PHOTOMETRICS:
        raise ServerOnlyError(f"{_name_of(page.photometric)} pixels, which not every reader gives alike")
    if page.bitspersample not in _DEPTHS or page.sampleformat not in (1, 2, 3):
        raise ServerOnlyError(f"{page.bitspersample} bits per sample, which not every reader gives alike")
    if series.kind == "ome" and any(p is None for p in series.pages):
        raise ImageError(f"{name}: does not hold all planes of its image")


def _name_of(value: Any) -> str:
    return str(getattr(value, "name", value))
