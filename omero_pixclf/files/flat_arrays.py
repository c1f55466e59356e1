"""Arrays stored flat in a file, read and written block by block without mapping the file into memory.

A mapped file kills the process when the disk is full or the file is cut short, and counts as the process's memory.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from math import prod
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from omero_pixclf.errors import ImageError, OutputError
from omero_pixclf.files.atomic import part_path, remove, replacing
from omero_pixclf.files.axes import axes_of, guess_keys
from omero_pixclf.files.export.target import Target, Write
from omero_pixclf.files.reader_reports import reader_errors
from omero_pixclf.files.stored_array import StoredArray, refuse_impossible

__all__ = ["open_npy", "read_flat", "spooled", "write_flat", "write_npy"]

_PIECE_BYTES = 32 << 20  # no read is larger than this, as long as it can be divided
_SMALL_BYTES = 256 << 10  # reading so much costs no more than reading little in many pieces


def write_flat(file: int, offset: int, shape: tuple[int, ...], slices: tuple[slice, ...], block: NDArray[Any]) -> None:
    """Put a block of a C-ordered array, which begins at ``offset`` bytes of an open file, where it belongs."""
    solid = np.ascontiguousarray(block)
    strides = np.cumprod((1, *reversed(shape[1:])))[::-1] * solid.itemsize
    run = len(shape)  # the trailing axes that the block covers whole lie in one piece
    while run > 0 and (run == len(shape) or solid.shape[run] == shape[run]):
        run -= 1
    starts = [s.start for s in slices]
    rest = offset + sum(int(s * n) for s, n in zip(starts[run:], strides[run:], strict=True))
    for index in itertools.product(*(range(n) for n in solid.shape[:run])):
        at = rest + sum(int((s + i) * n) for s, i, n in zip(starts[:run], index, strides[:run], strict=True))
        _write_all(file, solid[index].data.cast("B") if solid[index].ndim else solid[index].tobytes(), at)


def _write_all(file: int, data: Any, at: int) -> None:
    left = memoryview(data)
    while left:
        done = os.pwrite(file, left, at)
        left, at = left[done:], at + done


def read_flat(
    file: int, offset: int, shape: tuple[int, ...], dtype: np.dtype[Any], slices: tuple[slice, ...]
) -> NDArray[Any]:
    """A part of a C-ordered array that begins at ``offset`` bytes of an open file, in native byte order.

    Raises
    ------
    EOFError
        Where the file ends before.
    """
    steps = [int(n) for n in np.cumprod((1, *reversed(shape[1:])))[::-1]]
    sizes = [s.stop - s.start for s in slices]
    result = np.empty(sizes, dtype.newbyteorder("="))
    lead = _separate_axes(sizes, steps, dtype.itemsize)
    first = sum(s.start * n for s, n in zip(slices, steps, strict=True))
    span = _span(sizes[lead:], steps[lead:])
    strides = [n * dtype.itemsize for n in steps[lead:]]
    for index in itertools.product(*(range(n) for n in sizes[:lead])):
        at = first + sum(i * n for i, n in zip(index, steps, strict=False))
        piece = os.pread(file, span * dtype.itemsize, offset + at * dtype.itemsize)
        if len(piece) < span * dtype.itemsize:
            raise EOFError("the file ends before the array does")
        flat = np.frombuffer(piece, dtype)
        result[index] = np.lib.stride_tricks.as_strided(flat, sizes[lead:], strides, writeable=False)
    return result


def _separate_axes(sizes: list[int], steps: list[int], itemsize: int) -> int:
    """Along how many leading axes to read pieces one by one: few reads, and not much more than is wanted."""
    for lead in range(len(sizes)):
        wanted = int(np.prod(sizes[lead:], dtype=np.int64))
        span = _span(sizes[lead:], steps[lead:])
        if (span <= 4 * wanted and span * itemsize <= _PIECE_BYTES) or span * itemsize <= _SMALL_BYTES:
            return lead
    return len(sizes) - 1


def _span(sizes: list[int], steps: list[int]) -> int:
    """Elements from the first to the last one wanted."""
    return 1 + sum((size - 1) * step for size, step in zip(sizes, steps, strict=True))


@contextmanager
def open_npy(path: Path) -> Iterator[StoredArray]:
    """A NumPy array file; its axes are guessed as ilastik does.

    Raises
    ------
    ImageError
        Where the file cannot be read or holds no numbers.
    """
    with ExitStack() as opened:
        try:
            file = opened.enter_context(path.open("rb"))
            shape, fortran, dtype = _npy_header(file)
            offset, size = file.tell(), os.fstat(file.fileno()).st_size
        except reader_errors() as error:
            raise ImageError(f"{path}: not a readable NumPy array: {error}; copy or export it again") from error
        if dtype.kind not in "uifb":
            raise ImageError(f"{path}: holds {dtype}, expected numbers")
        if not 2 <= len(shape) <= 5 or min(shape) < 1:
            raise ImageError(f"{path}: its shape is {shape}, expected 2 to 5 dimensions and none empty")
        refuse_impossible(str(path), shape, dtype)
        if size - offset < prod(shape) * dtype.itemsize:
            end = offset + prod(shape) * dtype.itemsize
            raise ImageError(f"{path} is incomplete: it has {size} of {end} bytes; copy it again")
        yield StoredArray(
            name=str(path),
            shape=shape,
            dtype=dtype.newbyteorder("="),
            axes=axes_of(guess_keys(shape)),
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
            turned: NDArray[Any] = read_flat(file, offset, shape[::-1], dtype, slices[::-1]).transpose()
            return turned
        return read_flat(file, offset, shape, dtype, slices)
    except (OSError, EOFError) as error:
        raise ImageError(f"{path}: pixels cannot be read: {error}") from error


@contextmanager
def write_npy(path: Path, target: Target) -> Iterator[Write]:
    """Write a ``.npy`` file.

    Raises
    ------
    OutputError
        Where it cannot be written.
    """
    header = {"descr": np.lib.format.dtype_to_descr(target.dtype), "fortran_order": False, "shape": target.shape}
    with replacing(path) as part, part.open("w+b") as file:
        np.lib.format.write_array_header_1_0(file, header)
        file.flush()
        offset = file.tell()
        file.truncate(offset + target.nbytes)
        yield lambda slices, block: write_flat(file.fileno(), offset, target.shape, slices, block)


@contextmanager
def spooled(path: Path, target: Target) -> Iterator[tuple[Write, NDArray[Any]]]:
    """A scratch array on the disk that ``path`` will lie on, for formats that need whole planes.

    Yields the function that writes blocks and the array, mapped read-only, to read planes from afterwards.

    Raises
    ------
    OutputError
        Where it cannot be written.
    """
    spool = part_path(path, ".spool")
    try:
        spool.parent.mkdir(parents=True, exist_ok=True)
        with spool.open("w+b") as file:
            file.truncate(max(target.nbytes, 1))
            array = np.memmap(spool, dtype=target.dtype, mode="r", shape=target.shape)
            yield lambda slices, block: write_flat(file.fileno(), 0, target.shape, slices, block), array
    except OSError as error:
        raise OutputError(f"{path}: could not be written: {error.strerror or error}") from error
    finally:
        remove(spool)
