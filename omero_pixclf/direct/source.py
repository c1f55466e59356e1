"""A pixel source that reads files if possible, and otherwise through the server."""

from __future__ import annotations

import logging
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from omero_pixclf.direct.check import compare_with_server, count_differing_pixels
from omero_pixclf.direct.mounts import DirectSettings, NotMountedError
from omero_pixclf.direct.opening import open_directly
from omero_pixclf.errors import ImageError, LoginError, PixclfError, UnreachableError
from omero_pixclf.files.axes import axis_keys, region_slices, to_contiguous_tzyxc
from omero_pixclf.files.stored_array import StoredArray
from omero_pixclf.files.tiff.tiff_lossless import ServerOnlyError
from omero_pixclf.image import ArrayReader, ImageInfo, PixelReader, Region, Shape5
from omero_pixclf.pixel_location import PixelLocation
from omero_pixclf.runs.protocols import ImageSource
from omero_pixclf.text import pluralize

__all__ = ["MAX_PRELOADED_BYTES", "DirectReadStatistics", "DirectSource", "log"]

log = logging.getLogger(__name__)

MAX_PRELOADED_BYTES = 16 << 20
"""Images up to this size in bytes are read completely: reading sample regions would decode most of the image anyway."""
_MAX_WARNINGS = 20  # images of which a warning is given one by one; the others are counted


@dataclass
class DirectReadStatistics:
    """Counts how images were read, and why some were not read directly; safe to use from several threads."""

    direct: int = 0
    served: Counter[str] = field(default_factory=Counter)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def read(self) -> None:
        """Count an image that is read directly."""
        with self._lock:
            self.direct += 1

    def left(self, image: ImageInfo, reason: str) -> None:
        """Count an image that cannot be read directly, for an expected reason, which is logged once."""
        with self._lock:
            self.served[reason] += 1
            first = self.served[reason] == 1
        log.log(logging.INFO if first else logging.DEBUG, "%s: read through the server: %s", image.key, reason)

    def refused(self, image: ImageInfo, error: Exception, *, begun: bool = False) -> None:
        """Count an image whose file is damaged or differs; ``begun`` if it was counted as read directly before."""
        with self._lock:
            self.direct -= begun
            self.served["files not as they should be"] += 1
            told = self.served["files not as they should be"] <= _MAX_WARNINGS
        said = f"{type(error).__name__}: {error}" if not isinstance(error, PixclfError) else str(error)
        log.log(
            logging.WARNING if told else logging.INFO, "%s: not read directly, but through the server: %s",
            image.key, said,
        )  # fmt: skip

    def __bool__(self) -> bool:
        return bool(self.direct or self.served)

    def __str__(self) -> str:
        """Summarize the counts in one line."""
        reasons = "; ".join(f"{reason} ({n})" for reason, n in self.served.most_common())
        through = f", {self.served.total()} through the server: {reasons}" if self.served else ""
        return f"{pluralize(self.direct, 'image')} read directly{through}"


@dataclass(frozen=True)
class _MountedFileReader:
    """A file's array with the server's description of the image."""

    info: ImageInfo
    array: StoredArray

    def read(self, region: Region) -> NDArray[Any]:
        keys = axis_keys(self.array.axes)
        part = to_contiguous_tzyxc(self.array.read(region_slices(region, keys)), keys, np.dtype(self.info.dtype))
        if part.shape != region.shape:
            raise ImageError(f"{self.array.name}: gave {part.shape} for a region of {region.shape}")
        return part


def _preload(file: PixelReader, most: int) -> PixelReader:
    """Return the image in memory if it has up to ``most`` bytes, else the reader itself."""
    whole = Region.whole(file.info.shape)
    if prod(whole.shape) * np.dtype(file.info.dtype).itemsize > most:
        return file
    return ArrayReader(file.info, file.read(whole))


class _FallbackReader:
    """An open image that is read from a file until a read fails, and from the server afterwards."""

    def __init__(
        self, file: PixelReader, served: PixelReader, broke: Callable[[Exception], None], *, compared: bool
    ) -> None:
        self.info = served.info
        self._file: PixelReader | None = file
        self._served, self._broke, self._compared = served, broke, compared
        self._lock = threading.Lock()

    def read(self, region: Region) -> NDArray[Any]:
        """The pixels of a region as a C-contiguous ``(t, z, y, x, c)`` array in native byte order."""
        file = self._file
        if file is None or not _is_inside(region, self.info.shape):
            return self._served.read(region)
        try:
            pixels = file.read(region)
        except _read_errors() as error:
            self._give_up(error)
            return self._served.read(region)
        if not self._compared:
            return pixels
        served = self._served.read(region)
        if count := count_differing_pixels(pixels, served):
            found = f"{count} of {pixels.size} pixels from (t, z, y, x, c) {region.start} on"
            self._give_up(ImageError(f"{found} differ from the server's"))
        return served

    def _give_up(self, error: Exception) -> None:
        with self._lock:
            known, self._file = self._file is None, None
        if not known:
            self._broke(error)


