"""TIFF and OME-TIFF images as stored arrays: axes, pixel sizes, channels, and reading of blocks."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from omero_pixclf.errors import ImageError
from omero_pixclf.files.axes import Axes, axes_from_keys
from omero_pixclf.files.contiguous import read_contiguous
from omero_pixclf.files.decoder_warnings import decoder_errors
from omero_pixclf.files.several_images import SeveralImagesError
from omero_pixclf.files.stored_array import StoredArray, check_array_size
from omero_pixclf.files.tiff.multi_file_ome_tiff import use_only_image
from omero_pixclf.files.tiff.ome_wells import ome_place
from omero_pixclf.files.tiff.ome_xml import imagej_axes, ome_axes, ome_channels
from omero_pixclf.files.tiff.tiff_file import member_files, open_tiff_file, read_series
from omero_pixclf.files.tiff.tiff_lossless import check_lossless, check_single_file
from omero_pixclf.files.tiff.tiff_pages import CACHE_BYTES, TiffPagesReader
from omero_pixclf.image import AXES
from omero_pixclf.text import pluralize

__all__ = ["open_every_image", "open_tiff", "series_reader", "tiff_errors"]

_UNNAMED = {1: "z", 2: "tz", 3: "tcz"}  # names for leading axes of pages without names in the file


@contextmanager
def open_tiff(path: Path, *, series: int | None = None, exact: bool = False) -> Iterator[StoredArray]:
    """Open an image of a TIFF file with its ImageJ or OME metadata; only requested blocks are read.

    Parameters
    ----------
    path
        The file.
    series
        The number of the image, from 0; None for the only one.
    exact
        Refuse images that other readers may decode differently, and images in several files
        (`omero_pixclf.files.tiff.tiff_lossless`).

    Raises
    ------
    ImageError
        If the file cannot be read, has no such image or several, or has axes other than ``t z y x c``.
    """
    with open_tiff_file(path, alone=exact) as tiff:
        try:
            if exact:
                check_single_file(tiff)
            whole, number = tiff.ome_metadata, series or 0
            alone = series is not None and not exact and use_only_image(tiff, series)
            chosen = _select_series(path, tiff, 0 if alone else series)
            if exact:
                check_lossless(str(path), chosen)
            stored = _make_stored_array(path, tiff, chosen, 0 if alone else number)
            stored = replace(stored, place=ome_place(path, whole, number))
        except decoder_errors() as error:
            raise ImageError(f"{path}: not a readable TIFF file: {error}") from error
        if series is not None and not exact:
            stored = _number_image(stored, path, series)
        yield stored


@contextmanager
def open_every_image(path: Path) -> Iterator[list[StoredArray | ImageError]]:
    """Open all images of a TIFF file at once; the list has an error in place of an image that cannot be read.

    Raises
    ------
    ImageError
        If the file cannot be read, or is incomplete.
    """
    with open_tiff_file(path) as tiff:
        found: list[StoredArray | ImageError] = []
        for number, series in enumerate(read_series(path, tiff)):
            try:
                found.append(
                    _number_image(_make_stored_array(path, tiff, _check_pixel_type(path, series), number), path, number)
                )
            except ImageError as error:
                found.append(error)
            except decoder_errors() as error:
                found.append(ImageError(f"{path}#{number}: cannot be read: {error}"))
        yield found


def _number_image(stored: StoredArray, path: Path, number: int) -> StoredArray:
    return replace(stored, name=f"{path}#{number}", label=f"#{number}")


def tiff_errors() -> tuple[type[Exception], ...]:
    """What tifffile raises over files that are damaged, beside its own error."""
    return decoder_errors()


def _make_stored_array(path: Path, tiff: Any, series: Any, number: int) -> StoredArray:
    keys = _keys(path, series)
    flat = _contiguous_reader(path, tiff, series)
    members = member_files(tiff, [series])
    return StoredArray(
        name=str(path),
        shape=tuple(series.shape),
        dtype=np.dtype(series.dtype).newbyteorder("="),
        axes=_axes(tiff, keys, number),
        read=flat or TiffPagesReader(path, series).read,
        channels=ome_channels(tiff.ome_metadata, number) if tiff.ome_metadata else (),
        cache_bytes=0 if flat else CACHE_BYTES,
        files=tuple(path.parent / os.path.relpath(m, path.parent) for m in members) if len(members) > 1 else (),
        place=ome_place(path, tiff.ome_metadata, number),
        has_named_axes=bool(tiff.is_ome or tiff.is_imagej or (tiff.is_shaped and "q" not in str(series.axes).lower())),
    )


def series_reader(path: Path, tiff: Any, series: Any) -> tuple[str, Callable[[tuple[slice, ...]], NDArray[Any]]]:
    """Return the axes of one of tifffile's series, or of a resolution level of one, and a function that reads parts.

    Raises
    ------
    ImageError
        If it has axes other than ``t z y x c``.
    """
    return _keys(path, series), _contiguous_reader(path, tiff, series) or TiffPagesReader(path, series).read


def _select_series(path: Path, tiff: Any, number: int | None) -> Any:
    found = read_series(path, tiff)
    count = len(found)
    if count == 0:
        raise ImageError(f"{path}: holds no images")
    if number is None and count != 1:
        raise SeveralImagesError(str(path), [f"{path}#{n}" for n in range(count)])
    if number is not None and not 0 <= number < count:
        last = f"; its images are {path.name}#0 to #{count - 1}" if count > 1 else ""
        raise ImageError(f"{path}: holds {pluralize(count, 'image')}, none of number {number}{last}")
    return _check_pixel_type(path, found[number or 0])


def _check_pixel_type(path: Path, series: Any) -> Any:
    """Return the series; raises ImageError if its pixels are not numbers."""
    if series.dtype is None or np.dtype(series.dtype).kind not in "uifb":
        raise ImageError(f"{path}: holds {series.dtype}, expected numbers")
    check_array_size(str(path), series.shape, np.dtype(series.dtype))
    return series


def _keys(path: Path, series: Any) -> str:
    """Return the axes of a series as letters of ``tzyxc``: samples are channels, unnamed axes t, z or c."""
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


def _contiguous_reader(path: Path, tiff: Any, series: Any) -> Callable[[tuple[slice, ...]], NDArray[Any]] | None:
    """Return a function that reads contiguous, uncompressed pixels; None if they are stored otherwise."""
    if series.dataoffset is None or any(page is None or page.parent is not tiff for page in series.pages):
        return None
    dtype = np.dtype(series.dtype).newbyteorder(tiff.byteorder)
    file, shape = tiff.filehandle.fileno(), tuple(series.shape)

    def read(slices: tuple[slice, ...]) -> NDArray[Any]:
        try:
            return read_contiguous(file, series.dataoffset, shape, dtype, slices)
        except (OSError, EOFError) as error:
            raise ImageError(f"{path}: pixels cannot be read: {error}") from error

    return read


def _axes(tiff: Any, keys: str, number: int) -> Axes:
    if tiff.ome_metadata:
        return ome_axes(tiff.ome_metadata, keys, number)
    if tiff.imagej_metadata:
        return imagej_axes(tiff.imagej_metadata, tiff.pages[0].tags, keys)
    return axes_from_keys(keys)
