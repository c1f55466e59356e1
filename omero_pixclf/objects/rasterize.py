"""Draw outlines into a label image, with the pixels that viewers show."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from omero_pixclf.image import Array, Int32Array, Int64Array
from omero_pixclf.objects.outline import MaskShape, Outline

__all__ = ["rasterize_outlines"]


def rasterize_outlines(outlines: Iterable[Outline], shape: tuple[int, int, int, int]) -> Int32Array:
    """Draw outlines into a label image ``(t, z, y, x)``; later outlines cover earlier ones.

    Masks are set bit by bit. A polygon covers the pixels whose centres are inside (even-odd rule), so that polygons
    along pixel corners cover exactly the pixels that they were traced around.
    """
    labels = np.zeros(shape, dtype=np.int32)
    for outline in outlines:
        for part in outline.shapes:
            plane = labels[part.t, part.z]
            if isinstance(part, MaskShape):
                height, width = part.bits.shape
                plane[part.y : part.y + height, part.x : part.x + width][part.bits] = outline.label
            else:
                y, x = _pixels_inside([part.points, *part.holes])
                seen = (y >= 0) & (y < shape[2]) & (x >= 0) & (x < shape[3])
                plane[y[seen], x[seen]] = outline.label
    return labels


def _pixels_inside(rings: Sequence[Array]) -> tuple[Int64Array, Int64Array]:
    """Return rows and columns of the pixels whose centres are inside an odd number of rings."""
    (x0, y0), (x1, y1) = np.concatenate(rings).T, np.concatenate([np.roll(r, -1, axis=0) for r in rings]).T
    row0 = np.ceil(np.minimum(y0, y1) - 0.5).astype(np.int64)
    row1 = np.ceil(np.maximum(y0, y1) - 0.5).astype(np.int64)
    edge, row = _expand_ranges(row0, row1)
    slope = (x1 - x0)[edge] / (y1 - y0)[edge]  # an edge that crosses the middle of a row is not horizontal
    column = np.ceil(x0[edge] + (row + 0.5 - y0[edge]) * slope - 0.5).astype(np.int64)
    order = np.lexsort((column, row))
    row, column = row[order], column[order]
    span, x = _expand_ranges(column[::2], column[1::2])  # crossings of a row come in pairs: in, out
    return row[::2][span], x


def _expand_ranges(start: Array, stop: Array) -> tuple[Int64Array, Int64Array]:
    """Return all integers of the ranges, and for each the index of its range."""
    count = np.maximum(stop - start, 0)
    of = np.repeat(np.arange(len(start)), count)
    return of, start[of] + np.arange(len(of)) - (np.cumsum(count) - count)[of]
