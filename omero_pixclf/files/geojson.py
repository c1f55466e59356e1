"""Outlines as GeoJSON, as QuPath and other viewers read it: coordinates in pixels, with plane and class."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from omero_pixclf.objects.outline import MaskShape, Outline, PolygonShape
from omero_pixclf.objects.rings import rings_of

__all__ = ["features_of"]

PLANE = 2**20  # pixels in which rings are found together

Points = NDArray[np.float64]
Shape = PolygonShape | MaskShape


def features_of(outlines: Iterable[Outline], *, name: str, color: tuple[int, int, int]) -> Iterator[dict[str, Any]]:
    """A GeoJSON feature for every shape of every outline.

    A mask becomes the polygons around its pixels, with their holes; nothing of it is lost.
    """
    for batch in _batches((outline.label, shape) for outline in outlines for shape in outline.shapes):
        for (label, shape), geometry in zip(batch, _geometries([shape for _, shape in batch]), strict=True):
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


def _batches(shapes: Iterable[tuple[int, Shape]]) -> Iterator[list[tuple[int, Shape]]]:
    """Shapes whose masks fit side by side into a plane of `PLANE` pixels; a larger one is alone."""
    batch: list[tuple[int, Shape]] = []
    height = width = 0
    for label, shape in shapes:
        high, wide = shape.bits.shape if isinstance(shape, MaskShape) else (0, 0)
        if batch and max(height, high) * (width + wide) + len(batch) > PLANE:
            yield batch
            batch, height, width = [], 0, 0
        batch.append((label, shape))
        height, width = max(height, high), width + wide
    if batch:
        yield batch


def _geometries(shapes: Sequence[Shape]) -> Iterator[dict[str, Any]]:
    """One for each shape, in their order."""
    rings = _rings_around([shape for shape in shapes if isinstance(shape, MaskShape)])
    for shape in shapes:
        if isinstance(shape, PolygonShape):
            yield {"type": "Polygon", "coordinates": [_closed(shape.points)]}
        else:
            yield _around_pixels(next(rings))


def _rings_around(masks: Sequence[MaskShape]) -> Iterator[list[Points]]:
    """The rings of each mask at its place: found in one plane where all lie side by side, which is far quicker."""
    if not masks:
        return
    starts = np.cumsum([0, *(mask.bits.shape[1] for mask in masks)])
    plane = np.zeros((max(mask.bits.shape[0] for mask in masks), starts[-1]), np.int32)
    for number, (mask, start) in enumerate(zip(masks, starts, strict=False), 1):
        height, width = mask.bits.shape
        plane[:height, start : start + width] = mask.bits.astype(bool) * np.int32(number)
    found: list[list[Points]] = [[] for _ in masks]
    for ring in rings_of(plane):
        mask = masks[ring.label - 1]
        moved = ring.corners + np.array([mask.x - starts[ring.label - 1], mask.y])
        found[ring.label - 1].append(moved.astype(np.float64))
    yield from found


def _around_pixels(rings: Sequence[Points]) -> dict[str, Any]:
    outer = [ring for ring in rings if _turn(ring) > 0]
    holes = [ring for ring in rings if _turn(ring) <= 0]
    polygons = [[_closed(ring)] for ring in outer]
    for hole in holes:
        around = next(i for i, ring in enumerate(outer) if _inside(ring, hole))
        polygons[around].append(_closed(hole))
    return {"type": "MultiPolygon", "coordinates": polygons}


def _closed(points: Points) -> list[list[float]]:
    ring: list[list[float]] = points.tolist()
    return [*ring, ring[0]]


def _turn(ring: Points) -> float:
    """Twice the signed area: positive for clockwise on a screen, which is around an object."""
    (x, y), (first_x, first_y) = ring.T, ring[0]
    between = np.dot(x[:-1], y[1:]) - np.dot(x[1:], y[:-1])
    return float(between + x[-1] * first_y - first_x * y[-1])


def _inside(ring: Points, hole: Points) -> bool:
    """Whether a hole lies in a ring: the pixel within the hole's upper left corner does (even-odd rule)."""
    corner = hole[np.lexsort((hole[:, 0], hole[:, 1]))[0]]
    x, y = corner[0] + 0.5, corner[1] + 0.5
    after = np.roll(ring, -1, axis=0)
    crosses = (ring[:, 1] > y) != (after[:, 1] > y)  # sides are upright or level, so that x is that of the side
    return bool(np.count_nonzero(crosses & (ring[:, 0] > x)) % 2)
