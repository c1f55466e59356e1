"""Arrays for one image's work: in memory while they fit, in files of the run's folder where they do not."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from omero_pixclf.errors import OutputError

__all__ = ["Make", "scratch"]

Make = Callable[[Sequence[int], DTypeLike], NDArray[Any]]
"""``make(shape, dtype)``: a new array, its content undefined."""


@contextmanager
def scratch(folder: Path | None) -> Iterator[Make]:
    """A maker of arrays that last as long as the context: in memory (None), or as files below a folder.

    Raises
    ------
    OutputError
        The folder has no room for an array.
    """
    if folder is None:
        yield np.empty
        return
    home = Path(tempfile.mkdtemp(prefix="scratch-", dir=folder))
    made = 0

    def make(shape: Sequence[int], dtype: DTypeLike) -> NDArray[Any]:
        nonlocal made
        made += 1
        needed = int(np.prod([int(n) for n in shape], dtype=np.int64)) * np.dtype(dtype).itemsize
        free = shutil.disk_usage(home).free
        if needed > free:
            raise OutputError(
                f"{folder}: {needed / 2**30:.1f} GiB are needed for an image's maps, {free / 2**30:.1f} are free"
            )
        return np.memmap(home / str(made), dtype=dtype, mode="w+", shape=tuple(shape))

    try:
        yield make
    finally:
        shutil.rmtree(home, ignore_errors=True)
