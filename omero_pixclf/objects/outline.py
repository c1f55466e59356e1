"""Outlines of labelled objects as polygons and masks."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from omero_pixclf.objects.bitmaps import bitmaps
from omero_pixclf.objects.rings import rings_of
from omero_pixclf.objects.simplify import simplify_rings
from omero_pixclf.objects.spans import Spans, spans_of

__all__ = ["MaskShape", "Outline", "PolygonShape", "outlines"]


@dataclass(frozen=True)
class PolygonShape:
    """A ring in one plane: ``points`` (n, 2) float64 as (x, y), in OMERO's pixel-corner coordinates."""

    t: int
    z: int
    points: NDArray[Any] = field(repr=False)


@dataclass(frozen=True)
class MaskShape:
    """A bitmap in one plane: ``bits`` (height, width) bool, its upper left pixel at column ``x`` and row ``y``."""

    t: int
    z: int
    x: int
    y: int
    bits: NDArray[Any] = field(repr=False)


@dataclass(frozen=True)
class Outline:
    """One object: all its shapes, in all its planes."""

    label: int
    t: int
    shapes: tuple[PolygonShape | MaskShape, ...]


_Shapes = dict[int, list[PolygonShape | MaskShape]]  # by label; planes in order


def outlines(
    labels: NDArray[Any], *, kind: Literal["polygon", "mask"] = "polygon", simplify: float = 0.0
) -> Iterator[Outline]:
    """Every object of a label image as one `Outline`, time point by time point, in the order of labels.

    Parameters
    ----------
    labels
        ``(t, z, y, x)`` of integers, 0 is background.
    kind
        ``mask``: every plane of an object is a `MaskShape`. ``polygon``: a `PolygonShape` along the pixels' corners,
        clockwise on a screen; but a mask in planes where the object has a hole or parts that do not touch, which one
        ring cannot show.
    simplify
        Polygons may keep so many pixels' distance from the pixels' corners, to have fewer points; 0 keeps all.

    Yields
    ------
    Outline
        With one shape per plane in which the object has pixels, planes in order.

    Examples
    --------
    >>> [square] = outlines(np.array([[[[0, 1, 1], [0, 1, 1]]]]))
    >>> square.shapes[0].points.tolist()
    [[1.0, 0.0], [3.0, 0.0], [3.0, 2.0], [1.0, 2.0]]
    """
    for t in range(labels.shape[0]):
        shapes: _Shapes = {}
        if kind == "mask":
            _add_masks(shapes, t, spans_of(labels[t]))
        else:
            for z in range(labels.shape[1]):
                _add_polygons(shapes, t, z, labels[t, z], simplify)
        for label in sorted(shapes):
            yield Outline(label, t, tuple(shapes[label]))


def _add_masks(shapes: _Shapes, t: int, spans: Spans, *, z0: int = 0) -> None:
    for bitmap in bitmaps(spans):
        shape = MaskShape(t, z0 + bitmap.z, bitmap.x, bitmap.y, bitmap.bits)
        shapes.setdefault(bitmap.label, []).append(shape)


def _add_polygons(shapes: _Shapes, t: int, z: int, plane: NDArray[Any], simplify: float) -> None:
    rings = rings_of(plane)
    count = np.bincount([ring.label for ring in rings], minlength=1)
    single = [ring for ring in rings if count[ring.label] == 1]
    corners = [ring.corners.astype(np.float64) for ring in single]
    lines = simplify_rings(corners, tolerance=simplify) if simplify > 0 else corners
    for ring, points in zip(single, lines, strict=True):
        shapes.setdefault(ring.label, []).append(PolygonShape(t, z, points))
    if (count > 1).any():
        spans = spans_of(plane[None])
        _add_masks(shapes, t, spans.take(count[spans.label] > 1), z0=z)
