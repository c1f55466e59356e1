"""Cut the bitmap of each object out of a label image in one pass."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from omero_pixclf.image import Array, BoolArray
from omero_pixclf.objects.run_length import Spans

__all__ = ["Bitmap", "object_bitmaps"]

_CHUNK_BITS = 1 << 24  # bits painted at a time: limits memory for sparse objects with large boxes


@dataclass(frozen=True)
class Bitmap:
    """An object in one plane: ``bits`` (height, width) bool, its upper left pixel at column ``x`` and row ``y``."""

    label: int
    z: int
    x: int
    y: int
    bits: BoolArray = field(repr=False)


def object_bitmaps(spans: Spans) -> Iterator[Bitmap]:
    """Yield one bitmap per object and plane, of its bounding box, ordered by label, then z."""
    if not len(spans):
        return
    spans = spans.take(np.lexsort((spans.z, spans.label)))  # stable: rows stay in order
    new = np.flatnonzero((np.diff(spans.label) != 0) | (np.diff(spans.z) != 0)) + 1
    first = np.concatenate(([0], new))
    end = np.concatenate((new, [len(spans)]))
    left = np.minimum.reduceat(spans.x0, first)
    width = np.maximum.reduceat(spans.x1, first) - left
    top = spans.y[first]
    height = spans.y[end - 1] + 1 - top
    chunk = (np.cumsum(width * height) - 1) // _CHUNK_BITS
    for group in np.split(np.arange(len(first)), np.flatnonzero(np.diff(chunk)) + 1):
        part = spans.take(slice(int(first[group[0]]), int(end[group[-1]])))
        of = np.repeat(np.arange(len(group)), end[group] - first[group])
        painted = _paint_bitmaps(part, of, left[group], top[group], width[group], height[group])
        for index, bits in zip(group.tolist(), painted, strict=True):
            at = int(first[index])
            yield Bitmap(int(spans.label[at]), int(spans.z[at]), int(left[index]), int(top[index]), bits)


def _paint_bitmaps(
    spans: Spans, of: Array, left: Array, top: Array, width: Array, height: Array
) -> Iterator[BoolArray]:
    """Paint the bits of several boxes in one flat array: +1 where a span starts, -1 where it ends, then a sum."""
    offset = np.concatenate(([0], np.cumsum(width * height)))
    row = offset[of] + (spans.y - top[of]) * width[of]
    change = np.zeros(int(offset[-1]) + 1, dtype=np.int8)
    change[row + spans.x0 - left[of]] += 1
    change[row + spans.x1 - left[of]] -= (
        1  # a span may end where one of the next row starts: two statements, so that no index is twice in one
    )
    bits = np.cumsum(change[:-1], dtype=np.int8).view(np.bool_)
    for at, w, h in zip(offset.tolist(), width.tolist(), height.tolist(), strict=False):
        yield bits[at : at + w * h].reshape(h, w)
