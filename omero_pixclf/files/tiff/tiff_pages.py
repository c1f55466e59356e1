"""Read parts of a TIFF image from its tiles or strips, in one file or several, with a cache of decoded ones."""

from __future__ import annotations

import itertools
import os
import threading
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from omero_pixclf.errors import ImageError
from omero_pixclf.files.decoder_warnings import decoder_errors, raise_decoder_warnings

__all__ = ["CACHE_BYTES", "TiffPagesReader"]

CACHE_BYTES = 64 << 20
"""The largest number of bytes of decoded tiles and strips that a reader keeps in memory."""

_Segment = tuple[NDArray[Any], tuple[int, int, int, int, int]]
"""Pixels of a tile or strip and its position, both as (sample plane, z, y, x, sample)."""


class TiffPagesReader:
    """Reads parts of one of tifffile's series, and caches the last decoded segments; safe to share between threads.

    Pages of an OME-TIFF image in several files are in files that tifffile has closed. Each file is opened only while a
    part of it is read, so any number of files needs one file descriptor.
    """

    def __init__(self, path: Path, series: Any) -> None:
        self.path = path
        self.pages = series.pages
        self.root = series.parent
        self.frame = series.keyframe
        self.dtype = np.dtype(series.dtype).newbyteorder("=")
        self.inner = tuple(self.frame.shape)
        self.outer = tuple(series.shape[: len(series.shape) - len(self.inner)])
        self.lock = threading.Lock()
        self.decoded: OrderedDict[tuple[int, int], _Segment] = OrderedDict()
        self.held = 0

    def read(self, slices: tuple[slice, ...]) -> NDArray[Any]:
        """Read a part of the series; slices along all axes, with integer bounds and step 1."""
        split = len(self.outer)
        result = np.zeros([s.stop - s.start for s in slices], self.dtype)
        for index in itertools.product(*(range(s.stop - s.start) for s in slices[:split])):
            where = tuple(s.start + i for s, i in zip(slices[:split], index, strict=True))
            number = int(np.ravel_multi_index(where, self.outer)) if where else 0
            try:
                with raise_decoder_warnings(self.path):
                    self._fill(result[index], number, slices[split:])
            except decoder_errors() as error:
                raise ImageError(f"{self.path}: page {number} cannot be decoded: {error}") from error
        return result

    def _fill(self, part: NDArray[Any], number: int, slices: tuple[slice, ...]) -> None:
        """Copy the requested box of a page; segments have the axes (sample plane, z, y, x, sample)."""
        page = self.pages[number]
        frame = self.frame if page is None else page.keyframe
        box = _as_shaped(frame.shaped, self.inner, slices)
        view = part.reshape([b.stop - b.start for b in box])
        with self._opened(page) as file:
            for segment in _touched(frame, box):
                pixels, start = self._segment(file, page, frame, number, segment)
                overlap = [
                    slice(max(b.start, s), min(b.stop, s + n)) for b, s, n in zip(box, start, pixels.shape, strict=True)
                ]
                if any(o.start >= o.stop for o in overlap):
                    continue
                to = tuple(slice(o.start - b.start, o.stop - b.start) for o, b in zip(overlap, box, strict=True))
                of = tuple(slice(o.start - s, o.stop - s) for o, s in zip(overlap, start, strict=True))
                view[to] = pixels[of]

    @contextmanager
    def _opened(self, page: Any) -> Iterator[int]:
        """Yield the descriptor of the file that holds a page."""
        if page is None or page.parent is self.root:
            yield self.root.filehandle.fileno()
            return
        with Path(page.parent.filehandle.path).open("rb", buffering=0) as file:
            yield file.fileno()

    def _segment(self, file: int, page: Any, frame: Any, number: int, segment: int) -> _Segment:
        """Return a decoded tile or strip of a page; the last ones are cached."""
        key = (number, segment)
        with self.lock:
            if key in self.decoded:
                self.decoded.move_to_end(key)
                return self.decoded[key]
        encoded = _encoded(file, page, segment)
        found = self._decode(frame, segment, encoded, None if encoded is None else page.jpegtables)
        with self.lock:
            if key not in self.decoded:
                self.decoded[key] = found
                self.held += found[0].nbytes
            while self.held > CACHE_BYTES and len(self.decoded) > 1:
                self.held -= self.decoded.popitem(last=False)[1][0].nbytes
        return found

    def _decode(self, frame: Any, segment: int, encoded: bytes | None, tables: Any) -> _Segment:
        pixels, start, shape = frame.decode(encoded, segment, jpegtables=tables)
        if pixels is None:
            pixels = np.full(shape, frame.nodata, self.dtype)
        inside = pixels[tuple(slice(0, n) for n in shape)]
        plane, z, y, x, sample = (int(i) for i in start)
        return inside[np.newaxis].astype(self.dtype, copy=False), (plane, z, y, x, sample)


def _encoded(file: int, page: Any, segment: int) -> bytes | None:
    """Return the bytes of a segment; None if the file leaves it out, as some map files do."""
    if page is None or not page.databytecounts[segment]:
        return None
    size = int(page.databytecounts[segment])
    found = os.pread(file, size, int(page.dataoffsets[segment]))
    if len(found) < size:
        raise EOFError(f"the file ends within its segment {segment}")
    return found


def _touched(frame: Any, box: tuple[slice, ...]) -> Iterator[int]:
    """Yield the numbers of the tiles or strips that overlap a box in (sample plane, z, y, x, sample)."""
    _, depth, length, width, _ = frame.shaped
    size = (1, *_segment_size(frame))
    counts = [-(-n // s) for n, s in zip((depth, length, width), size[1:], strict=True)]
    ranges = [range(b.start // s, -(-b.stop // s)) for b, s in zip(box[:4], size, strict=True)]
    for plane, z, y, x in itertools.product(*ranges):
        yield ((plane * counts[0] + z) * counts[1] + y) * counts[2] + x


def _segment_size(frame: Any) -> tuple[int, int, int]:
    """Return depth, length and width of a tile or strip."""
    if frame.is_tiled:
        return (frame.tiledepth, frame.tilelength, frame.tilewidth)
    _, _, length, width, _ = frame.shaped
    return (1, min(frame.rowsperstrip, length), width)


def _as_shaped(shaped: tuple[int, ...], inner: tuple[int, ...], slices: tuple[slice, ...]) -> tuple[slice, ...]:
    """Convert slices along a page's axes to slices along tifffile's five axes; a page may lack those of size 1."""
    wanted = list(zip(inner, slices, strict=True))
    box = []
    for size in shaped:
        if wanted and wanted[0][0] == size:
            box.append(wanted.pop(0)[1])
        else:
            box.append(slice(0, size))
    return tuple(box)
