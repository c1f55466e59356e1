"""What the libraries that read image files report by their log: an error here, where pixels could be lost by it.

tifffile and imagecodecs do not raise over many files that are incomplete: they log a warning, and give an image that
is shorter than the file says, or one with planes of zeros.
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

__all__ = ["HARMLESS_WARNINGS", "PIXEL_TAGS", "decoder_errors", "is_harmless", "raise_decoder_warnings"]

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
"""Reports that are no error, each a pattern in the message, and the reason: no pixels and no planes depend on it."""

PIXEL_TAGS = frozenset(
    (
        *range(254, 260),  # kind, width, length, bits, compression
        *(262, 266, 270, 273, 277, 278, 279, 282, 283, 284, 292, 293, 296),  # photometric to resolution, description
        *(317, 320, 322, 323, 324, 325, 330, 338, 339, 347, *range(512, 522), 529, 530, 531, 532),
        *(32996, 32997, 32998, 33628, 33629, 33630, 33631, 34361, 34412, 50838),  # depth; STK, FluoView, LSM, ImageJ
    )
)
"""TIFF tags on which pixels, axes or pixel sizes depend; what is wrong with another one (a maker's note) is benign."""

_TAG = re.compile(r"TiffTag (\d+) @")
_BENIGN = [re.compile(pattern) for pattern, _ in HARMLESS_WARNINGS]


class _CollectedWarnings(threading.local):
    """The lists that this thread's reports go to, the innermost last."""

    def __init__(self) -> None:
        self.lists: list[list[str]] = []


_collected = _CollectedWarnings()
_install_lock = threading.Lock()


class _CollectingLogger(logging.Logger):
    """A reader's logger: while a thread collects, its warnings go to the list, whatever levels and filters are set."""

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
    """Give the readers' loggers the class that collects; an application's handlers and levels stay as they are."""
    with _install_lock:
        for name in DECODER_LOGGERS:
            logger = logging.getLogger(name)
            if type(logger) is logging.Logger:
                logger.__class__ = _CollectingLogger


def decoder_errors() -> tuple[type[Exception], ...]:
    """What the libraries that read files raise over damaged or hostile ones: nearly everything, by their authors' word.

    None of these types is one of the program's own, which pass.
    """
    return (
        *(ArithmeticError, AssertionError, AttributeError, BufferError, EOFError, LookupError, MemoryError),
        *(OSError, RuntimeError, StopIteration, SyntaxError, TypeError, UnboundLocalError, ValueError, Warning),
        *(struct.error, tokenize.TokenError, zlib.error, lzma.LZMAError),
        *_library_errors(),
    )


@cache
def _library_errors() -> tuple[type[Exception], ...]:
    """Errors of readers that are derived from nothing but Exception."""
    import tifffile

    return (tifffile.TiffFileError, zipfile.BadZipFile, zipfile.LargeZipFile)


@contextmanager
def raise_decoder_warnings(path: Path | str, explain: Callable[[], str] | None = None) -> Iterator[None]:
    """Collect what readers log in this thread within the context; raise at its end where pixels could be lost.

    Other threads are not affected. An exception that is raised within the context passes as it is.

    Parameters
    ----------
    path
        What is read, for the message.
    explain
        Called where there is something to raise: more about what is missing, such as
        ``"it says 8 images, 1 is there"``; may return ``""``.

    Raises
    ------
    ImageError
        Where a reader logged a warning or an error that is not among `HARMLESS_WARNINGS`.

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
    """What the caller knows of the damage; it reads a damaged file, so that this may fail or be reported, too."""
    with _collecting(), suppress(*decoder_errors()):
        return explain() if explain is not None else ""
    return ""


def is_harmless(report: str) -> bool:
    """Whether a reader's report says nothing of pixels or planes that would be lost or invented.

    >>> is_harmless("<tifffile.TiffTag 305 @12> coercing invalid ASCII to bytes, due to UnicodeDecodeError")
    True
    """
    tag = _TAG.search(report)
    if tag is not None and int(tag[1]) not in PIXEL_TAGS:
        return True
    return any(pattern.search(report) for pattern in _BENIGN)
