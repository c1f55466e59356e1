"""Summary of one image: object counts, area fractions, uncertainty, sharpness."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from itertools import product
from typing import Any

import numpy as np

from omero_pixclf.image import Float64Array, Int64Array
from omero_pixclf.objects.block_labeling import ReadableArray
from omero_pixclf.objects.block_regions import Block
from omero_pixclf.objects.windows import expand_block
from omero_pixclf.pixels.exports import uncertainty

__all__ = ["TILE", "ImageSummary", "TileSums", "combine_sums", "focus_score", "sum_tiles", "summarize_image"]

TILE = 256
"""Size of the tiles along y and x; the last digits of a summary depend on it."""


@dataclass(frozen=True)
class ImageSummary:
    """The numbers of one image.

    Attributes
    ----------
    objects
        Number of objects per class, over all time points.
    area_fraction
        Fraction of all pixels (voxels) that are in objects, per class, 0 to 1.
    uncertainty
        Mean over all pixels of 1 - (highest - second highest probability); NaN without probabilities.
    focus
        `focus_score` of each channel.
    """

    objects: Mapping[str, int]
    area_fraction: Mapping[str, float]
    uncertainty: float
    focus: tuple[float, ...]


def summarize_image(
    image: ReadableArray, probabilities: ReadableArray | None, labels: Mapping[str, ReadableArray]
) -> ImageSummary:
    """Summarize one image, tile by tile; arrays of numpy, zarr or h5py.

    Parameters
    ----------
    image
        ``(t, z, y, x, c)``.
    probabilities
        ``(t, z, y, x, k)``, or None.
    labels
        The label image ``(t, z, y, x)`` of each class name.
    """
    counts = {name: [_count_label_pixels(found, t) for t in range(found.shape[0])] for name, found in labels.items()}
    objects = {name: sum(int(np.count_nonzero(c)) for c in found) for name, found in counts.items()}
    covered = {name: sum(int(c.sum()) for c in found) for name, found in counts.items()}
    depth, height, width = image.shape[1:4]
    whole = (slice(0, depth), slice(0, height), slice(0, width))
    sums = [sum_tiles(image, probabilities, t, whole) for t in range(image.shape[0])]
    return combine_sums(sums, objects, covered, certain=probabilities is not None)


def _count_label_pixels(labels: ReadableArray, t: int) -> Int64Array:
    """Count the pixels of each label at one t, without the background."""
    total = np.zeros(1, dtype=np.int64)
    for place in _split_into_tiles((slice(0, labels.shape[1]), slice(0, labels.shape[2]), slice(0, labels.shape[3]))):
        count = np.bincount(np.asarray(labels[(t, *place)]).ravel(), minlength=len(total))
        count[: len(total)] += total
        total = count
    return total[1:]


@dataclass(frozen=True)
class TileSums:
    """Sums for a summary, one row per tile, of a whole image or a part of it.

    Attributes
    ----------
    at
        (n, 4) t, z, y, x of the tile's first pixel.
    pixels
        (n,) number of pixels.
    doubt
        (n,) sum of the uncertainties of the pixels; 0 without probabilities.
    light
        (n, c) sum of each channel.
    inner
        (n,) number of pixels that have four neighbours in their plane.
    bend, spread
        (n, c) mean Laplacian of these pixels, and the sum of the squared deviations from it.
    """

    at: Int64Array
    pixels: Int64Array
    doubt: Float64Array
    light: Float64Array
    inner: Int64Array
    bend: Float64Array
    spread: Float64Array


def sum_tiles(image: ReadableArray, probabilities: ReadableArray | None, t: int, place: Block) -> TileSums:
    """Sum the tiles of a block of one t. Blocks start at multiples of `TILE`, so that tiles do not depend on blocks."""
    rows = [_sum_tile(image, probabilities, t, tile) for tile in _split_into_tiles(place)]
    return TileSums(*(np.array(values) for values in zip(*rows, strict=True)))


def combine_sums(
    parts: Sequence[TileSums], objects: Mapping[str, int], covered: Mapping[str, int], *, certain: bool = True
) -> ImageSummary:
    """Combine the sums of all parts of an image, in any order, to its summary.

    ``objects`` and ``covered`` are the number of objects and of their pixels, per class; ``certain`` says whether
    there are probabilities.
    """
    joined = [np.concatenate([getattr(part, f.name) for part in parts]) for f in fields(TileSums)]
    order = np.lexsort(joined[0].T[::-1])
    at, pixels, doubt, light, inner, bend, spread = (values[order] for values in joined)
    total = int(pixels.sum())
    planes = np.flatnonzero(np.diff(at[:, 0] * (int(at[:, 1].max()) + 1) + at[:, 1], prepend=-1))
    weight = np.add.reduceat(inner, planes)[:, None]
    with np.errstate(invalid="ignore", divide="ignore"):  # no inner pixels; planes that are all zero
        mean = np.add.reduceat(inner[:, None] * bend, planes) / weight
        apart = bend - np.repeat(mean, np.diff(planes, append=len(at)), axis=0)
        variance = np.add.reduceat(spread + inner[:, None] * apart**2, planes) / weight
        level = np.add.reduceat(light, planes) / np.add.reduceat(pixels, planes)[:, None]
        dark = np.where((weight > 0) & (variance == 0), 0.0, np.nan)
        sharpness = np.where(level == 0, dark, variance / level**2)
    times = np.flatnonzero(np.diff(at[planes, 0], prepend=-1))
    return ImageSummary(
        objects=objects,
        area_fraction={name: inside / total for name, inside in covered.items()},
        uncertainty=float(doubt.sum() / total) if certain else float("nan"),
        focus=tuple(np.maximum.reduceat(sharpness, times).mean(axis=0).tolist()),
    )


def _split_into_tiles(place: Block) -> Iterator[Block]:
    """Yield the tiles of all planes of a block."""
    rows, columns = (range(side.start, side.stop, TILE) for side in place[1:])
    for z, y, x in product(range(place[0].start, place[0].stop), rows, columns):
        yield slice(z, z + 1), slice(y, min(y + TILE, place[1].stop)), slice(x, min(x + TILE, place[2].stop))


def _sum_tile(image: ReadableArray, probabilities: ReadableArray | None, t: int, tile: Block) -> tuple[Any, ...]:
    z, y, x = tile
    _, around_y, around_x = expand_block(tile, (0, 1, 1), image.shape[1:4])
    near = np.asarray(image[t, z.start, around_y, around_x])
    own = near[y.start - around_y.start : y.stop - around_y.start, x.start - around_x.start : x.stop - around_x.start]
    doubt = 0.0
    if probabilities is not None:
        doubt = float(uncertainty(np.asarray(probabilities[t, z.start, y, x])).sum(dtype=np.float64))
    light, bend, spread = [], [], []
    inner = max(near.shape[0] - 2, 0) * max(near.shape[1] - 2, 0)
    for c in range(image.shape[4]):
        light.append(float(np.ascontiguousarray(own[..., c]).sum(dtype=np.float64)))
        curve = _laplacian(near[..., c].astype(np.float64))
        bend.append(float(curve.mean()) if inner else 0.0)
        spread.append(float(((curve - bend[-1]) ** 2).sum()))
    return (t, z.start, y.start, x.start), own.shape[0] * own.shape[1], doubt, light, inner, bend, spread


def _laplacian(values: Float64Array) -> Float64Array:
    """Return the Laplacian of the pixels with four neighbours."""
    return values[:-2, 1:-1] + values[2:, 1:-1] + values[1:-1, :-2] + values[1:-1, 2:] - 4 * values[1:-1, 1:-1]


def focus_score(image: ReadableArray, channel: int) -> float:
    """Return the sharpness of a channel of ``(t, z, y, x, c)``; comparable between images of one assay only.

    For each plane this is the variance of the Laplacian (4 neighbours, inner pixels) divided by the square of the mean,
    so that exposure has no effect. A stack has the value of its sharpest plane, a time series the mean of its time
    points. It is NaN below 3 by 3 pixels and for a plane whose mean is 0, but 0 for a plane of zeros. The method is
    the variance of the Laplacian of Pech-Pacheco et al. 2000, doi:10.1109/ICPR.2000.903548, made independent of
    brightness.
    """
    return summarize_image(image, None, {}).focus[channel]
