"""HDF5 arrays, written as ilastik does; other arrays of the file are kept.

An array is first written to a separate file. At the end, under a lock, it is merged with the content of the final file.
So processes that write to one file wait for each other's copying, but not for each other's computation.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from omero_pixclf.errors import OutputError
from omero_pixclf.files.atomic import remove_path, temporary_path, write_atomically
from omero_pixclf.files.axes import format_axistags
from omero_pixclf.files.export.chunks import chunk_buffer_bytes, near_cubic_chunks
from omero_pixclf.files.export.output_array import OutputArray, WriteBlock
from omero_pixclf.files.hdf5.hdf5_driver import GuardedFile
from omero_pixclf.files.locking import file_lock

__all__ = ["hdf5_buffer_bytes", "move_array_into_hdf5", "write_hdf5"]

_CHUNK_BYTES = 512_000.0
_SLOTS = 100_003
_OTHER_NAME = "choose another name with --output_internal_path"


@contextmanager
def write_hdf5(path: Path, inside: str, target: OutputArray, *, compress: bool) -> Iterator[WriteBlock]:
    """Write one array to a file; other arrays in the file are kept, also those that are written meanwhile.

    As ilastik: chunks of about 512 kB that do not span time points or channels, gzip level 1 when compressed,
    attributes ``axistags``, ``axis_units`` (where known), ``DIMENSION_LABELS``, ``display_mode`` and ``drange``.

    Raises
    ------
    OutputError
        If it cannot be written, or the name is that of a group with arrays.
    """
    name, final = inside.strip("/"), Path(os.path.realpath(path))
    _check_name(final, name)
    with ExitStack() as held, write_atomically(final) as part:
        part.touch()
        with part.open("r+b", buffering=0) as raw:
            guarded = GuardedFile(raw)
            with h5py.File(guarded, "w", rdcc_nbytes=hdf5_buffer_bytes(target), rdcc_nslots=_SLOTS) as file:
                item = _create(file, path, name, target, compress)

                def write(slices: tuple[slice, ...], block: NDArray[Any]) -> None:
                    item[slices] = block
                    guarded.check()

                yield write
            guarded.check()
        held.enter_context(file_lock(final))  # until the temporary file has its final name
        _merge_existing_arrays(final, name, part)


def move_array_into_hdf5(made: Path, path: Path, inside: str) -> None:
    """Move an array from a separate file into another file, whose other arrays are kept.

    Raises
    ------
    OutputError
        As for `write_hdf5`.
    """
    name, final = inside.strip("/"), Path(os.path.realpath(path))
    _check_name(final, name)
    with ExitStack() as held, write_atomically(final) as part:
        made.replace(part)
        held.enter_context(file_lock(final))
        _merge_existing_arrays(final, name, part)


def _merge_existing_arrays(final: Path, name: str, part: Path) -> None:
    """Copy the other arrays of the final file into the temporary file."""
    _check_name(final, name)
    if not _holds_others(final, name):
        return
    whole = temporary_path(final)
    try:
        shutil.copyfile(final, whole)
        with whole.open("r+b", buffering=0) as raw:
            guarded = GuardedFile(raw)
            with h5py.File(part, "r") as source, h5py.File(guarded, "a") as file:
                if name in file:
                    del file[name]
                source.copy(name, file, name)
            guarded.check()
        whole.replace(part)
    finally:
        remove_path(whole)


def _check_name(path: Path, name: str) -> None:
    """Refuse the name of a group of arrays, or a name below an array."""
    if not _is_hdf5(path):
        return
    parts = [p for p in name.split("/") if p]
    with _open_existing(path) as file:
        for end in range(1, len(parts)):
            above = "/".join(parts[:end])
            if isinstance(file.get(above), h5py.Dataset):
                raise OutputError(f"{path}: {above!r} is an array, so {name!r} cannot be made in it; {_OTHER_NAME}")
        found = file.get(name)
        if isinstance(found, h5py.Group) and len(found):
            held = ", ".join(list(found)[:5])
            raise OutputError(f"{path}: {name!r} is a group that holds {held}; {_OTHER_NAME}")


def _holds_others(path: Path, name: str) -> bool:
    """Whether a file holds anything except the array to be written."""
    if not _is_hdf5(path):
        return False
    with _open_existing(path) as file:
        node: Any = file
        for part in name.split("/"):
            if len(node.attrs) or list(node) not in ([], [part]):
                return True
            if part not in node:
                return False
            node = node[part]
        return False


def _is_hdf5(path: Path) -> bool:
    return os.path.isfile(path) and bool(h5py.is_hdf5(path))  # noqa: PTH113 - Path's raises for names that are too long


@contextmanager
def _open_existing(path: Path) -> Iterator[h5py.File]:
    try:
        with h5py.File(path, "r") as file:
            yield file
    except (OSError, RuntimeError, KeyError, ValueError) as error:
        raise OutputError(f"{path}: the existing file cannot be extended: {error}; choose another file") from error


def _create(file: h5py.File, path: Path, name: str, target: OutputArray, compress: bool) -> h5py.Dataset:
    try:
        return _create_dataset(file, name, target, compress)
    except (ValueError, RuntimeError, TypeError) as error:
        raise OutputError(f"{path}: no array can be made by the name {name!r}: {error}") from error


def _create_dataset(file: h5py.File, name: str, target: OutputArray, compress: bool) -> h5py.Dataset:
    packing: dict[str, Any] = {"compression": "gzip", "compression_opts": 1} if compress else {}
    item = file.create_dataset(
        name,
        shape=target.shape,
        dtype=target.dtype,
        chunks=_chunks(target),
        **packing,
    )
    item.attrs["axistags"] = format_axistags(target.axes)
    item.attrs["display_mode"] = target.display_mode
    if target.drange is not None:
        item.attrs["drange"] = np.asarray(target.drange, dtype=target.dtype)
    units = {a.key: a.unit for a in target.axes}
    if any(units.values()):
        item.attrs["axis_units"] = json.dumps(units)
    for index, axis in enumerate(target.axes):
        item.dims[index].label = axis.key
    return item


def _chunks(target: OutputArray) -> tuple[int, ...]:
    limits = [1 if k in "tc" else n for k, n in zip(target.keys, target.shape, strict=True)]
    return near_cubic_chunks(limits, _CHUNK_BYTES / target.dtype.itemsize)


def hdf5_buffer_bytes(target: OutputArray) -> int:
    """Return the memory in bytes for chunks that are not complete yet."""
    return chunk_buffer_bytes(target, _chunks(target))
