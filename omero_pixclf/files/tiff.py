"""TIFF and OME-TIFF, read segment by segment."""

from __future__ import annotations

import itertools
import struct
import threading
import zlib
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from omero_pixclf.errors import ImageError
from omero_pixclf.files.axes import Axes, axes_of
from omero_pixclf.files.exact import refuse_companions, refuse_inexact
from omero_pixclf.files.flat import read_flat
from omero_pixclf.files.ome_xml import imagej_axes, named_files, ome_axes, ome_channels
from omero_pixclf.files.references import check_opened_files, resolve_reference
from omero_pixclf.files.stored import StoredArray
from omero_pixclf.image import AXES
from omero_pixclf.wording import counted

__all__ = ["open_tiff", "read_series", "series_reader", "tiff_errors"]

_CACHE_BYTES = 64 << 20
_UNNAMED = {1: "z", 2: "tz", 3: "tcz"}  # leading axes of pages to which the file gives no meaning

_Segment = tuple[NDArray[Any], tuple[int, int, int, int, int]]
"""Pixels of a tile or strip and where it begins, both as (sample plane, z, y, x, sample)."""


@contextmanager
def open_tiff(path: Path, *, series: int | None = None, exact: bool = False) -> Iterator[StoredArray]:
    """An image of a TIFF file, ImageJ's or OME's metadata included; no more of it is read than is asked for.

    Parameters
    ----------
    path
        The file.
    series
        Which image, from 0; None: the only one.
    exact
        Refuse what other readers may decode otherwise, and images that lie in several files
        (`omero_pixclf.files.exact`).

    Raises
    ------
    ImageError
        Where the file cannot be read, holds several images or not so many, or has axes other than ``t z y x c``.
    """
    import tifffile

    with ExitStack() as opened:
        try:
            tiff = opened.enter_context(tifffile.TiffFile(path))
            if exact:
                refuse_companions(tiff)
            chosen = _one_series(path, tiff, series)
            if exact:
                refuse_inexact(str(path), chosen)
            stored = _stored(path, tiff, chosen, series or 0)
        except tiff_errors() as error:
            raise ImageError(f"{path}: not a readable TIFF file: {error}") from error
        yield stored


def tiff_errors() -> tuple[type[Exception], ...]:
    """What tifffile raises over files that are damaged, beside its own error."""
    import tifffile

    known = (ValueError, KeyError, IndexError, TypeError, AttributeError, OverflowError, ZeroDivisionError)
    return (tifffile.TiffFileError, OSError, RuntimeError, MemoryError, struct.error, zlib.error, *known)


def read_series(path: Path, tiff: Any, *, within: Path | None = None) -> list[Any]:
    """The images of an open TIFF file, as tifffile finds them, in this file and those that it names.

    Parameters
    ----------
    path, tiff
        The file, and tifffile's object of it.
    within
        The folder that the files may lie in; the file's own by default.

    Raises
    ------
    ImageError
        Where the file names one outside of the folder; no such file is read.
    """
    root = within or path.parent
    for name in named_files(tiff.ome_metadata):
        resolve_reference(path.parent, name, within=root, source=path)
    found = list(tiff.series)
    check_opened_files(tiff, found, root)
    return found


def _stored(path: Path, tiff: Any, series: Any, number: int) -> StoredArray:
    keys = _keys(path, series)
    flat = _in_one_piece(path, tiff, series)
    return StoredArray(
        name=str(path),
        shape=tuple(series.shape),
        dtype=np.dtype(series.dtype).newbyteorder("="),
        axes=_axes(tiff, keys, number),
        read=flat or _Pages(path, series).read,
        channels=ome_channels(tiff.ome_metadata, number) if tiff.ome_metadata else (),
        held=0 if flat else _CACHE_BYTES,
    )


