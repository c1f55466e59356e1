"""Label images as runs of pixels along x, from which outlines and measurements are computed.

A span is a run of pixels of one label along x. Sums over spans are much faster than sums over pixels, and all numbers
that depend on position and shape alone are such sums.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from omero_pixclf.image import Array, Int64Array

__all__ = ["Spans", "encode_spans"]


@dataclass(frozen=True)
class Spans:
    """The spans of one time point in raster order; equal-length int64 arrays.

    Attributes
    ----------
    label
        Label of each span, above 0.
    z, y
        Plane and row.
    x0, x1
        First column, and one after the last.
    shape
        ``(z, y, x)`` of the label image.
    """

    label: Int64Array
    z: Int64Array
    y: Int64Array
    x0: Int64Array
    x1: Int64Array
    shape: tuple[int, int, int]

    @property
    def length(self) -> Int64Array:
        """Pixels of each span."""
        return self.x1 - self.x0

    def take(self, chosen: Array | slice) -> Spans:
        """Return some of the spans, by index, mask or slice."""
        parts = (self.label, self.z, self.y, self.x0, self.x1)
        label, z, y, x0, x1 = (part[chosen] for part in parts)
        return Spans(label, z, y, x0, x1, self.shape)

    def shift(self, by: tuple[int, int, int], shape: tuple[int, int, int]) -> Spans:
        """Return the same spans shifted along (z, y, x), in a larger image of this shape."""
        z, y, x = by
        return Spans(self.label, self.z + z, self.y + y, self.x0 + x, self.x1 + x, shape)

    def __len__(self) -> int:
        return len(self.label)


def encode_spans(frame: Array) -> Spans:
    """Encode a ``(z, y, x)`` label image as spans.

    >>> s = encode_spans(np.array([[[0, 1, 1, 2]]]))
    >>> s.label.tolist(), s.x0.tolist(), s.x1.tolist()
    ([1, 2], [1, 3], [3, 4])
    """
    planes, height, width = frame.shape
    rows = np.ascontiguousarray(frame).reshape(planes * height, width)
    starts = np.empty(rows.shape, dtype=np.bool_)
    starts[:, :1] = True
    np.not_equal(rows[:, 1:], rows[:, :-1], out=starts[:, 1:])
    first = np.flatnonzero(starts)
    end = np.append(first[1:], rows.size)  # every row starts a new span
    label = rows.reshape(-1)[first].astype(np.int64)
    inside = label > 0
    first, end, label = first[inside], end[inside], label[inside]
    row, x0 = np.divmod(first, max(width, 1))
    z, y = np.divmod(row, max(height, 1))
    return Spans(label, z, y, x0, x0 + (end - first), (planes, height, width))
