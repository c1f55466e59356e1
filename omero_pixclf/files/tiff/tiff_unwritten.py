"""Detection of TIFF files with a part that was never written: interrupted copies with preallocated disk space.

Such a file has the right size, with zeros in place of the missing part. tifffile reports no error: it stops at the last
page before the zeros, and ignores a description of zeros.
"""

from __future__ import annotations

import os
import struct
from pathlib import Path
from typing import Any

from omero_pixclf.errors import ImageError
from omero_pixclf.text import pluralize

__all__ = ["check_unwritten_data"]

_DESCRIPTION = 270
_BEGINNING = 2000  # bytes of a description that contain OME-XML's first element


def check_unwritten_data(path: Path, tiff: Any) -> None:
    """Refuse a file with a page of zeros in its chain of pages, or with a description of zeros.

    Raises
    ------
    ImageError
        The message says what is missing.
    """
    what = _description_problem(tiff) or _pages_problem(tiff)
    if what:
        raise ImageError(f"{path} is incomplete or damaged: {what} nothing but zeros; copy it again")


def _description_problem(tiff: Any) -> str:
    for tag in tiff.pages.first.tags.getall(_DESCRIPTION, ()):
        if tag.count <= 1 or tag.offset <= tag.valueoffset < tag.offset + tiff.tiff.tagsize:
            continue  # none, or so short that it is stored in the tag itself
        whole = os.pread(tiff.filehandle.fileno(), tag.count, tag.valueoffset)
        text = whole.strip(b"\0 \r\n\t")
        if not whole.strip(b"\0"):
            return "its description (of axes and planes) is"
        if whole.endswith(b"\0\0") and text.startswith(b"<") and not _is_finished(text):
            return f"its description has, after {len(text)} of {len(whole)} bytes,"
    return ""


def _is_finished(xml: bytes) -> bool:
    """Whether a text ends like complete XML or OME-XML."""
    return xml.endswith(b"OME>" if b"<OME" in xml[:_BEGINNING] else b">") and not xml.endswith((b"?>", b"-->"))


def _pages_problem(tiff: Any) -> str:
    """Return what is missing in the pages' lists of tags: a whole list, or the tags at its end; "" if nothing is."""
    file, kind = tiff.filehandle.fileno(), tiff.tiff
    for number in range(len(tiff.pages)):
        offset = tiff.pages._offsets[number]
        found = os.pread(file, kind.tagnosize, offset)
        tags = struct.unpack(kind.tagnoformat, found)[0] if len(found) == kind.tagnosize else None
        if tags == 0:
            return f"what follows after {pluralize(number, 'page')} is"
        if tags is not None:
            last = os.pread(file, kind.tagsize, offset + kind.tagnosize + (tags - 1) * kind.tagsize)
            if len(last) == kind.tagsize and not any(last):
                return f"the end of the {pluralize(tags, 'tag')} of page {number} is"
    return ""
