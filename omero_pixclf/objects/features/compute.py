"""Features of all objects of a label image, by the names of ilastik's plug-ins, for images in memory or block by block.

Equal to ilastik's: the tests compare each feature with what ilastik computed. Objects are worked on some at a time, so
that memory depends on the image and on the number of objects, not on the number of pixels around them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from omero_pixclf.ilastik.object_features import (
    HULL_2D,
    HULL_3D,
    NEIGHBORHOOD,
    SKELETON_2D,
    STANDARD,
    Dimensions,
    Margin,
    ObjectFeature,
    column_count,
    exists_in,
)
from omero_pixclf.image import Array, BoolArray, Float64Array, Int64Array
from omero_pixclf.objects.features.convex_hull_features import compute_hull_features
from omero_pixclf.objects.features.intensity_features import (
    BINS,
    compute_histograms,
    compute_intensity_features,
    compute_quantiles,
)
from omero_pixclf.objects.features.neighborhood import gather_neighborhoods
from omero_pixclf.objects.features.object_pixels import ObjectPixels, ObjectSpans, gather_pixels, group_spans
from omero_pixclf.objects.features.principal_axes import compute_channel_features, compute_coordinate_features
from omero_pixclf.objects.features.skeleton_features import compute_skeleton_features
from omero_pixclf.objects.run_length import encode_spans

__all__ = [
    "FeatureTable",
    "ImagePart",
    "compute_features",
    "concatenate_features",
    "find_margin",
    "find_value_range",
    "needs_value_range",
]

_Extents = tuple[int, int, int]
_ValueRange = tuple[float, float]

_MOST_PIXELS = 2**20
_WEIGHTED = "Weighted<"


@dataclass(frozen=True)
class ImagePart:
    """Where arrays lie in their image: the start along (z, y, x), and the whole image's extents along these."""

    origin: _Extents
    shape: _Extents


@dataclass(frozen=True, eq=False)
class FeatureTable:
    """Features of n objects.

    Attributes
    ----------
    label
        int64 ``(n,)``: the objects' labels, ascending.
    values
        float64 ``(n, columns)`` for each feature, in the order in which they were asked for. Coordinates are x, y (and
        z) in pixels, pixel centres being whole numbers, as in ilastik.
    """

    label: Int64Array
    values: Mapping[ObjectFeature, Float64Array]

    def __len__(self) -> int:
        return len(self.label)


def compute_features(
    labels: Array,
    image: Array,
    features: Sequence[ObjectFeature],
    *,
    owned: BoolArray | None = None,
    part: ImagePart | None = None,
    value_range: _ValueRange | None = None,
    max_pixels: int = _MOST_PIXELS,
) -> FeatureTable:
    """Compute features of the objects of one time point.

    Parameters
    ----------
    labels
        ``(z, y, x)`` of integers, 0 is background. An image of one plane is 2D, others are 3D.
    image
        ``(z, y, x, c)``, any real type.
    features
        Which features to compute.
    owned
        ``(z, y, x)`` bool: the pixels of the objects to describe, all of which must be in the arrays; all by default.
    part
        Where the arrays lie in their image, if they are a part of it. They must then hold the owned objects'
        neighborhoods and one pixel more on every side, as far as the image goes.
    value_range
        Smallest and largest intensity over all objects of the image, for ``Histogram``, ``Quantiles`` and
        ``Global<…>``; by default that of the arrays' own objects.
    max_pixels
        About how many pixels of objects or neighborhoods to hold at a time.

    Raises
    ------
    ValueError
        The shapes do not fit together, or a feature does not exist for such an image.
    """
    if labels.ndim != 3 or image.ndim != 4 or image.shape[:3] != labels.shape:
        raise ValueError(f"labels {labels.shape} and image {image.shape}: expected (z, y, x) and (z, y, x, c)")
    whole = part or ImagePart((0, 0, 0), (labels.shape[0], labels.shape[1], labels.shape[2]))
    dims: Dimensions = 3 if whole.shape[0] > 1 else 2
    for feature in features:
        if not exists_in(feature, dims, image.shape[-1]):
            raise ValueError(
                f"{feature.plugin}: {feature.name} does not exist for {dims}D images with {image.shape[-1]} channel(s)"
            )
    own = labels if owned is None else np.where(owned, labels, 0)
    objects = group_spans(encode_spans(own))
    found: dict[ObjectFeature, Float64Array] = {
        f: np.full((len(objects), column_count(f, dims, image.shape[-1])), np.nan) for f in features
    }
    job = _Job(labels, own, image, objects, whole, dims, value_range, max_pixels)
    if len(objects):
        for plugin, compute in _PLUGINS.items():
            names = {f.name: f for f in features if f.plugin == plugin}
            if names:
                compute(job, names, found)
    return FeatureTable(objects.label, found)


