"""Read OMERO's plane files, which store the pixels of uploaded images."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from omero_pixclf.errors import ImageError
from omero_pixclf.files.axes import axes_from_keys
from omero_pixclf.files.contiguous import read_contiguous
from omero_pixclf.files.stored_array import StoredArray
from omero_pixclf.image import Shape5

__all__ = ["open_planes"]


@contextmanager
def open_planes(path: Path, shape: Shape5, dtype: str) -> Iterator[StoredArray]:
    """Open a file with all planes of an image of this shape ``(t, z, y, x, c)``: big-endian, z fastest, then c, then t.

    Raises
    ------
    ImageError
        If the file cannot be read or does not have the size of these planes.
    """
    t, z, y, x, c = shape
    stored = np.dtype(dtype).newbyteorder(">")
    expected = math.prod(shape) * stored.itemsize
    try:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            if size != expected:
                raise ImageError(f"{path}: has {size} bytes, expected {expected} for {shape} of {dtype}")

            def read(slices: tuple[slice, ...]) -> NDArray[np.generic]:
                try:
                    return read_contiguous(file.fileno(), 0, (t, c, z, y, x), stored, slices)
                except (OSError, EOFError) as error:
                    raise ImageError(f"{path}: pixels cannot be read: {error}") from error

            yield StoredArray(str(path), (t, c, z, y, x), np.dtype(dtype), axes_from_keys("tczyx"), read)
    except OSError as error:
        raise ImageError(f"{path}: cannot be read: {error.strerror or error}") from error
