"""Outlines as GeoJSON, as QuPath and other viewers read it: coordinates in pixels, with plane and class."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from omero_pixclf.objects.outline import MaskShape, Outline, PolygonShape
from omero_pixclf.objects.rings import rings_of

__all__ = ["features_of"]

Points = NDArray[np.float64]


def features_of(outlines: Iterable[Outline], *, name: str, color: tuple[int, int, int]) -> Iterator[dict[str, Any]]:
    """A GeoJSON feature for every shape of every outline.

    A mask becomes the polygons around its pixels, with their holes; nothing of it is lost.
    """
    for outline in outlines:
        for shape in outline.shapes:
            yield {
                "type": "Feature",
                "geometry": _geometry(shape),
                "properties": {
                    "objectType": "annotation",
                    "name": f"{name} {outline.label}",
                    "classification": {"name": name, "color": list(color)},
                    "label": outline.label,
                    "plane": {"c": -1, "z": shape.z, "t": shape.t},
                },
            }


def _geometry(shape: PolygonShape | MaskShape) -> dict[str, Any]:
    if isinstance(shape, PolygonShape):
        return {"type": "Polygon", "coordinates": [_closed(shape.points)]}
    rings = [r.corners + np.array([shape.x, shape.y]) for r in rings_of(shape.bits.astype(np.uint8))]
    outer = [r.astype(np.float64) for r in rings if _turn(r) > 0]
    polygons = [[_closed(ring)] for ring in outer]
    for hole in (r.astype(np.float64) for r in rings if _turn(r) <= 0):
        around = next(i for i, ring in enumerate(outer) if _inside(ring, hole))
        polygons[around].append(_closed(hole))
    return {"type": "MultiPolygon", "coordinates": polygons}


def _closed(points: Points) -> list[list[float]]:
    ring: list[list[float]] = points.tolist()
    return [*ring, ring[0]]


def _turn(ring: NDArray[Any]) -> float:
    """Twice the signed area: positive for clockwise on a screen, which is around an object."""
    x, y = ring[:, 0].astype(float), ring[:, 1].astype(float)
    return float(np.sum(x * np.roll(y, -1) - np.roll(x, -1) * y))


def _inside(ring: Points, hole: Points) -> bool:
    """Whether a hole lies in a ring: the pixel within the hole's upper left corner does (even-odd rule)."""
    corner = hole[np.lexsort((hole[:, 0], hole[:, 1]))[0]]
    x, y = corner[0] + 0.5, corner[1] + 0.5
    after = np.roll(ring, -1, axis=0)
    crosses = (ring[:, 1] > y) != (after[:, 1] > y)  # sides are upright or level, so that x is that of the side
    return bool(np.count_nonzero(crosses & (ring[:, 0] > x)) % 2)