def find_value_range(labels: Array, image: Array, *, max_pixels: int = _MOST_PIXELS) -> _ValueRange:
    """Return the smallest and largest intensity of the first channel over all objects; NaN where there are none.

    ``labels`` and ``image`` are as in `compute_features`; the ranges of an image's parts are merged with
    `numpy.fmin` and `numpy.fmax`.
    """
    low, high = np.nan, np.nan
    objects = group_spans(encode_spans(labels))
    for _, batch in objects.batches(objects.size, max_pixels):
        values = gather_pixels(batch, image, dims=2, origin=(0, 0, 0)).values[0]
        low = np.fmin(low, np.fmin.reduce(values))
        high = np.fmax(high, np.fmax.reduce(values))
    return float(low), float(high)


def needs_value_range(features: Iterable[ObjectFeature]) -> bool:
    """Whether any of the features depends on the range of intensities over all objects of the image."""
    return any(f.name in ("Histogram", "Quantiles") or f.name.startswith("Global<") for f in features)


def find_margin(features: Iterable[ObjectFeature]) -> Margin:
    """Return the largest margin along (x, y, z): with it ilastik computes all features in the neighborhood."""
    margins = [feature.margin or (0, 0, 0) for feature in features]
    x, y, z = np.max([(0, 0, 0), *margins], axis=0).tolist()
    return x, y, z


def concatenate_features(tables: Sequence[FeatureTable]) -> FeatureTable:
    """Join tables of the same features; rows are sorted by label."""
    label = np.concatenate([table.label for table in tables])
    order = np.argsort(label, kind="stable")
    names = tables[0].values
    return FeatureTable(label[order], {f: np.concatenate([t.values[f] for t in tables])[order] for f in names})


@dataclass(frozen=True, eq=False)
class _Job:
    """What the plug-ins compute from; ``own`` are the labels of the objects to describe."""

    labels: Array
    own: Array
    image: Array
    objects: ObjectSpans
    whole: ImagePart
    dims: Dimensions
    value_range: _ValueRange | None
    max_pixels: int


def _compute_standard(job: _Job, names: Mapping[str, ObjectFeature], found: dict[ObjectFeature, Float64Array]) -> None:
    around = {name.removesuffix(NEIGHBORHOOD): f for name, f in names.items() if name.endswith(NEIGHBORHOOD)}
    inside = {name: f for name, f in names.items() if not name.endswith(NEIGHBORHOOD)}
    if inside:
        _compute_inside(job, inside, found)
    if around:
        _compute_around(job, around, found)


def _compute_inside(job: _Job, names: Mapping[str, ObjectFeature], found: dict[ObjectFeature, Float64Array]) -> None:
    low, high = job.value_range or (np.nan, np.nan)
    if job.value_range is None and needs_value_range(names.values()):
        low, high = find_value_range(job.own, job.image, max_pixels=job.max_pixels)
    for own, batch in job.objects.batches(job.objects.size, job.max_pixels):
        pixels = gather_pixels(batch, job.image, dims=job.dims, origin=job.whole.origin)
        ends = np.full(len(batch), low), np.full(len(batch), high)
        values = _describe(pixels, set(names), ends) | _describe_boxes(job, batch)
        for name, feature in names.items():
            found[feature][own] = values[name]


