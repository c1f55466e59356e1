"""Blocks of arrays that a file stores contiguously (C order, not compressed), read and written without memory mapping.

With a memory-mapped file, a full disk or a truncated file kills the process, and the file counts as its memory.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from omero_pixclf.errors import OutputError
from omero_pixclf.files.atomic import remove_path, temporary_path
from omero_pixclf.files.export.output_array import OutputArray, WriteBlock

__all__ = ["open_scratch_array", "read_contiguous", "write_contiguous"]

_PIECE_BYTES = 32 << 20  # the largest single read, if it can be divided
_SMALL_BYTES = 256 << 10  # one read of this size takes no longer than many smaller ones


def write_contiguous(
    file: int, offset: int, shape: tuple[int, ...], slices: tuple[slice, ...], block: NDArray[Any]
) -> None:
    """Write a block of a C-ordered array that begins ``offset`` bytes from the start of an open file."""
    solid = np.ascontiguousarray(block)
    strides = np.cumprod((1, *reversed(shape[1:])))[::-1] * solid.itemsize
    run = len(shape)  # trailing axes that the block covers completely are contiguous
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


def read_contiguous(
    file: int, offset: int, shape: tuple[int, ...], dtype: np.dtype[Any], slices: tuple[slice, ...]
) -> NDArray[Any]:
    """Read a part of a C-ordered array that begins ``offset`` bytes from the start of an open file.

    Returns it in native byte order.

    Raises
    ------
    EOFError
        If the file ends before the part does.
    """
    steps = [int(n) for n in np.cumprod((1, *reversed(shape[1:])))[::-1]]
    sizes = [s.stop - s.start for s in slices]
    result = np.empty(sizes, dtype.newbyteorder("="))
    lead = _looped_axes_count(sizes, steps, dtype.itemsize)
    first = sum(s.start * n for s, n in zip(slices, steps, strict=True))
    span = _span_length(sizes[lead:], steps[lead:])
    strides = [n * dtype.itemsize for n in steps[lead:]]
    for index in itertools.product(*(range(n) for n in sizes[:lead])):
        at = first + sum(i * n for i, n in zip(index, steps, strict=False))
        piece = os.pread(file, span * dtype.itemsize, offset + at * dtype.itemsize)
        if len(piece) < span * dtype.itemsize:
            raise EOFError("the file ends before the array does")
        flat = np.frombuffer(piece, dtype)
        result[index] = np.lib.stride_tricks.as_strided(flat, sizes[lead:], strides, writeable=False)
    return result


def _looped_axes_count(sizes: list[int], steps: list[int], itemsize: int) -> int:
    """Return the number of leading axes to loop over: few reads, and not much more read than requested."""
    for lead in range(len(sizes)):
        wanted = int(np.prod(sizes[lead:], dtype=np.int64))
        span = _span_length(sizes[lead:], steps[lead:])
        if (span <= 4 * wanted and span * itemsize <= _PIECE_BYTES) or span * itemsize <= _SMALL_BYTES:
            return lead
    return len(sizes) - 1


def _span_length(sizes: list[int], steps: list[int]) -> int:
    """Return the number of elements from the first to the last one requested."""
    return 1 + sum((size - 1) * step for size, step in zip(sizes, steps, strict=True))


@contextmanager
def open_scratch_array(path: Path, target: OutputArray) -> Iterator[tuple[WriteBlock, NDArray[Any]]]:
    """Open a scratch array in the folder of ``path``, for formats that are written in whole planes.

    Yields the function that writes blocks, and the array, mapped read-only, to read planes from afterwards.

    Raises
    ------
    OutputError
        If it cannot be written.
    """
    spool = temporary_path(path, ".spool")
    try:
        spool.parent.mkdir(parents=True, exist_ok=True)
        with spool.open("w+b") as file:
            file.truncate(max(target.nbytes, 1))
            array = np.memmap(spool, dtype=target.dtype, mode="r", shape=target.shape)
            yield lambda slices, block: write_contiguous(file.fileno(), 0, target.shape, slices, block), array
    except OSError as error:
        raise OutputError(f"{path}: could not be written: {error.strerror or error}") from error
    finally:
        remove_path(spool)
