"""Save and load the results of blocks as arrays: object statistics, outlines, sums."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from omero_pixclf.image import Int64Array
from omero_pixclf.objects.block_regions import RegionStatistics, concatenate_statistics
from omero_pixclf.objects.outline import MaskShape, Outline, PolygonShape
from omero_pixclf.objects.summary import TileSums

__all__ = [
    "Arrays",
    "RegionsOverTime",
    "outlines_from_arrays",
    "outlines_to_arrays",
    "regions_from_arrays",
    "regions_to_arrays",
    "sums_from_arrays",
    "sums_to_arrays",
]

Arrays = dict[str, NDArray[Any]]


@dataclass(frozen=True)
class RegionsOverTime:
    """Objects of several time points: (n,) the t of each, and their statistics."""

    t: Int64Array
    objects: RegionStatistics

    @classmethod
    def of(cls, frames: Sequence[tuple[int, RegionStatistics]]) -> RegionsOverTime:
        """Concatenate the objects of each t."""
        t = np.repeat([t for t, _ in frames], [len(found.number) for _, found in frames])
        return cls(t.astype(np.int64), concatenate_statistics([found for _, found in frames]))


def regions_to_arrays(roll: RegionsOverTime, prefix: str) -> Arrays:
    """Return regions as arrays whose names start with ``prefix``."""
    return {
        f"{prefix}t": roll.t,
        **{f"{prefix}{f.name}": getattr(roll.objects, f.name) for f in fields(RegionStatistics)},
    }


def regions_from_arrays(arrays: Mapping[str, Any], prefix: str) -> RegionsOverTime:
    """Return the regions that `regions_to_arrays` has made arrays of."""
    return RegionsOverTime(
        arrays[f"{prefix}t"], RegionStatistics(*(arrays[f"{prefix}{f.name}"] for f in fields(RegionStatistics)))
    )


def sums_to_arrays(sums: Sequence[TileSums]) -> Arrays:
    """Return the sums of a summary as arrays."""
    return {f"sums.{f.name}": np.concatenate([getattr(part, f.name) for part in sums]) for f in fields(TileSums)}


def sums_from_arrays(arrays: Mapping[str, Any]) -> TileSums:
    """Return the sums that `sums_to_arrays` has made arrays of."""
    return TileSums(*(arrays[f"sums.{f.name}"] for f in fields(TileSums)))


def outlines_to_arrays(outlines: Sequence[Outline], prefix: str) -> Arrays:
    """Return outlines as arrays: a row per object, a row per shape, and all points and bits concatenated.

    ``rings``: the number of points of each ring of the polygons, first the outer ring, then those around holes.
    """
    shapes = [shape for outline in outlines for shape in outline.shapes]
    rings = [ring for shape in shapes if isinstance(shape, PolygonShape) for ring in (shape.points, *shape.holes)]
    masks = [np.packbits(shape.bits) for shape in shapes if isinstance(shape, MaskShape)]
    objects = [(outline.t, outline.label, len(outline.shapes)) for outline in outlines]
    return {
        f"{prefix}objects": np.array(objects, dtype=np.int64).reshape(-1, 3),
        f"{prefix}shapes": np.array([_shape_row(shape) for shape in shapes], dtype=np.int64).reshape(-1, 5),
        f"{prefix}rings": np.array([len(ring) for ring in rings], dtype=np.int64),
        f"{prefix}points": np.concatenate([np.empty((0, 2)), *rings]),
        f"{prefix}bits": np.concatenate([np.empty(0, np.uint8), *masks]),
    }


def _shape_row(shape: PolygonShape | MaskShape) -> tuple[int, int, int, int, int]:
    """Plane, x, y, height and width; of a polygon: plane, -1, -1, its rings, 0."""
    if isinstance(shape, PolygonShape):
        return (shape.z, -1, -1, 1 + len(shape.holes), 0)
    return (shape.z, shape.x, shape.y, *shape.bits.shape)


def outlines_from_arrays(saved: Sequence[Mapping[str, Any]], prefix: str) -> Iterator[Outline]:
    """Yield the outlines of all blocks by t, then label; the outline of one object is in one block."""
    packed = [_PackedOutlines(*(arrays[f"{prefix}{name}"] for name in _NAMES)) for arrays in saved]
    rows = [(t, label, piece, n) for piece, p in enumerate(packed) for n, (t, label) in enumerate(p.keys())]
    for _, _, piece, n in sorted(rows):
        yield packed[piece].outline(n)


_NAMES = ("objects", "shapes", "rings", "points", "bits")


class _PackedOutlines:
    """The outlines of a block."""

    def __init__(
        self, objects: Int64Array, shapes: Int64Array, rings: Int64Array, points: NDArray[Any], bits: NDArray[np.uint8]
    ) -> None:
        self._objects, self._shapes, self._bits = objects, shapes, bits
        self._rings = np.split(points, np.cumsum(rings)[:-1])
        polygon = shapes[:, 1] < 0
        size = np.where(polygon, shapes[:, 3], -(-(shapes[:, 3] * shapes[:, 4]) // 8))
        before = [np.cumsum(np.where(kind, size, 0)) - np.where(kind, size, 0) for kind in (polygon, ~polygon)]
        self._first = np.where(polygon, *before)
        self._ends = np.concatenate(([0], np.cumsum(objects[:, 2])))

    def keys(self) -> list[tuple[int, int]]:
        """Return time point and label of each outline."""
        return [(int(t), int(label)) for t, label, _ in self._objects]

    def outline(self, n: int) -> Outline:
        """Return the n-th outline."""
        t, label, _ = (int(v) for v in self._objects[n])
        return Outline(label, t, tuple(self._shape(t, i) for i in range(self._ends[n], self._ends[n + 1])))

    def _shape(self, t: int, i: int) -> PolygonShape | MaskShape:
        z, x, y, height, width = (int(v) for v in self._shapes[i])
        first = int(self._first[i])
        if x < 0:
            points, *holes = self._rings[first : first + height]
            return PolygonShape(t, z, points, tuple(holes))
        count = height * width
        bits = np.unpackbits(self._bits[first : first + -(-count // 8)], count=count)
        return MaskShape(t, z, x, y, bits.astype(np.bool_).reshape(height, width))
