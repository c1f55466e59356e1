"""Outlines hold exactly the pixels they were drawn around."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from omero_pixclf.objects.label import components
from omero_pixclf.objects.outline import MaskShape, PolygonShape, outlines
from omero_pixclf.objects.rasterise import rasterise
from omero_pixclf.objects.simplify import simplify_rings

shapes = st.tuples(st.integers(1, 2), st.integers(1, 4), st.integers(1, 12), st.integers(1, 12))
masks = shapes.flatmap(lambda shape: hnp.arrays(np.bool_, shape, fill=st.nothing()))

label_images = shapes.flatmap(lambda s: hnp.arrays(np.int32, s, elements=st.integers(0, 3), fill=st.nothing()))


@settings(deadline=None)
@given(label_images, st.sampled_from(["polygon", "mask"]))
def test_outlines_rasterised_are_the_labels(labels: NDArray[Any], kind: Any) -> None:
    shape = labels.shape
    assert np.array_equal(rasterise(outlines(labels, kind=kind), shape), labels)


@settings(deadline=None)
@given(masks, st.sampled_from([4, 8, 6, 26]))
def test_every_object_has_one_outline_in_label_order(mask: NDArray[Any], connectivity: Any) -> None:
    labels = components(mask, connectivity=connectivity)
    found = [(o.t, o.label) for o in outlines(labels)]
    expected = [(t, k) for t, frame in enumerate(labels) for k in range(1, frame.max(initial=0) + 1)]
    assert found == expected


@settings(deadline=None)
@given(masks)
def test_objects_joined_by_corners_without_holes_are_one_polygon(mask: NDArray[Any]) -> None:
    from skimage.measure import euler_number

    labels = components(mask, connectivity=8)
    for outline in outlines(labels):
        for shape in outline.shapes:
            holes = 1 - euler_number(labels[shape.t, shape.z] == outline.label, connectivity=2)
            if holes == 0:
                assert isinstance(shape, PolygonShape)


def _holes(part: NDArray[Any]) -> bool:
    from scipy import ndimage

    return bool((ndimage.binary_fill_holes(part, np.ones((3, 3))) != part).any())


@settings(deadline=None)
@given(masks)
def test_polygon_only_where_one_ring_shows_the_object(mask: NDArray[Any]) -> None:
    labels = components(mask, connectivity=4)
    for outline in outlines(labels):
        for shape in outline.shapes:
            part = labels[shape.t, shape.z] == outline.label
            assert isinstance(shape, MaskShape) == _holes(part)


@settings(max_examples=200, deadline=None)
@given(masks, st.floats(0.05, 2.0))
def test_simplified_outlines_stay_within_the_tolerance(mask: NDArray[Any], tolerance: float) -> None:
    labels = components(mask, connectivity=4)
    exact = [s.points for o in outlines(labels) for s in o.shapes if isinstance(s, PolygonShape)]
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
    [exact], [simple] = outlines(labels), outlines(labels, simplify=0.5)
    assert len(simple.shapes[0].points) < len(exact.shapes[0].points) / 3.5
    drawn = rasterise([simple], labels.shape)
    assert np.count_nonzero(drawn != labels) < 0.01 * labels.sum()


@pytest.mark.parametrize("tolerance", [0.1, 0.5])
def test_a_rectangle_stays_what_it_is(tolerance: float) -> None:
    labels = np.zeros((1, 1, 20, 20), np.int32)
    labels[0, 0, 3:9, 4:16] = 1
    [outline] = outlines(labels, simplify=tolerance)
    assert sorted(map(tuple, outline.shapes[0].points)) == [(4, 3), (4, 9), (16, 3), (16, 9)]