def _compute_around(job: _Job, names: Mapping[str, ObjectFeature], found: dict[ObjectFeature, Float64Array]) -> None:
    margin = find_margin(names.values())
    if not any(margin):
        raise ValueError("features in the neighborhood need a margin along x, y or z")
    around = gather_neighborhoods(job.objects, job.labels, job.image, margin, limit=2 * job.max_pixels)
    for rows, pixels in around:
        one = pixels.values[:1]
        values = _describe(pixels, set(names), (pixels.minimum(one)[:, 0], pixels.maximum(one)[:, 0]))
        for name, feature in names.items():
            found[feature][rows] = values[name]


def _describe(
    pixels: ObjectPixels, names: set[str], ends: tuple[Float64Array, Float64Array]
) -> dict[str, Float64Array]:
    """The features of intensities and coordinates; ``ends`` are the histograms' ranges."""
    values = compute_intensity_features(pixels, names)
    if names & {"Histogram", "Quantiles"}:
        histograms = compute_histograms(pixels, *ends)
        values["Histogram"] = histograms[:, 1 : BINS + 1]
        if "Quantiles" in names:
            one = pixels.values[:1]
            lowest, highest = pixels.minimum(one)[:, 0], pixels.maximum(one)[:, 0]
            values["Quantiles"] = compute_quantiles(histograms, *ends, lowest, highest)
    if names & {"Global<Minimum>", "Global<Maximum>"}:
        values["Global<Minimum>"], values["Global<Maximum>"] = ends[0][:, None], ends[1][:, None]
    if any(name.startswith(("Region", "Coord<")) for name in names):
        values |= compute_coordinate_features(pixels)
    if any(name.startswith(_WEIGHTED) for name in names):
        weighted = compute_coordinate_features(pixels, pixels.values[0])
        values |= {f"{_WEIGHTED}{name}>": own for name, own in weighted.items()}
    if any(name.startswith("Principal") for name in names):
        values |= compute_channel_features(pixels)
    for name in names & {"Coord<ArgMinWeight>", "Coord<ArgMaxWeight>"}:
        values[name] = _find_extreme(pixels, pixels.values[0] if name == "Coord<ArgMinWeight>" else -pixels.values[0])
    return values


def _find_extreme(pixels: ObjectPixels, weight: Float64Array) -> Float64Array:
    """The coordinates of the first pixel of the smallest weight; 0 where all are NaN."""
    least = pixels.spread(pixels.minimum(weight[None]))[0]
    places = np.where(weight == least, np.arange(len(weight)), len(weight))
    first = np.minimum.reduceat(places, pixels.starts)
    exists = first < len(weight)
    found = pixels.coordinates[:, np.where(exists, first, 0)].T
    return np.where(exists[:, None], found, 0.0)


def _describe_boxes(job: _Job, batch: ObjectSpans) -> dict[str, Float64Array]:
    """Sizes and bounding boxes; the upper ends are exclusive."""
    origin, axes = np.array(job.whole.origin), slice(0, job.dims)
    lower, upper = ((ends + origin)[:, ::-1][:, axes].astype(np.float64) for ends in (batch.lower, batch.upper))
    return {"Count": batch.size[:, None].astype(np.float64), "Coord<Minimum>": lower, "Coord<Maximum>": upper}


def _compute_hull(job: _Job, names: Mapping[str, ObjectFeature], found: dict[ObjectFeature, Float64Array]) -> None:
    cost = (job.objects.upper - job.objects.lower).prod(axis=1)
    for own, batch in job.objects.batches(cost, job.max_pixels):
        values = compute_hull_features(batch, dims=job.dims, origin=job.whole.origin, limit=job.max_pixels)
        for name, feature in names.items():
            found[feature][own] = values[name]


def _compute_skeleton(job: _Job, names: Mapping[str, ObjectFeature], found: dict[ObjectFeature, Float64Array]) -> None:
    values = compute_skeleton_features(
        job.objects, job.labels[0], origin=job.whole.origin[1:], image=job.whole.shape[1:]
    )
    for name, feature in names.items():
        found[feature][...] = values[name]


_PLUGINS = {
    STANDARD: _compute_standard,
    HULL_2D: _compute_hull,
    HULL_3D: _compute_hull,
    SKELETON_2D: _compute_skeleton,
}