def series_reader(path: Path, tiff: Any, series: Any) -> tuple[str, Callable[[tuple[slice, ...]], NDArray[Any]]]:
    """Axes of one of tifffile's series, or of a resolution level of one, and a function that reads parts of it.

    Raises
    ------
    ImageError
        Where it has axes other than ``t z y x c``.
    """
    return _keys(path, series), _in_one_piece(path, tiff, series) or _Pages(path, series).read


def _one_series(path: Path, tiff: Any, number: int | None) -> Any:
    found = read_series(path, tiff)
    count = len(found)
    if number is None and count != 1:
        raise ImageError(f"{path}: holds {count} images, expected one")
    if number is not None and not 0 <= number < count:
        raise ImageError(f"{path}: holds {counted(count, 'image')}, none of number {number}")
    series = found[number or 0]
    if series.dtype is None or np.dtype(series.dtype).kind not in "uifb":
        raise ImageError(f"{path}: holds {series.dtype}, expected numbers")
    return series


def _keys(path: Path, series: Any) -> str:
    """The series' axes as ours: samples are channels, an unnamed sequence is time, depth or channel."""
    keys = str(series.axes).lower()
    for foreign, ours in ("sc", "it", "iz", "ic"):
        if ours not in keys:
            keys = keys.replace(foreign, ours)
    unnamed = keys.count("q")
    if unnamed and keys.startswith("q" * unnamed):
        keys = _UNNAMED.get(unnamed, "") + keys[unnamed:]
    if not 2 <= len(keys) <= 5 or set(keys) - set(AXES) or len(set(keys)) != len(keys):
        raise ImageError(f"{path}: axes {series.axes} of shape {series.shape}; expected 2 to 5 of T, Z, Y, X, C")
    return keys


def _in_one_piece(path: Path, tiff: Any, series: Any) -> Callable[[tuple[slice, ...]], NDArray[Any]] | None:
    """A reader for pixels that lie in the file in one piece and as they are; None where they do not."""
    if series.dataoffset is None or series.keyframe.parent is not tiff:
        return None
    dtype = np.dtype(series.dtype).newbyteorder(tiff.byteorder)
    file, shape = tiff.filehandle.fileno(), tuple(series.shape)

    def read(slices: tuple[slice, ...]) -> NDArray[Any]:
        try:
            return read_flat(file, series.dataoffset, shape, dtype, slices)
        except (OSError, EOFError) as error:
            raise ImageError(f"{path}: pixels cannot be read: {error}") from error

    return read


def _axes(tiff: Any, keys: str, number: int) -> Axes:
    if tiff.ome_metadata:
        return ome_axes(tiff.ome_metadata, keys, number)
    if tiff.imagej_metadata:
        return imagej_axes(tiff.imagej_metadata, tiff.pages[0].tags, keys)
    return axes_of(keys)


