"""Outlines hold exactly the pixels they were drawn around."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from omero_pixclf.objects.contours import signed_area
from omero_pixclf.objects.keyholes import bridge_holes
from omero_pixclf.objects.label import label_components
from omero_pixclf.objects.outline import MaskShape, PolygonShape, trace_outlines
from omero_pixclf.objects.rasterize import rasterize_outlines
from omero_pixclf.objects.simplify import simplify_rings

shapes = st.tuples(st.integers(1, 2), st.integers(1, 4), st.integers(1, 12), st.integers(1, 12))
masks = shapes.flatmap(lambda shape: hnp.arrays(np.bool_, shape, fill=st.nothing()))

label_images = shapes.flatmap(lambda s: hnp.arrays(np.int32, s, elements=st.integers(0, 3), fill=st.nothing()))


@settings(deadline=None)
@given(label_images, st.sampled_from(["polygon", "mask"]))
def test_outlines_rasterised_are_the_labels(labels: NDArray[Any], kind: Any) -> None:
    shape = labels.shape
    assert np.array_equal(rasterize_outlines(trace_outlines(labels, kind=kind), shape), labels)


@settings(deadline=None)
@given(masks, st.sampled_from([4, 8, 6, 26]))
def test_every_object_has_one_outline_in_label_order(mask: NDArray[Any], connectivity: Any) -> None:
    labels = label_components(mask, connectivity=connectivity)
    found = [(o.t, o.label) for o in trace_outlines(labels)]
    expected = [(t, k) for t, frame in enumerate(labels) for k in range(1, frame.max(initial=0) + 1)]
    assert found == expected


@settings(deadline=None)
@given(masks)
def test_objects_joined_by_corners_without_holes_are_one_ring(mask: NDArray[Any]) -> None:
    from skimage.measure import euler_number

    labels = label_components(mask, connectivity=8)
    for outline in trace_outlines(labels):
        for shape in outline.shapes:
            holes = 1 - euler_number(labels[shape.t, shape.z] == outline.label, connectivity=2)
            if holes == 0:
                assert isinstance(shape, PolygonShape) and not shape.holes


@settings(deadline=None)
@given(label_images, st.sampled_from(["polygon", "mask"]), st.integers(0, 5))
def test_all_objects_of_an_image_have_shapes_of_one_kind(labels: NDArray[Any], kind: Any, min_hole: int) -> None:
    wanted = {"polygon": PolygonShape, "mask": MaskShape}[kind]
    found = [shape for outline in trace_outlines(labels, kind=kind, min_hole=min_hole) for shape in outline.shapes]
    assert all(isinstance(shape, wanted) for shape in found)


@settings(deadline=None)
@given(masks, st.integers(0, 6), st.sampled_from([0.0, 0.5]))
def test_holes_are_shown_from_a_size_on(mask: NDArray[Any], min_hole: int, simplify: float) -> None:
    labels = label_components(mask, connectivity=4)
    for outline in trace_outlines(labels, min_hole=min_hole):
        for shape in outline.shapes:
            assert isinstance(shape, PolygonShape)
            part = labels[shape.t, shape.z] == outline.label
            expected = sorted(size for size in _holes(part) if size >= max(min_hole, 1))
            assert sorted(-round(signed_area(hole)) for hole in shape.holes) == expected
    simple = trace_outlines(labels, min_hole=min_hole, simplify=simplify)
    exact = trace_outlines(labels, min_hole=min_hole)
    assert [len(s.holes) for o in simple for s in o.shapes] == [len(s.holes) for o in exact for s in o.shapes]  # type: ignore[union-attr]


def _holes(part: NDArray[Any]) -> list[int]:
    """The sizes of what an object encloses, with what lies therein."""
    from scipy import ndimage

    filled = ndimage.binary_fill_holes(part, np.ones((3, 3)))
    found, count = ndimage.label(filled & ~part, np.ones((3, 3)))
    return [int(np.count_nonzero(found == n)) for n in range(1, count + 1)]


@settings(deadline=None)
@given(label_images)
def test_one_ring_over_bridges_covers_what_rings_and_holes_do(labels: NDArray[Any]) -> None:
    found = list(trace_outlines(labels))
    joined = [replace(o, shapes=tuple(_bridged(s) for s in o.shapes)) for o in found]
    assert np.array_equal(rasterize_outlines(joined, labels.shape), labels)  # by the even-odd rule
    for outline, one in zip(found, joined, strict=True):
        for shape, ring in zip(outline.shapes, one.shapes, strict=True):
            assert isinstance(shape, PolygonShape) and isinstance(ring, PolygonShape)
            area = signed_area(shape.points) + sum(signed_area(hole) for hole in shape.holes)
            assert signed_area(ring.points) == area  # by the non-zero rule, too: a hole turns the other way


def _bridged(shape: Any) -> PolygonShape:
    return PolygonShape(shape.t, shape.z, bridge_holes(shape.points, shape.holes))


def test_a_bridge_lies_within_the_object() -> None:
    """Of nested parts and holes, also where the shortest way to the left leads to another hole."""
    labels = np.zeros((1, 1, 15, 15), np.int32)
    labels[0, 0, 1:14, 1:14] = 1
    for y, x in ((3, 3), (3, 6), (7, 10), (10, 4)):
        labels[0, 0, y : y + 2, x : x + 2] = 0
    [outline] = trace_outlines(labels)
    ring = _bridged(outline.shapes[0]).points
    for (x0, y0), (x1, y1) in zip(ring, np.roll(ring, -1, axis=0), strict=True):
        for x, y in ((x0 + (x1 - x0) * part, y0 + (y1 - y0) * part) for part in (0.25, 0.5, 0.75)):
            beside = {(round(np.floor(y + a)), round(np.floor(x + b))) for a in (-0.1, 0.1) for b in (-0.1, 0.1)}
            assert any(labels[0, 0, r, c] for r, c in beside)


@settings(max_examples=200, deadline=None)
@given(masks, st.floats(0.05, 2.0))
def test_simplified_outlines_stay_within_the_tolerance(mask: NDArray[Any], tolerance: float) -> None:
    labels = label_components(mask, connectivity=4)
    exact = [s.points for o in trace_outlines(labels) for s in o.shapes if isinstance(s, PolygonShape)]
    for old, new in zip(exact, simplify_rings(exact, tolerance=tolerance), strict=True):
        assert len(new) >= 3
        assert _distance(old, new) <= tolerance + 1e-9


def _distance(points: NDArray[Any], ring: NDArray[Any]) -> float:
    a, b = ring[None], np.roll(ring, -1, axis=0)[None]
    p = points[:, None]
    along = b - a
    reach = np.clip(((p - a) * along).sum(-1) / (along**2).sum(-1), 0, 1)
    return float(np.linalg.norm(p - (a + reach[..., None] * along), axis=-1).min(axis=1).max())


def test_slanted_edges_lose_their_stairs() -> None:
    y, x = np.mgrid[:200, :200]
    labels = (np.hypot(x - 100, y - 100) < 80).astype(np.int32)[None, None]
    [exact], [simple] = trace_outlines(labels), trace_outlines(labels, simplify=0.5)
    assert len(simple.shapes[0].points) < len(exact.shapes[0].points) / 3.5
    drawn = rasterize_outlines([simple], labels.shape)
    assert np.count_nonzero(drawn != labels) < 0.01 * labels.sum()


@pytest.mark.parametrize("tolerance", [0.1, 0.5])
def test_a_rectangle_stays_what_it_is(tolerance: float) -> None:
    labels = np.zeros((1, 1, 20, 20), np.int32)
    labels[0, 0, 3:9, 4:16] = 1
    [outline] = trace_outlines(labels, simplify=tolerance)
    assert sorted(map(tuple, outline.shapes[0].points)) == [(4, 3), (4, 9), (16, 3), (16, 9)]
