"""HDF5 arrays, read as ilastik does."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from omero_pixclf.errors import ImageError
from omero_pixclf.files.axes import Axes, axes_of, guess_keys, parse_axistags
from omero_pixclf.files.stored import StoredArray

__all__ = ["array_names", "open_hdf5"]

_CHUNK_BYTES = 512_000.0
_BROKEN = (OSError, RuntimeError, KeyError, ValueError, TypeError, OverflowError)  # what h5py raises over damaged files


def array_names(path: Path) -> list[str]:
    """The names of all image-like arrays (2 to 5 dimensions) of a file, sorted.

    Raises
    ------
    ImageError
        Where the file is no HDF5 file.
    """
    names: list[str] = []

    def note(name: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset) and 2 <= len(item.shape or ()) <= 5:
            names.append(name)

    with _opened(path) as file:
        try:
            file.visititems(note)
        except _BROKEN as error:
            raise ImageError(f"{path}: its list of contents cannot be read: {error}") from error
    return sorted(names)


@contextmanager
def open_hdf5(path: Path, inside: str | None) -> Iterator[StoredArray]:
    """An array of a file; the name within may be left out where the file holds only one.

    Raises
    ------
    ImageError
        Where the file cannot be read or does not hold that one array.
    """
    name = inside or _only_name(path)
    with _opened(path) as file:
        try:
            stored = _stored(path, file, name)
        except _BROKEN as error:
            raise ImageError(f"{path}/{name}: cannot be read: {error}") from error
        yield stored


def _stored(path: Path, file: h5py.File, name: str) -> StoredArray:
    item = file.get(name)
    if not isinstance(item, h5py.Dataset):
        raise ImageError(f"{path}: holds no array {name!r}, but {array_names(path)}")
    _check(f"{path}/{name}", item)
    return StoredArray(
        name=f"{path}/{name}",
        shape=item.shape,
        dtype=item.dtype.newbyteorder("="),
        axes=_axes(item),
        read=lambda slices: _read(item, slices),
        drange=_drange(item),
    )


@contextmanager
def _opened(path: Path) -> Iterator[h5py.File]:
    try:
        file = h5py.File(path, "r")
    except OSError as error:
        raise ImageError(f"{path}: not a readable HDF5 file: {error}") from error
    with file:
        yield file


def _only_name(path: Path) -> str:
    names = array_names(path)
    if len(names) != 1:
        found = f"it holds {names}" if names else "it holds none"
        raise ImageError(f"{path}: name the array behind the file, as in {path}/data; {found}")
    return names[0]


def _check(name: str, item: h5py.Dataset) -> None:
    if not 2 <= len(item.shape) <= 5:
        raise ImageError(f"{name}: has {len(item.shape)} dimensions, expected 2 to 5")
    if item.dtype.kind not in "uifb":
        raise ImageError(f"{name}: holds {item.dtype}, expected numbers")
    if 0 in item.shape:
        raise ImageError(f"{name}: is empty, its shape is {item.shape}")


def _read(item: h5py.Dataset, slices: tuple[slice, ...]) -> NDArray[Any]:
    try:
        return np.asarray(item[slices])
    except (*_BROKEN, MemoryError) as error:
        raise ImageError(f"{item.file.filename}{item.name}: pixels cannot be read: {error}") from error


def _axes(item: h5py.Dataset) -> Axes:
    tags = item.attrs.get("axistags")
    if isinstance(tags, (str, bytes)):
        units = item.attrs.get("axis_units")
        try:
            axes = parse_axistags(_text(tags), _text(units) if isinstance(units, (str, bytes)) else None)
        except ValueError as error:
            raise ImageError(f"{item.file.filename}{item.name}: axistags cannot be read: {error}") from error
        if axes is not None and len(axes) == len(item.shape):
            return axes
    return axes_of(guess_keys(item.shape))


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value


def _drange(item: h5py.Dataset) -> tuple[float, float] | None:
    found = np.asarray(item.attrs.get("drange", ()))
    if found.shape != (2,) or found.dtype.kind not in "uif":
        return None
    low, high = found.tolist()
    return (low, high)
