"""Arrays stored flat in a file, written block by block without mapping it into memory.

A mapped file would kill the process when the disk is full; plain writes raise an error.
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

from omero_pixclf.errors import ImageError, OutputError
from omero_pixclf.files.atomic import part_path, remove, replacing
from omero_pixclf.files.axes import axes_of, guess_keys
from omero_pixclf.files.stored import StoredArray
from omero_pixclf.files.target import Target, Write

__all__ = ["open_npy", "spooled", "write_flat", "write_npy"]


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


@contextmanager
def open_npy(path: Path) -> Iterator[StoredArray]:
    """A NumPy array file, mapped; its axes are guessed as ilastik does.

    Raises
    ------
    ImageError
        Where the file cannot be read or holds no numbers.
    """
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise ImageError(f"{path}: not a readable NumPy array: {error}") from error
    if not isinstance(array, np.ndarray) or array.dtype.kind not in "uifb":
        raise ImageError(f"{path}: expected one array of numbers")
    if not 2 <= array.ndim <= 5 or 0 in array.shape:
        raise ImageError(f"{path}: its shape is {array.shape}, expected 2 to 5 dimensions and none empty")
    yield StoredArray(
        name=str(path),
        shape=array.shape,
        dtype=array.dtype.newbyteorder("="),
        axes=axes_of(guess_keys(array.shape)),
        read=lambda slices: np.asarray(array[slices]),
    )


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
