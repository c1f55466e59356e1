"""HDF5 arrays, opened with the axes that ilastik stores or assumes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from omero_pixclf.errors import ImageError
from omero_pixclf.files.axes import Axes, axes_from_keys, guess_keys, parse_axistags
from omero_pixclf.files.decoder_warnings import decoder_errors
from omero_pixclf.files.hdf5.hdf5_links import describe_links, external_link, virtual_source_files
from omero_pixclf.files.stored_array import StoredArray, check_array_size

__all__ = ["array_names", "open_hdf5"]

_SHOWN = 5  # names in a message


def array_names(path: Path) -> list[str]:
    """Return the names of all arrays with 2 to 5 dimensions of a file, sorted.

    Raises
    ------
    ImageError
        If the file is not an HDF5 file.
    """
    with _open_file(path) as file:
        return _list_arrays(path, file)[0]


def _list_arrays(path: Path, file: h5py.File) -> tuple[list[str], list[str]]:
    """Return the names of arrays with 2 to 5 dimensions, and those of other arrays with their shapes."""
    names: list[str] = []
    others: list[str] = []

    def note(name: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset):
            if 2 <= len(item.shape or ()) <= 5:
                names.append(name)
            else:
                others.append(f"{name} of shape {item.shape}")

    try:
        file.visititems(note)
    except decoder_errors() as error:
        raise ImageError(f"{path}: its list of contents cannot be read: {error}; copy or export it again") from error
    return sorted(names), sorted(others)


@contextmanager
def open_hdf5(path: Path, inside: str | None) -> Iterator[StoredArray]:
    """Open an array of a file; its name may be left out if the file holds only one.

    If ``inside`` names a link to an array in another file of the same folder, that array is opened.

    Raises
    ------
    ImageError
        If the file cannot be read or does not hold this array, or parts of the array are in missing files.
    """
    with ExitStack() as opened:
        file = opened.enter_context(_open_file(path))
        name = inside or _only_name(path, file)
        try:
            stored = _open_array(path, file, name, opened)
        except decoder_errors() as error:
            raise ImageError(f"{path}/{name}: cannot be read: {error}; copy or export it again") from error
        yield stored


def _open_array(path: Path, file: h5py.File, name: str, opened: ExitStack) -> StoredArray:
    linked: list[Path] = []
    here, inner = path, name
    while (link := external_link(here, file, inner)) is not None:
        here, inner = link
        if here in (path, *linked):
            raise ImageError(f"{path}/{name}: its links lead in a circle; name the array where it is stored")
        linked.append(here)
        file = opened.enter_context(_open_file(here))
    item = file.get(inner)
    if not isinstance(item, h5py.Dataset):
        raise ImageError(
            f"{here}: holds no array {inner!r}, but {_list_arrays(here, file)[0]}{_describe_other_contents(here, file)}"
        )
    _check(f"{path}/{name}", item)
    return StoredArray(
        name=f"{path}/{name}",
        shape=item.shape,
        dtype=item.dtype.newbyteorder("="),
        axes=_axes(item),
        read=lambda slices: _read(item, slices),
        drange=_drange(item),
        has_named_axes="axistags" in item.attrs,
        files=(path, *linked, *virtual_source_files(here, item)),
    )


@contextmanager
def _open_file(path: Path) -> Iterator[h5py.File]:
    try:
        file = h5py.File(path, "r")
    except decoder_errors() as error:
        raise ImageError(f"{path}: not a readable HDF5 file: {error}; copy or export it again") from error
    with file:
        yield file


def _only_name(path: Path, file: h5py.File) -> str:
    names, _ = _list_arrays(path, file)
    if len(names) != 1:
        found = f"it holds {names}" if names else "it holds none of 2 to 5 dimensions"
        raise ImageError(
            f"{path}: name the array behind the file, as in {path}/data; {found}{_describe_other_contents(path, file)}"
        )
    return names[0]


def _describe_other_contents(path: Path, file: h5py.File) -> str:
    """Describe what else a file has: arrays of other dimensions, and links to other files."""
    _, others = _list_arrays(path, file)
    links = describe_links(path, file)
    shown = f"; besides, {', '.join(others[:_SHOWN])}" if others else ""
    return shown + (f"; it links to arrays in other files: {', '.join(links)}" if links else "")


def _check(name: str, item: h5py.Dataset) -> None:
    if not 2 <= len(item.shape or ()) <= 5:
        raise ImageError(f"{name}: has {len(item.shape or ())} dimensions (shape {item.shape}), expected 2 to 5")
    if item.dtype.kind not in "uifb":
        raise ImageError(f"{name}: holds {item.dtype}, expected numbers")
    if 0 in item.shape:
        raise ImageError(f"{name}: is empty, its shape is {item.shape}")
    check_array_size(name, item.shape, item.dtype, item.chunks)


def _read(item: h5py.Dataset, slices: tuple[slice, ...]) -> NDArray[Any]:
    try:
        return np.asarray(item[slices])
    except decoder_errors() as error:
        raise ImageError(
            f"{item.file.filename}{item.name}: pixels cannot be read: {error}; copy or export it again"
        ) from error


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
    return axes_from_keys(guess_keys(item.shape))


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value


def _drange(item: h5py.Dataset) -> tuple[float, float] | None:
    found = np.asarray(item.attrs.get("drange", ()))
    if found.shape != (2,) or found.dtype.kind not in "uif":
        return None
    low, high = found.tolist()
    return (low, high)
