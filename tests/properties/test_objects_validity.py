"""Outlines as shapely's polygons: valid by OGC's rules, with the objects' areas, and without overlaps.

One difference is by design: an object whose pixels touch by a corner has an outline that passes this corner twice.
OGC's rules want such a ring cut in two; OMERO's viewers and ours fill it as it is. Its area is right, and
`shapely.make_valid` cuts it without changing it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from omero_pixclf.objects.keyholes import bridge_holes
from omero_pixclf.objects.outline import PolygonShape, trace_outlines


def random_labels(shape: tuple[int, ...], seed: int, grain: float) -> np.ndarray[Any, Any]:
    """Smooth blobs of several labels; without grain every pixel is on its own."""
    random = np.random.default_rng(seed)
    noise = random.normal(size=shape)
    if grain:
        noise = ndimage.gaussian_filter(noise, (0, 0, grain, grain))
    return np.digitize(noise, np.quantile(noise, [0.4, 0.7])).astype(np.int32)


def passes_a_corner_twice(shape: PolygonShape) -> bool:
    return any(len(np.unique(ring, axis=0)) < len(ring) for ring in (shape.points, *shape.holes))


shapes = st.tuples(st.just(1), st.integers(1, 3), st.integers(2, 20), st.integers(2, 20))


@settings(deadline=None, max_examples=100)
@given(shapes, st.integers(0, 2**31), st.sampled_from([0.0, 1.0, 2.0]))
def test_outlines_are_valid_polygons_of_the_objects_areas(shape: Any, seed: int, grain: float) -> None:
    labels = random_labels(shape, seed, grain)
    covered = [[shapely.Polygon()] for _ in range(shape[1])]
    for outline in trace_outlines(labels):
        areas = np.zeros(shape[1])
        for part in outline.shapes:
            assert isinstance(part, PolygonShape)
            polygon = shapely.Polygon(part.points, part.holes)
            reason = shapely.is_valid_reason(polygon)
            assert reason.startswith("Ring Self-intersection" if passes_a_corner_twice(part) else "Valid"), reason
            areas[part.z] += polygon.area
            covered[part.z].append(shapely.make_valid(polygon))
            assert covered[part.z][-1].area == polygon.area
        assert areas.tolist() == np.count_nonzero(labels[0] == outline.label, axis=(1, 2)).tolist()
    for z, polygons in enumerate(covered):  # no two overlap, and together they are the foreground
        assert shapely.union_all(polygons).area == np.count_nonzero(labels[0, z])


@settings(deadline=None, max_examples=60)
@given(shapes, st.integers(0, 2**31))
def test_bridged_rings_have_the_area_of_the_polygon(shape: Any, seed: int) -> None:
    for outline in trace_outlines(random_labels(shape, seed, 1.0)):
        for part in outline.shapes:
            assert isinstance(part, PolygonShape)
            ring = shapely.Polygon(bridge_holes(part.points, part.holes))
            assert abs(ring.area - shapely.Polygon(part.points, part.holes).area) < 1e-9


@settings(deadline=None, max_examples=60)
@given(shapes, st.integers(0, 2**31), st.sampled_from([0.25, 0.5]))
def test_simplified_outlines_stay_within_the_tolerance(shape: Any, seed: int, tolerance: float) -> None:
    """Every corner of the exact line is at most that far from the simplified one (Hausdorff, from the exact line)."""
    labels = random_labels(shape, seed, 2.0)
    exact, simple = trace_outlines(labels), trace_outlines(labels, simplify=tolerance)
    for one, other in zip(exact, simple, strict=True):
        for before, after in zip(one.shapes, other.shapes, strict=True):
            assert isinstance(before, PolygonShape) and isinstance(after, PolygonShape)
            for ring, line in zip((before.points, *before.holes), (after.points, *after.holes), strict=True):
                far = shapely.distance(shapely.points(ring), shapely.LinearRing(line))
                assert far.max() <= tolerance + 1e-9
