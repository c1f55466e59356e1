"""Conversion of paths to valid Unicode text for tables, databases and reports, and back.

A file name is a sequence of bytes that need not be UTF-8 (names from old Latin-1 shares are not). Python represents
such bytes as lone surrogates, which cannot be encoded as UTF-8. Such a path is written as a ``file:`` URL (RFC 8089).
"""

from __future__ import annotations

import os
from dataclasses import replace
from urllib.parse import quote_from_bytes, unquote_to_bytes

from omero_pixclf.image import ImageInfo
from omero_pixclf.text import printable

__all__ = ["path_from_text", "path_to_text", "printable_info"]

_ADDRESS = "file://"


def path_to_text(path: str) -> str:
    r"""Return an absolute path as text; a path whose bytes are not UTF-8 as a ``file:`` URL.

    Examples
    --------
    >>> path_to_text("/data/gr\u00fcn.tif") == "/data/gr\u00fcn.tif"
    True
    >>> path_to_text("/data/gr\udcfcn.tif")
    'file:///data/gr%FCn.tif'
    """
    content = _to_bytes(path)
    try:
        return content.decode()
    except UnicodeDecodeError:
        return _ADDRESS + quote_from_bytes(content)


def path_from_text(text: str) -> str:
    r"""Return the path from the result of `path_to_text`.

    Examples
    --------
    >>> path_from_text("file:///data/gr%FCn.tif") == "/data/gr\udcfcn.tif"
    True
    """
    if text.startswith(_ADDRESS):
        return os.fsdecode(unquote_to_bytes(text.removeprefix(_ADDRESS)))
    return os.fsdecode(text.encode(errors="surrogateescape"))


def printable_info(info: ImageInfo) -> ImageInfo:
    """Return an image's description with paths as text; `path_from_text` of its key gives the file."""
    place = replace(info.place, container=path_to_text(info.place.container), name=_printable_name(info.place.name))
    return replace(
        info, key=path_to_text(info.key), name=_printable_name(info.name), place=place, problem=printable(info.problem)
    )


def _printable_name(text: str) -> str:
    """Return a name decoded as UTF-8, whatever encoding this process uses for file names."""
    return _to_bytes(text).decode(errors="backslashreplace")


def _to_bytes(path: str) -> bytes:
    try:
        return os.fsencode(path)
    except UnicodeEncodeError:  # characters that the file system's encoding does not have
        return path.encode(errors="surrogateescape")