def _is_inside(region: Region, shape: Shape5) -> bool:
    return all(a >= 0 and b <= size for a, b, size in zip(region.start, region.stop, shape, strict=True))


def _read_errors() -> tuple[type[Exception], ...]:
    """Return the exceptions that reading a damaged or deleted file can raise."""
    from omero_pixclf.files.tiff.tiff_reader import tiff_errors

    return (ImageError, EOFError, *tiff_errors())


def _open_errors() -> tuple[type[Exception], ...]:
    """Return the exceptions that can occur until a file is accepted; after each, the server's pixels are used."""
    return (PixclfError, *_read_errors())


@dataclass(frozen=True)
class DirectSource:
    """Wraps another source; reads pixels from files if they are the same (`omero_pixclf.runs.protocols.ImageSource`).

    Attributes
    ----------
    source
        Lists the images, and reads those that cannot be read directly.
    locate
        Returns where the server stores an image.
    how
        The mounts, and how thoroughly files are checked.
    seen
        Locations of the files of images that were checked and accepted; None for images read from the server. An image
        that is opened again for each of its blocks is not checked again.
    held
        Images of up to this size in bytes are read completely at once.
    """

    source: ImageSource
    locate: Callable[[ImageInfo], PixelLocation]
    how: DirectSettings
    tally: DirectReadStatistics = field(default_factory=DirectReadStatistics)
    seen: dict[str, PixelLocation | None] = field(default_factory=dict)
    held: int = MAX_PRELOADED_BYTES

    def __post_init__(self) -> None:
        for mount in self.how.mounts:
            if not mount.local.is_dir():
                log.warning("--direct %s: no such folder on this machine; pixels come through the server", mount)

    def images(self, targets: Sequence[str]) -> Iterator[ImageInfo]:
        """Yield every image of the targets, as listed by the other source."""
        return self.source.images(targets)

    @contextmanager
    def open(self, image: ImageInfo) -> Iterator[PixelReader]:
        """Open an image until the context ends; from its file if that exists and has the same pixels."""
        with self.source.open(image) as served, ExitStack() as files:
            file = self._believed(image, served, files)
            if file is None:
                yield served
                return
            yield _FallbackReader(file, served, lambda e: self._broke(image, e), compared=self.how.check == "all")

    def _broke(self, image: ImageInfo, error: Exception) -> None:
        self.seen[image.key] = None
        self.tally.refused(image, error, begun=True)

    def _believed(self, image: ImageInfo, served: PixelReader, files: ExitStack) -> PixelReader | None:
        """Return a reader of the image's file if sample regions equal the server's; else None."""
        if image.key in self.seen:
            return self._again(image, files)
        self.seen[image.key] = None
        if not any(mount.local.is_dir() for mount in self.how.mounts):
            self.tally.left(image, "no folder is mounted")
            return None
        with ExitStack() as opened:
            try:
                where = self.locate(image)
                file, proven = self._opened(image, where, opened)
                if not proven:
                    file = _preload(file, self.held)
                    compare_with_server(file, served)
            except (UnreachableError, LoginError):
                del self.seen[image.key]
                raise
            except (NotMountedError, ServerOnlyError) as error:
                quiet = "in none of the mounted folders" if isinstance(error, NotMountedError) else str(error)
                self.tally.left(image, quiet)
                return None
            except _open_errors() as error:
                self.tally.refused(image, error)
                return None
            files.enter_context(opened.pop_all())
        self.seen[image.key] = where
        self.tally.read()
        return file

    def _again(self, image: ImageInfo, files: ExitStack) -> PixelReader | None:
        """Return a reader of the file of an image that was accepted before; None if it was not."""
        where = self.seen[image.key]
        if where is None:
            return None
        try:
            return self._opened(image, where, files, known=True)[0]
        except _read_errors() as error:
            self._broke(image, error)
            return None

    def _opened(
        self, image: ImageInfo, where: PixelLocation, files: ExitStack, *, known: bool = False
    ) -> tuple[PixelReader, bool]:
        """Open the file; returns its reader, and whether its pixels are proven to be the server's."""
        found = files.enter_context(open_directly(image, where, self.how.mounts, known=known))
        return _MountedFileReader(image, found.array), found.proven
