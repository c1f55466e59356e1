"""Warnings that tifffile and imagecodecs log while they decode become errors if pixels could be lost.

For many incomplete files these libraries raise no error: they log a warning and return an image that is shorter than
declared, or one with planes of zeros.
"""

from __future__ import annotations

import logging
import lzma
import re
import struct
import threading
import tokenize
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path

from omero_pixclf.errors import ImageError

__all__ = [
    "DECODER_LOGGERS",
    "HARMLESS_WARNINGS",
    "PIXEL_TAGS",
    "decoder_errors",
    "is_harmless",
    "raise_decoder_warnings",
]

DECODER_LOGGERS = ("tifffile", "imagecodecs")
"""Names of the loggers of the libraries that decode pixels."""

HARMLESS_WARNINGS: tuple[tuple[str, str], ...] = (
    (r"OME series expected \d+ frames, got \d+", "more pages than OME-XML declares: all declared planes are there"),
    (r"OME series contains invalid TiffData index", "ImageJ leaves such when it crops; missing planes are found"),
    (r"OME series level \d+ is empty", "a smaller copy is missing, not the image"),
    (r"incorrect Strip(ByteCounts|Offsets) count \((\d+) != (\d+)\)", "more strips than the image has rows for"),
    (r"invalid self\.subfiletype", "says what the page is for, not what it holds"),
    (r"invalid subfiletype", "says what the page is for, not what it holds"),
    (r"GDAL_NODATA", "the value of pixels that were never written; 0 in its place"),
    (r"GeoKeyDirectoryTag", "maps of the Earth: no part of an image's axes"),
    (r"<(nuvu|andor|epics|ndpi)_tags>", "settings of a camera"),
    (r"<(imagej|fluoview|eer_xml|olympus_ini)_metadata>", "checked by the numbers of planes where axes depend on it"),
    (r"STK Datetime|read_lsm_(timestamps|channelcolors|lookuptable|scaninfo)", "times and colours, no pixels"),
    (r"read_uic|read_json|read_colormap|read_tvips|scanimage_artist|read_utf8", "settings of a microscope"),
    (r"BIF series tiles are not stitched", "is said of every such file"),
    (r"Philips series page", "tifffile corrects a size that such files always have wrong"),
    (r"<get_resolution>", "pixel sizes are read by the program itself"),
    (r"SVS series focal planes do not match", "the baseline image is one plane"),
)
"""Warnings that are no error: a pattern in the message, and the reason why no pixels and no planes depend on it."""

PIXEL_TAGS = frozenset(
    (
        *range(254, 260),  # kind, width, length, bits, compression
        *(262, 266, 270, 273, 277, 278, 279, 282, 283, 284, 292, 293, 296),  # photometric to resolution, description
        *(317, 320, 322, 323, 324, 325, 330, 338, 339, 347, *range(512, 522), 529, 530, 531, 532),
        *(32996, 32997, 32998, 33628, 33629, 33630, 33631, 34361, 34412, 50838),  # depth; STK, FluoView, LSM, ImageJ
    )
)
"""TIFF tags on which pixels, axes or pixel sizes depend. Problems of other tags (a maker's note) are harmless."""

_TAG = re.compile(r"TiffTag (\d+) @")
_BENIGN = [re.compile(pattern) for pattern, _ in HARMLESS_WARNINGS]


class _CollectedWarnings(threading.local):
    """The lists that collect warnings of this thread, the innermost last."""

    def __init__(self) -> None:
        self.lists: list[list[str]] = []


_collected = _CollectedWarnings()
_install_lock = threading.Lock()


class _CollectingLogger(logging.Logger):
    """A library's logger that adds warnings to the list of a collecting thread, whatever its level and filters."""

    def isEnabledFor(self, level: int) -> bool:  # noqa: N802 - logging's name
        if _collected.lists and level >= logging.WARNING:
            return True
        return super().isEnabledFor(level)

    def handle(self, record: logging.LogRecord) -> None:
        if _collected.lists and record.levelno >= logging.WARNING:
            _collected.lists[-1].append(record.getMessage())
        else:
            super().handle(record)


def _install() -> None:
    """Give the libraries' loggers the class that collects warnings; handlers and levels of the application stay."""
    with _install_lock:
        for name in DECODER_LOGGERS:
            logger = logging.getLogger(name)
            if type(logger) is logging.Logger:
                logger.__class__ = _CollectingLogger


def decoder_errors() -> tuple[type[Exception], ...]:
    """Return the exceptions that file libraries raise for damaged or hostile files: nearly all types, as they document.

    The program's own exceptions are not among them, so they pass.
    """
    return (
        *(ArithmeticError, AssertionError, AttributeError, BufferError, EOFError, LookupError, MemoryError),
        *(OSError, RuntimeError, StopIteration, SyntaxError, TypeError, UnboundLocalError, ValueError, Warning),
        *(struct.error, tokenize.TokenError, zlib.error, lzma.LZMAError),
        *_library_errors(),
    )


@cache
def _library_errors() -> tuple[type[Exception], ...]:
    """Return errors of the libraries that are derived directly from Exception."""
    import tifffile

    return (tifffile.TiffFileError, zipfile.BadZipFile, zipfile.LargeZipFile)


@contextmanager
def raise_decoder_warnings(path: Path | str, explain: Callable[[], str] | None = None) -> Iterator[None]:
    """Collect warnings that the libraries log in this thread; raise at the end of the context if pixels could be lost.

    Other threads are not affected. An exception raised in the context passes unchanged.

    Parameters
    ----------
    path
        The file that is read, for the message.
    explain
        Called before an error is raised; returns what is missing, such as ``"it declares 8 images, 1 is present"``, or
        ``""``.

    Raises
    ------
    ImageError
        If a library logged a warning or an error that is not one of `HARMLESS_WARNINGS`.

    Examples
    --------
    >>> import logging
    >>> with raise_decoder_warnings("cut.tif", lambda: "it has 1 of 8 images"):
    ...     logging.getLogger("tifffile").error("bad page")
    Traceback (most recent call last):
    omero_pixclf.errors.ImageError: cut.tif is incomplete: it has 1 of 8 images (bad page); copy or export it again
    """
    _install()
    with _collecting() as reports:
        yield
    severe = [report for report in reports if not is_harmless(report)]
    if severe:
        reader = re.sub(r"^<tifffile\.\w+ '[^']*'> |^<tifffile\.", "", severe[0])
        more = _call_explain(explain)
        found = f"is incomplete: {more} ({reader})" if more else f"is incomplete or damaged: {reader}"
        raise ImageError(f"{path} {found}; copy or export it again")


@contextmanager
def _collecting() -> Iterator[list[str]]:
    reports: list[str] = []
    _collected.lists.append(reports)
    try:
        yield reports
    finally:
        _collected.lists.pop()


def _call_explain(explain: Callable[[], str] | None) -> str:
    """Return the caller's explanation; it reads a damaged file, so it may fail or log warnings, too."""
    with _collecting(), suppress(*decoder_errors()):
        return explain() if explain is not None else ""
    return ""


def is_harmless(report: str) -> bool:
    """Whether a library's warning does not concern lost or invented pixels or planes.

    >>> is_harmless("<tifffile.TiffTag 305 @12> coercing invalid ASCII to bytes, due to UnicodeDecodeError")
    True
    """
    tag = _TAG.search(report)
    if tag is not None and int(tag[1]) not in PIXEL_TAGS:
        return True
    return any(pattern.search(report) for pattern in _BENIGN)
