"""Write outlines as GeoJSON for QuPath and other viewers: coordinates in pixels, with plane and class."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from typing import Any

import numpy as np

from omero_pixclf.image import Float64Array
from omero_pixclf.objects.contours import is_in_ring, signed_area, trace_contours
from omero_pixclf.objects.outline import MaskShape, Outline, PolygonShape

__all__ = ["MAX_PLANE_PIXELS", "Shape", "geojson_features"]

MAX_PLANE_PIXELS = 2**20  # pixels of a plane in which several masks are traced together

Shape = MaskShape | tuple[PolygonShape, ...]


def geojson_features(
    outlines: Iterable[Outline], *, name: str, color: tuple[int, int, int]
) -> Iterator[dict[str, Any]]:
    """Yield a GeoJSON feature for every plane of every outline.

    A mask becomes the polygons around its pixels, with holes, so it is represented exactly.
    """
    for batch in _batch_shapes(
        (outline.label, shown) for outline in outlines for shown in _split_planes(outline.shapes)
    ):
        for (label, shown), geometry in zip(batch, _geometries([shown for _, shown in batch]), strict=True):
            shape = shown if isinstance(shown, MaskShape) else shown[0]
            yield {
                "type": "Feature",
                "geometry": geometry,
                "properties": {
                    "objectType": "annotation",
                    "name": f"{name} {label}",
                    "classification": {"name": name, "color": list(color)},
                    "label": label,
                    "plane": {"c": -1, "z": shape.z, "t": shape.t},
                },
            }


def _split_planes(shapes: Sequence[PolygonShape | MaskShape]) -> Iterator[Shape]:
    """Yield the shapes of each feature: a mask, or all polygons of a plane."""
    for _, group in groupby(enumerate(shapes), lambda pair: (pair[1].z, isinstance(pair[1], MaskShape) and pair[0])):
        here = [shape for _, shape in group]
        yield here[0] if isinstance(here[0], MaskShape) else tuple(s for s in here if isinstance(s, PolygonShape))


def _batch_shapes(shapes: Iterable[tuple[int, Shape]]) -> Iterator[list[tuple[int, Shape]]]:
    """Group shapes whose masks fit side by side into `MAX_PLANE_PIXELS` pixels; a larger mask is a group of its own."""
    batch: list[tuple[int, Shape]] = []
    height = width = 0
    for label, shape in shapes:
        high, wide = shape.bits.shape if isinstance(shape, MaskShape) else (0, 0)
        if batch and max(height, high) * (width + wide) + len(batch) > MAX_PLANE_PIXELS:
            yield batch
            batch, height, width = [], 0, 0
        batch.append((label, shape))
        height, width = max(height, high), width + wide
    if batch:
        yield batch


def _geometries(shapes: Sequence[Shape]) -> Iterator[dict[str, Any]]:
    """Yield the GeoJSON geometry of each shape, in order."""
    rings = _mask_rings([shape for shape in shapes if isinstance(shape, MaskShape)])
    for shape in shapes:
        if isinstance(shape, MaskShape):
            yield _mask_geometry(next(rings))
            continue
        polygons = [[_close_ring(ring) for ring in (part.points, *part.holes)] for part in shape]
        if len(polygons) == 1:
            yield {"type": "Polygon", "coordinates": polygons[0]}
        else:
            yield {"type": "MultiPolygon", "coordinates": polygons}


def _mask_rings(masks: Sequence[MaskShape]) -> Iterator[list[Float64Array]]:
    """Yield the rings of each mask at its position; all masks are traced side by side in one plane, which is faster."""
    if not masks:
        return
    starts = np.cumsum([0, *(mask.bits.shape[1] for mask in masks)])
    plane = np.zeros((max(mask.bits.shape[0] for mask in masks), starts[-1]), np.int32)
    for number, (mask, start) in enumerate(zip(masks, starts, strict=False), 1):
        height, width = mask.bits.shape
        plane[:height, start : start + width] = mask.bits.astype(bool) * np.int32(number)
    found: list[list[Float64Array]] = [[] for _ in masks]
    for ring in trace_contours(plane):
        mask = masks[ring.label - 1]
        moved = ring.corners + np.array([mask.x - starts[ring.label - 1], mask.y])
        found[ring.label - 1].append(moved.astype(np.float64))
    yield from found


def _mask_geometry(rings: Sequence[Float64Array]) -> dict[str, Any]:
    outer = [ring for ring in rings if signed_area(ring) > 0]
    nested = sorted(range(len(outer)), key=lambda i: signed_area(outer[i]))  # smallest first: parts may be inside holes
    holes = [ring for ring in rings if signed_area(ring) <= 0]
    polygons = [[_close_ring(ring)] for ring in outer]
    for hole in holes:
        around = next(i for i in nested if is_in_ring(outer[i], hole))
        polygons[around].append(_close_ring(hole))
    return {"type": "MultiPolygon", "coordinates": polygons}


def _close_ring(points: Float64Array) -> list[list[float]]:
    ring: list[list[float]] = points.tolist()
    return [*ring, ring[0]]
