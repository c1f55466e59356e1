"""Chunk shapes of HDF5 and Zarr arrays, and the memory for chunks that are not complete yet."""

from __future__ import annotations

import math
from collections.abc import Sequence

from omero_pixclf.files.export.output_array import OutputArray

__all__ = ["chunk_buffer_bytes", "near_cubic_chunks"]

_LEAST = 64 << 20


def near_cubic_chunks(limits: Sequence[int], volume: float) -> tuple[int, ...]:
    """Return the most cube-like box of about ``volume`` elements within ``limits``, as ilastik chooses chunks.

    Short axes are taken completely, and the others share the rest.

    Examples
    --------
    >>> near_cubic_chunks((1000, 2000, 3000, 1), 1e6)
    (100, 100, 100, 1)
    >>> near_cubic_chunks((1, 100, 5, 200, 3), 1000)
    (1, 8, 5, 8, 3)
    """
    sides = [0] * len(limits)
    taken = 1
    shortest_first = sorted(range(len(limits)), key=lambda i: (limits[i], i))
    for rank, axis in enumerate(shortest_first):
        even = int((volume // taken) ** (1 / (len(limits) - rank)) + 0.5)
        sides[axis] = max(1, min(even, limits[axis]))
        taken *= sides[axis]
    return tuple(sides)


def chunk_buffer_bytes(target: OutputArray, chunks: Sequence[int]) -> int:
    """Return the memory in bytes for incomplete chunks, so that blocks in pixel order complete each chunk once.

    At most the target's ``buffer_bytes``. With less memory than needed, chunks are compressed more than once.

    Blocks run along x first, so the chunks of a row, of all channels and of two layers along z are incomplete at once.

    Examples
    --------
    >>> import numpy as np
    >>> from omero_pixclf.files.axes import axes_from_keys
    >>> wide = OutputArray((40_000, 40_000, 2), np.dtype("float32"), axes_from_keys("yxc"))
    >>> chunk_buffer_bytes(wide, (506, 505, 1)) >> 20  # 80 chunks of 1 MB for each channel
    155
    """
    chunk = target.dtype.itemsize * math.prod(chunks)
    counts = {k: -(-n // c) for k, n, c in zip(target.keys, target.shape, chunks, strict=True)}
    row = chunk * counts.get("x", 1) * counts.get("c", 1) * min(2, counts.get("z", 1))
    return min(max(row, _LEAST), target.buffer_bytes)
