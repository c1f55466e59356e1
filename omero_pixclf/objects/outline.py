"""Outlines of labelled objects as polygons or masks."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from omero_pixclf.image import Array, Float64Array
from omero_pixclf.objects.contours import is_in_ring, signed_area, trace_contours
from omero_pixclf.objects.masks import object_bitmaps
from omero_pixclf.objects.run_length import Spans, encode_spans
from omero_pixclf.objects.simplify import simplify_rings

__all__ = ["MaskShape", "Outline", "PolygonShape", "trace_outlines"]


@dataclass(frozen=True)
class PolygonShape:
    """A polygon in one plane: a ring, clockwise on a screen, and the rings of its holes, counter-clockwise.

    ``points`` (n, 2) float64 as (x, y), in OMERO's pixel-corner coordinates; each of ``holes`` likewise.
    """

    t: int
    z: int
    points: Array = field(repr=False)
    holes: tuple[Array, ...] = field(default=(), repr=False)


@dataclass(frozen=True)
class MaskShape:
    """A bitmap in one plane: ``bits`` (height, width) bool, its upper left pixel at column ``x`` and row ``y``."""

    t: int
    z: int
    x: int
    y: int
    bits: Array = field(repr=False)


@dataclass(frozen=True)
class Outline:
    """One object with its shapes in all planes."""

    label: int
    t: int
    shapes: tuple[PolygonShape | MaskShape, ...]


_Shapes = dict[int, list[PolygonShape | MaskShape]]  # by label; planes in order


def trace_outlines(
    labels: Array,
    *,
    kind: Literal["polygon", "mask"] = "polygon",
    simplify: float = 0.0,
    min_hole: int = 0,
) -> Iterator[Outline]:
    """Yield an `Outline` for every object of a label image, by time point and label.

    Parameters
    ----------
    labels
        ``(t, z, y, x)`` of integers, 0 is background.
    kind
        ``mask``: a `MaskShape` for each plane of an object. ``polygon``: a `PolygonShape` along the pixels' corners,
        one for each part of the object that does not touch the others.
    simplify
        Largest deviation of polygons from the pixels' corners in pixels, to have fewer points; 0 keeps every corner.
    min_hole
        Polygons leave out holes of fewer pixels; masks have all holes.

    Yields
    ------
    Outline
        Its shapes are of one kind, in the order of planes, in all planes where the object has pixels.

    Examples
    --------
    >>> [square] = trace_outlines(np.array([[[[0, 1, 1], [0, 1, 1]]]]))
    >>> square.shapes[0].points.tolist()
    [[1.0, 0.0], [3.0, 0.0], [3.0, 2.0], [1.0, 2.0]]
    """
    for t in range(labels.shape[0]):
        shapes: _Shapes = {}
        if kind == "mask":
            _add_masks(shapes, t, encode_spans(labels[t]))
        else:
            for z in range(labels.shape[1]):
                _add_polygons(shapes, t, z, labels[t, z], simplify, min_hole)
        for label in sorted(shapes):
            yield Outline(label, t, tuple(shapes[label]))


def _add_masks(shapes: _Shapes, t: int, spans: Spans) -> None:
    for bitmap in object_bitmaps(spans):
        shape = MaskShape(t, bitmap.z, bitmap.x, bitmap.y, bitmap.bits)
        shapes.setdefault(bitmap.label, []).append(shape)


def _add_polygons(shapes: _Shapes, t: int, z: int, plane: Array, simplify: float, min_hole: int) -> None:
    rings = trace_contours(plane)
    count = np.bincount([ring.label for ring in rings], minlength=1)
    holes: dict[int, list[Array]] = {}  # by index of the ring around them
    parts: dict[int, list[tuple[float, int]]] = {}  # by label: area and index of the rings around its parts
    several = [i for i, ring in enumerate(rings) if count[ring.label] > 1]
    areas = {i: signed_area(rings[i].corners) for i in several}
    for i in several:
        if areas[i] > 0:
            parts.setdefault(rings[i].label, []).append((areas[i], i))
    for i in several:
        if areas[i] < 0 and -areas[i] >= min_hole:
            hole, around = (
                rings[i].corners,
                sorted(parts[rings[i].label]),
            )  # smallest first: a part may be inside a hole of another
            holes.setdefault(next(n for _, n in around if is_in_ring(rings[n].corners, hole)), []).append(hole)
    outer = [i for i in range(len(rings)) if areas.get(i, 1) > 0]
    lines = iter(_simplify_rings([rings[i].corners for i in outer], simplify))
    inner = iter(_simplify_rings([hole[::-1] for i in outer for hole in holes.get(i, ())], simplify))
    for i, points in zip(outer, lines, strict=True):
        within = tuple(next(inner)[::-1] for _ in holes.get(i, ()))
        shapes.setdefault(rings[i].label, []).append(PolygonShape(t, z, points, within))


def _simplify_rings(rings: list[Array], tolerance: float) -> list[Float64Array]:
    exact = [ring.astype(np.float64) for ring in rings]
    return simplify_rings(exact, tolerance=tolerance) if tolerance > 0 else exact
