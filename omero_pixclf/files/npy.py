"""Read and write NumPy ``.npy`` files block by block."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from math import prod
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from omero_pixclf.errors import ImageError
from omero_pixclf.files.atomic import write_atomically
from omero_pixclf.files.axes import axes_from_keys, guess_keys
from omero_pixclf.files.contiguous import read_contiguous, write_contiguous
from omero_pixclf.files.decoder_warnings import decoder_errors
from omero_pixclf.files.export.output_array import OutputArray, WriteBlock
from omero_pixclf.files.stored_array import StoredArray, check_array_size

__all__ = ["open_npy", "write_npy"]


@contextmanager
def open_npy(path: Path) -> Iterator[StoredArray]:
    """Open a NumPy array file. Its axes are those that ilastik assumes.

    Raises
    ------
    ImageError
        If the file cannot be read, is truncated, or holds no numbers.
    """
    with ExitStack() as opened:
        try:
            file = opened.enter_context(path.open("rb"))
            shape, fortran, dtype = _npy_header(file)
            offset, size = file.tell(), os.fstat(file.fileno()).st_size
        except decoder_errors() as error:
            raise ImageError(f"{path}: not a readable NumPy array: {error}; copy or export it again") from error
        if dtype.kind not in "uifb":
            raise ImageError(f"{path}: holds {dtype}, expected numbers")
        if not 2 <= len(shape) <= 5 or min(shape) < 1:
            raise ImageError(f"{path}: its shape is {shape}, expected 2 to 5 dimensions and none empty")
        check_array_size(str(path), shape, dtype)
        if size - offset < prod(shape) * dtype.itemsize:
            end = offset + prod(shape) * dtype.itemsize
            raise ImageError(f"{path} is incomplete: it has {size} of {end} bytes; copy it again")
        yield StoredArray(
            name=str(path),
            shape=shape,
            dtype=dtype.newbyteorder("="),
            axes=axes_from_keys(guess_keys(shape)),
            read=lambda slices: _read_npy(path, file.fileno(), offset, shape, dtype, slices, fortran),
        )


def _npy_header(file: BinaryIO) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    version = np.lib.format.read_magic(file)
    read = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}.get(version)
    if read is None:
        raise ValueError(f"version {version} of the format")
    shape, fortran, dtype = read(file)
    return tuple(shape), bool(fortran), dtype


def _read_npy(
    path: Path,
    file: int,
    offset: int,
    shape: tuple[int, ...],
    dtype: np.dtype[Any],
    slices: tuple[slice, ...],
    fortran: bool,
) -> NDArray[Any]:
    try:
        if fortran:
            turned: NDArray[Any] = read_contiguous(file, offset, shape[::-1], dtype, slices[::-1]).transpose()
            return turned
        return read_contiguous(file, offset, shape, dtype, slices)
    except (OSError, EOFError) as error:
        raise ImageError(f"{path}: pixels cannot be read: {error}") from error


@contextmanager
def write_npy(path: Path, target: OutputArray) -> Iterator[WriteBlock]:
    """Write a ``.npy`` file block by block.

    Raises
    ------
    OutputError
        If it cannot be written.
    """
    header = {"descr": np.lib.format.dtype_to_descr(target.dtype), "fortran_order": False, "shape": target.shape}
    with write_atomically(path) as part, part.open("w+b") as file:
        np.lib.format.write_array_header_1_0(file, header)
        file.flush()
        offset = file.tell()
        file.truncate(offset + target.nbytes)
        yield lambda slices, block: write_contiguous(file.fileno(), offset, target.shape, slices, block)
