"""What of a TIFF file every decoder gives alike, and whether it is all in this one file.

Where pixels are read from a file in place of a server that reads the same file with a decoder of its own, rounding and
guessing must be left to the server.
"""

from __future__ import annotations

import xml.etree.ElementTree as ET
from typing import Any

from omero_pixclf.errors import ImageError
from omero_pixclf.files.ome_xml import parsed

__all__ = ["refuse_companions", "refuse_inexact"]

_LOSSLESS = {1: "none", 5: "LZW", 8: "deflate", 32773: "packbits", 32946: "deflate", 34925: "LZMA", 50000: "zstd"}
_PHOTOMETRICS = (1, 2)  # grey with black as 0, and RGB: others are turned into colours, or not, as a reader likes
_DEPTHS = (8, 16, 32, 64)


def refuse_companions(tiff: Any) -> None:
    """Ask this of an open TIFF file before its series: OME's metadata can make the library open any other file.

    Raises
    ------
    ImageError
        Where the metadata says that pixels lie in other files, or that it lies in another file itself.
    """
    root = parsed(tiff.ome_metadata) if tiff.ome_metadata else None
    if root is None:
        return
    own = {root.get("UUID")} - {None}
    for element in root.iter():
        kind = element.tag.rpartition("}")[2]
        if kind == "BinaryOnly":
            raise ImageError(f"{tiff.filename}: its OME metadata lies in another file, {element.get('MetadataFile')!r}")
        if kind == "UUID" and not _is_own(element, own, tiff.filename):
            raise ImageError(f"{tiff.filename}: is one of several files of an image, with {element.get('FileName')!r}")


def _is_own(element: ET.Element, own: set[str | None], name: str) -> bool:
    return element.text in own or element.get("FileName", name).lower() == name.lower()


def refuse_inexact(name: str, series: Any) -> None:
    """Refuse a series whose pixels depend on who decodes them.

    Raises
    ------
    ImageError
        For lossy compression, palettes, inverted grey, packed bits, and planes that the file does not hold.
    """
    page = series.keyframe
    if int(page.compression) not in _LOSSLESS:
        raise ImageError(f"{name}: {page.compression.name} compression is not decoded alike by every reader")
    if int(page.photometric) not in _PHOTOMETRICS:
        raise ImageError(f"{name}: {page.photometric.name} pixels are not shown alike by every reader")
    if page.bitspersample not in _DEPTHS or page.sampleformat not in (1, 2, 3):
        raise ImageError(f"{name}: {page.bitspersample} bits per sample are not read alike by every reader")
    if series.kind == "ome" and any(p is None for p in series.pages):
        raise ImageError(f"{name}: does not hold all planes of its image")