class _Pages:
    """Reads parts of a series from the tiles or strips that they lie in, and remembers the last ones decoded."""

    def __init__(self, path: Path, series: Any) -> None:
        self.path = path
        self.pages = series.pages
        self.frame = series.keyframe
        self.dtype = np.dtype(series.dtype).newbyteorder("=")
        self.inner = tuple(self.frame.shape)
        self.outer = tuple(series.shape[: len(series.shape) - len(self.inner)])
        self.lock = threading.Lock()
        self.decoded: OrderedDict[tuple[int, int], _Segment] = OrderedDict()
        self.held = 0

    def read(self, slices: tuple[slice, ...]) -> NDArray[Any]:
        """A part of the series; slices along all axes, whole numbers, step 1."""
        split = len(self.outer)
        result = np.zeros([s.stop - s.start for s in slices], self.dtype)
        for index in itertools.product(*(range(s.stop - s.start) for s in slices[:split])):
            where = tuple(s.start + i for s, i in zip(slices[:split], index, strict=True))
            number = int(np.ravel_multi_index(where, self.outer)) if where else 0
            try:
                self._fill(result[index], number, slices[split:])
            except tiff_errors() as error:
                raise ImageError(f"{self.path}: page {number} cannot be decoded: {error}") from error
        return result

    def _fill(self, part: NDArray[Any], number: int, slices: tuple[slice, ...]) -> None:
        """Copy what a page has of the wanted box; segments are laid out as (sample plane, z, y, x, sample)."""
        frame = self.frame
        box = _as_shaped(frame.shaped, self.inner, slices)
        view = part.reshape([b.stop - b.start for b in box])
        for segment in self._touched(box):
            pixels, start = self._segment(number, segment)
            overlap = [
                slice(max(b.start, s), min(b.stop, s + n)) for b, s, n in zip(box, start, pixels.shape, strict=True)
            ]
            if any(o.start >= o.stop for o in overlap):
                continue
            to = tuple(slice(o.start - b.start, o.stop - b.start) for o, b in zip(overlap, box, strict=True))
            of = tuple(slice(o.start - s, o.stop - s) for o, s in zip(overlap, start, strict=True))
            view[to] = pixels[of]

    def _touched(self, box: tuple[slice, ...]) -> Iterator[int]:
        """The numbers of the tiles or strips that overlap a box in (sample plane, z, y, x, sample)."""
        frame = self.frame
        _, depth, length, width, _ = frame.shaped
        size = (1, *_segment_size(frame))
        counts = [-(-n // s) for n, s in zip((depth, length, width), size[1:], strict=True)]
        ranges = [range(b.start // s, -(-b.stop // s)) for b, s in zip(box[:4], size, strict=True)]
        for plane, z, y, x in itertools.product(*ranges):
            yield ((plane * counts[0] + z) * counts[1] + y) * counts[2] + x

    def _segment(self, number: int, segment: int) -> _Segment:
        """A tile or strip of a page, decoded; the last ones are kept."""
        key = (number, segment)
        with self.lock:
            if key in self.decoded:
                self.decoded.move_to_end(key)
                return self.decoded[key]
            encoded, tables = self._encoded(number, segment)
        found = self._decode(segment, encoded, tables)
        with self.lock:
            if key not in self.decoded:
                self.decoded[key] = found
                self.held += found[0].nbytes
            while self.held > _CACHE_BYTES and len(self.decoded) > 1:
                self.held -= self.decoded.popitem(last=False)[1][0].nbytes
        return found

    def _encoded(self, number: int, segment: int) -> tuple[bytes | None, Any]:
        """The bytes of a segment, None where the file leaves it out, and the page's JPEG tables."""
        page = self.pages[number]
        if page is None or not page.databytecounts[segment]:
            return None, None
        file = page.parent.filehandle
        file.seek(page.dataoffsets[segment])
        return file.read(page.databytecounts[segment]), page.jpegtables

    def _decode(self, segment: int, encoded: bytes | None, tables: Any) -> _Segment:
        pixels, start, shape = self.frame.decode(encoded, segment, jpegtables=tables)
        if pixels is None:
            pixels = np.full(shape, self.frame.nodata, self.dtype)
        inside = pixels[tuple(slice(0, n) for n in shape)]
        plane, z, y, x, sample = (int(i) for i in start)
        return inside[np.newaxis].astype(self.dtype, copy=False), (plane, z, y, x, sample)


def _segment_size(frame: Any) -> tuple[int, int, int]:
    """Depth, length and width of a tile, or of a strip."""
    if frame.is_tiled:
        return (frame.tiledepth, frame.tilelength, frame.tilewidth)
    _, _, length, width, _ = frame.shaped
    return (1, min(frame.rowsperstrip, length), width)


def _as_shaped(shaped: tuple[int, ...], inner: tuple[int, ...], slices: tuple[slice, ...]) -> tuple[slice, ...]:
    """Slices along a page's own axes as slices along tifffile's five, of which those of size 1 may be left out."""
    wanted = list(zip(inner, slices, strict=True))
    box = []
    for size in shaped:
        if wanted and wanted[0][0] == size:
            box.append(wanted.pop(0)[1])
        else:
            box.append(slice(0, size))
    return tuple(box)
