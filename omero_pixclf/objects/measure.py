"""Measure labelled objects: a table with one row per object and the same typed columns for every image.

All images of a container are measured into one table, with objects in planes (2D) or in volumes (3D), and with or
without a pixel size. So every table has all columns, and columns that do not apply to an object hold NaN:
``Volume_*`` and ``Surface_*`` in 2D, ``Area_*`` and ``Perimeter_*`` in 3D, ``*_um*`` without a pixel size, the
distance to a neighbour of an object that has none, the orientation of an object that is as long as wide.

Coordinates are what OMERO's viewers show. ``T`` and ``Z`` count from 0, as a shape's ``theT`` and ``theZ`` do. x and y
are in pixel corners: pixel (0, 0) covers 0 to 1, its centre is (0.5, 0.5), and a bounding box's far side is at ``X1``,
``Y1``. z counts planes: ``Centroid_Z`` 0.0 is the first plane, ``BBox_Z1`` the one after the last.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from omero_pixclf.image import Array
from omero_pixclf.objects.intensity import IntensityStatistics, intensity_statistics, pixels_in_spans
from omero_pixclf.objects.moments import Geometry, compute_geometry
from omero_pixclf.objects.run_length import Spans, encode_spans
from omero_pixclf.objects.shape import CORNER, shape_columns
from omero_pixclf.pixels.exports import uncertainty
from omero_pixclf.table import ANY_NUMBER, NOT_NEGATIVE, Column, Table, column_names, concatenate

__all__ = ["CropLocation", "PixelSize", "measure"]

PixelSize = tuple[float | None, float | None, float | None]
"""Micrometres along ``(z, y, x)``; None where unknown."""


@dataclass(frozen=True)
class CropLocation:
    """Where a crop is in its image: its first t, its start along (z, y, x), and the extents of the whole image."""

    t: int
    start: tuple[int, int, int]
    shape: tuple[int, int, int]


@dataclass(frozen=True)
class _Frame:
    """One time point: ``here`` are the spans in the given arrays, ``spans`` the same spans in the whole image."""

    t: int
    labels: Array
    here: Spans
    spans: Spans
    geometry: Geometry


def measure(
    labels: Array,
    image: Array,
    probabilities: Array | None,
    *,
    class_name: str,
    class_index: int = 0,
    dims: Literal[2, 3],
    pixel_size_um: PixelSize = (None, None, None),
    channels: Sequence[str] = (),
    box: CropLocation | None = None,
) -> Table:
    """Measure every object of a label image.

    Parameters
    ----------
    labels
        ``(t, z, y, x)`` of integers, 0 is background.
    image
        ``(t, z, y, x, c)``, any real type.
    probabilities
        ``(t, z, y, x, k)`` float32, or None: then the columns of probability and uncertainty hold NaN.
    class_name, class_index
        The class of the objects, and the index of its probability.
    dims
        2 if objects are in planes, 3 if they go through z.
    pixel_size_um
        Micrometres per pixel along (z, y, x).
    channels
        The image's channel names; missing or empty names are replaced: ``Channel_1``.
    box
        The location of the arrays, if they are a crop of an image. Objects have the same numbers as in the whole image,
        bit for bit, except the distances to neighbours.

    Returns
    -------
    Table
        A row per object, by t, then label (as in `trace_outlines`). The columns depend on the channels only.

    Raises
    ------
    ValueError
        The shapes of labels, image and probabilities do not fit.
    """
    _check_shapes(labels, image, probabilities)
    size = tuple(float("nan") if s is None else float(s) for s in pixel_size_um)
    names = column_names(channels, image.shape[-1])
    parts = []
    for t in range(labels.shape[0]):
        here = encode_spans(labels[t])
        spans = here if box is None else here.shift(box.start, box.shape)
        frame = _Frame(t + (box.t if box else 0), labels[t], here, spans, compute_geometry(spans))
        columns = [
            *_identity_columns(frame, class_name),
            *_extent_columns(frame.geometry, dims, size),
            *shape_columns(frame.labels, frame.spans, frame.geometry, dims=dims, size=size),
            *_intensity_columns(frame, image[t], names),
            *_probability_columns(frame, None if probabilities is None else probabilities[t], class_index),
        ]
        parts.append(Table(tuple(columns)))
    return concatenate(parts)


def _check_shapes(labels: Array, image: Array, probabilities: Array | None) -> None:
    if labels.ndim != 4 or image.ndim != 5 or image.shape[:4] != labels.shape or not labels.shape[0]:
        raise ValueError(f"labels {labels.shape} and image {image.shape}: expected (t, z, y, x) and (t, z, y, x, c)")
    if probabilities is not None and (probabilities.ndim != 5 or probabilities.shape[:4] != labels.shape):
        raise ValueError(f"probabilities {probabilities.shape} do not fit labels {labels.shape}")


def _identity_columns(frame: _Frame, class_name: str) -> Iterator[Column]:
    n = len(frame.geometry)
    yield Column("Class", "string", np.full(n, class_name, dtype=object), "", "class of the object")
    yield Column("Label", "long", frame.geometry.label, "", "number of the object in its time point's label image")
    yield Column("T", "long", np.full(n, frame.t), "", "time point, from 0")
    plane = np.floor(frame.geometry.centroid[:, 0] + 0.5)
    yield Column("Z", "long", plane, "", "plane of the centroid, from 0")


def _extent_columns(geometry: Geometry, dims: int, size: tuple[float, ...]) -> Iterator[Column]:
    pixels = geometry.size.astype(np.float64)
    none = np.full(len(geometry), np.nan)
    flat, solid = (pixels, none) if dims == 2 else (none, pixels)
    yield Column("Area_px", "double", flat, "px", "pixels (2D)")
    yield Column("Area_um2", "double", flat * size[1] * size[2], "µm²", "area (2D)")
    yield Column("Volume_px", "double", solid, "px", "voxels (3D)")
    yield Column("Volume_um3", "double", solid * size[0] * size[1] * size[2], "µm³", "volume (3D)")
    z, y, x = (geometry.centroid + CORNER).T
    yield Column("Centroid_X_px", "double", x, "px", "pixel corners: the first pixel covers 0 to 1")
    yield Column("Centroid_Y_px", "double", y, "px", "pixel corners: the first pixel covers 0 to 1")
    yield Column("Centroid_Z", "double", z, "planes", "0 is the first plane")
    for axis, name in ((2, "X"), (1, "Y"), (0, "Z")):
        unit = "planes" if name == "Z" else "px"
        suffix = "" if name == "Z" else "_px"
        yield Column(f"BBox_{name}0{suffix}", "long", geometry.start[:, axis], unit, "bounding box, first")
        yield Column(f"BBox_{name}1{suffix}", "long", geometry.stop[:, axis], unit, "bounding box, one after the last")
    yield Column("Touches_border", "bool", geometry.touches_border, "", "touches the image's border in x or y")


def _intensity_columns(frame: _Frame, image: Array, names: Sequence[str]) -> Iterator[Column]:
    fill = NOT_NEGATIVE if image.dtype.kind in "ub" else ANY_NUMBER
    for name, found in zip(
        names, intensity_statistics(pixels_in_spans(image, frame.here), frame.here, frame.geometry), strict=True
    ):
        yield from _channel_columns(name, found, fill)


def _channel_columns(name: str, found: IntensityStatistics, fill: float) -> Iterator[Column]:
    yield Column(f"Mean_{name}", "double", found.mean, "", f"mean intensity of {name}", fill)
    yield Column(f"Min_{name}", "double", found.minimum, "", f"lowest intensity of {name}", fill)
    yield Column(f"Max_{name}", "double", found.maximum, "", f"highest intensity of {name}", fill)
    yield Column(f"Std_{name}", "double", found.std, "", f"standard deviation of {name} (population)")
    yield Column(f"Integrated_{name}", "double", found.integrated, "", f"sum of {name} over the object", fill)


def _probability_columns(frame: _Frame, probabilities: Array | None, index: int) -> Iterator[Column]:
    mean = least = doubt = np.full(len(frame.geometry), np.nan)
    if probabilities is not None:
        found = pixels_in_spans(probabilities, frame.here)
        pair = np.stack((found[:, index], uncertainty(found)[..., 0]), axis=-1)
        own, unsure = intensity_statistics(pair, frame.here, frame.geometry)
        mean, least, doubt = own.mean, own.minimum, unsure.mean
    yield Column("Probability_mean", "double", mean, "", "mean probability of the class")
    yield Column("Probability_min", "double", least, "", "lowest probability of the class")
    yield Column("Uncertainty_mean", "double", doubt, "", "mean of 1 - (highest - second highest probability)")
