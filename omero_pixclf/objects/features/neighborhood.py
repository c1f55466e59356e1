"""The pixels around objects: what ilastik's features "in neighborhood" are computed from.

A pixel belongs to an object's neighborhood if its distance to the object is above 0 and below the largest margin, also
if it belongs to another object. Distances are Euclidean; the pitch along an axis is the largest margin divided by the
axis's margin, rounded down. ilastik looks only in the object's bounding box, enlarged by the margin, and by one pixel
more at the upper ends.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from omero_pixclf.image import Array, Int64Array
from omero_pixclf.objects.features.object_pixels import ObjectPixels, ObjectSpans, find_places, read_values
from omero_pixclf.objects.run_length import Spans

__all__ = ["gather_neighborhoods"]

_Extents = tuple[int, int, int]


def gather_neighborhoods(
    objects: ObjectSpans,
    labels: Array,
    image: Array,
    margin: _Extents,
    *,
    limit: int,
) -> Iterator[tuple[Int64Array, ObjectPixels]]:
    """Read the pixels around objects, some objects at a time.

    Parameters
    ----------
    objects
        The objects, as `group_spans` gives them for ``labels``.
    labels, image
        ``(z, y, x)`` and ``(z, y, x, c)``: everything around the objects, as far as the image goes.
    margin
        Pixels along (x, y, z).
    limit
        About how many pixels to read at a time.

    Yields
    ------
    rows, pixels
        Places in ``objects`` of those that have a neighborhood, and the pixels of these, without coordinates.
    """
    reach = np.array(margin[::-1])
    shape = np.array(labels.shape)
    lower = np.maximum(objects.lower - reach, 0)
    upper = np.minimum(objects.upper + 1 + reach, shape)
    offsets = _list_offsets(margin)
    per_object = np.diff(objects.starts) * len(offsets)
    cost = np.maximum((upper - lower).prod(axis=1), 2 * per_object)
    for own, batch in objects.batches(cost, limit):
        around = _unite(_widen(batch, offsets, lower[own], upper[own], labels.shape))
        rows, pixels = _read(around, batch, own.start, labels, image)
        if len(rows):
            yield rows, pixels


def _list_offsets(margin: _Extents) -> Int64Array:
    """Rows of a ball around a pixel: dz, dy, and how far the ball reaches along x, ``(k, 3)``."""
    radius = max(margin)
    pitch = [radius // extent if extent else 0 for extent in margin]
    y, z = ((radius - 1) // step if step else 0 for step in pitch[1:])
    dz, dy = np.mgrid[-z : z + 1, -y : y + 1].reshape(2, -1)
    rest = radius**2 - 1 - (dz * pitch[2]) ** 2 - (dy * pitch[1]) ** 2
    dz, dy, rest = dz[rest >= 0], dy[rest >= 0], rest[rest >= 0]
    half = np.floor(np.sqrt(rest)).astype(np.int64)  # exact: rest is far below 2^52
    return np.stack([dz, dy, half // pitch[0] if pitch[0] else np.zeros_like(half)], axis=1)


def _widen(
    batch: ObjectSpans, offsets: Int64Array, lower: Int64Array, upper: Int64Array, shape: tuple[int, ...]
) -> Spans:
    """Every span moved and widened by every offset, inside its object's box; labels are places in the batch."""
    row = np.repeat(np.arange(len(batch)), np.diff(batch.starts))
    spans = batch.spans
    z = (spans.z[:, None] + offsets[:, 0]).ravel()
    y = (spans.y[:, None] + offsets[:, 1]).ravel()
    own = np.repeat(row, len(offsets))
    low, high = lower[own], upper[own]
    x0 = np.maximum((spans.x0[:, None] - offsets[:, 2]).ravel(), low[:, 2])
    x1 = np.minimum((spans.x1[:, None] + offsets[:, 2]).ravel(), high[:, 2])
    inside = (z >= low[:, 0]) & (z < high[:, 0]) & (y >= low[:, 1]) & (y < high[:, 1])
    return Spans(own, z, y, x0, x1, (shape[0], shape[1], shape[2])).take(inside)


def _unite(spans: Spans) -> Spans:
    """The union of overlapping spans of one object in one row, object after object in raster order."""
    planes, height, width = spans.shape
    line = (spans.label * planes + spans.z) * height + spans.y
    order = np.argsort(line * width + spans.x0, kind="stable")
    spans, line = spans.take(order), line[order]
    end = np.maximum.accumulate(line * (width + 1) + spans.x1)  # rows do not overlap, as each ends before the next
    first = np.ones(len(spans), np.bool_)
    first[1:] = line[1:] * (width + 1) + spans.x0[1:] > end[:-1]
    start = np.flatnonzero(first)
    last = np.append(start[1:], len(spans)) - 1
    x1 = end[last] - line[last] * (width + 1)
    joined = spans.take(start)
    return Spans(joined.label, joined.z, joined.y, joined.x0, x1, spans.shape)


def _read(
    around: Spans, batch: ObjectSpans, first: int, labels: Array, image: Array
) -> tuple[Int64Array, ObjectPixels]:
    """The pixels in spans that are not the object's own."""
    places = find_places(around)
    row = np.repeat(around.label, around.length)
    other = labels.reshape(-1)[places] != batch.label[row]
    places, row = places[other], row[other]
    count = np.bincount(row, minlength=len(batch))
    present = np.flatnonzero(count)
    starts = np.cumsum(count[present]) - count[present]
    values = read_values(image, places)
    return present + first, ObjectPixels(starts, count[present].astype(np.float64), values[:0], values)
