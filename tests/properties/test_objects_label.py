"""Laws of labelling, splitting and measuring that hold for any mask."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray
from scipy import ndimage

from omero_pixclf.objects.label import (
    clear_border,
    fill_holes,
    filter_sizes,
    label_components,
    relabel_in_raster_order,
    structuring_element,
)
from omero_pixclf.objects.measure import measure
from omero_pixclf.objects.watershed import split_by_distance, split_by_probability

shapes = st.tuples(st.integers(1, 2), st.integers(1, 4), st.integers(1, 9), st.integers(1, 9))
masks = shapes.flatmap(lambda shape: hnp.arrays(np.bool_, shape, fill=st.nothing()))
connectivities = st.sampled_from([4, 8, 6, 26])


def same_objects(one: NDArray[Any], other: NDArray[Any]) -> bool:
    return np.array_equal(relabel_in_raster_order(one), relabel_in_raster_order(other))


@settings(deadline=None)
@given(masks, connectivities)
def test_numbers_are_in_raster_order_and_have_no_gaps(mask: NDArray[Any], connectivity: Any) -> None:
    labels = label_components(mask, connectivity=connectivity)
    assert np.array_equal(labels > 0, mask)
    assert np.array_equal(labels, relabel_in_raster_order(labels))
    for frame in labels:
        numbers, first = np.unique(frame[frame > 0], return_index=True)
        assert numbers.tolist() == list(range(1, len(numbers) + 1))
        assert (np.diff(first) > 0).all()


@settings(deadline=None)
@given(masks, connectivities)
def test_pixels_are_of_one_object_just_when_a_way_leads_between_them(mask: NDArray[Any], connectivity: Any) -> None:
    labels = label_components(mask, connectivity=connectivity)
    around = structuring_element(connectivity)
    for frame in labels:
        for number in range(1, frame.max(initial=0) + 1):
            part = frame == number
            _, pieces = ndimage.label(part, around)
            beyond = ndimage.binary_dilation(part, around) & (frame > 0)
            assert pieces == 1
            assert np.array_equal(beyond, part)


@settings(deadline=None)
@given(masks, connectivities, st.sampled_from([1, 2, 3]))
def test_labelling_commutes_with_flips(mask: NDArray[Any], connectivity: Any, axis: int) -> None:
    flipped = label_components(np.flip(mask, axis), connectivity=connectivity)
    assert same_objects(np.flip(flipped, axis), label_components(mask, connectivity=connectivity))


@settings(deadline=None)
@given(masks, connectivities)
def test_labelling_commutes_with_transposing(mask: NDArray[Any], connectivity: Any) -> None:
    turned = label_components(mask.swapaxes(2, 3), connectivity=connectivity)
    assert same_objects(turned.swapaxes(2, 3), label_components(mask, connectivity=connectivity))


@settings(deadline=None)
@given(masks, connectivities, st.integers(0, 5), st.integers(5, 20))
def test_size_filter_keeps_exactly_the_sizes_asked_for(mask: NDArray[Any], connectivity: Any, a: int, b: int) -> None:
    labels = label_components(mask, connectivity=connectivity)
    kept = filter_sizes(labels, min_size=a, max_size=b)
    for before, after in zip(labels, kept, strict=True):
        count = np.bincount(before.ravel())
        assert np.array_equal(after > 0, ((count >= a) & (count <= b))[before] & (before > 0))
    assert np.array_equal(kept, relabel_in_raster_order(kept))


@settings(deadline=None)
@given(masks, connectivities)
def test_objects_off_the_border_touch_none(mask: NDArray[Any], connectivity: Any) -> None:
    labels = label_components(mask, connectivity=connectivity)
    kept = clear_border(labels)
    for before, after in zip(labels, kept, strict=True):
        edge = {int(v) for face in (before[:, 0], before[:, -1], before[..., 0], before[..., -1]) for v in face.ravel()}
        assert np.array_equal(after > 0, ~np.isin(before, list(edge | {0})))


@settings(deadline=None)
@given(masks, connectivities)
def test_filled_masks_have_no_holes_left_and_lose_nothing(mask: NDArray[Any], connectivity: Any) -> None:
    filled = fill_holes(mask, connectivity=connectivity)
    assert (filled >= mask).all()
    assert np.array_equal(fill_holes(filled, connectivity=connectivity), filled)
    volumes = mask if connectivity in (6, 26) else mask.reshape(-1, 1, *mask.shape[2:])
    wholes = filled if connectivity in (6, 26) else filled.reshape(-1, 1, *mask.shape[2:])
    behind = {4: 8, 8: 4, 6: 26, 26: 6}[connectivity]
    for volume, whole in zip(volumes, wholes, strict=True):
        if connectivity in (6, 26):
            expected = ndimage.binary_fill_holes(volume, structuring_element(behind))
        else:
            expected = ndimage.binary_fill_holes(volume[0], structuring_element(behind)[1])[None]
        assert np.array_equal(whole, expected)


@settings(deadline=None)
@given(masks, connectivities, st.sampled_from(["distance", "probability"]))
def test_splitting_parts_objects_and_moves_no_pixel(mask: NDArray[Any], connectivity: Any, how: str) -> None:
    labels = label_components(mask, connectivity=connectivity)
    if how == "distance":
        parts = split_by_distance(labels, connectivity=connectivity)
    else:
        parts = split_by_probability(labels, np.where(mask, 0.75, 0.25), connectivity=connectivity)
    assert np.array_equal(parts > 0, mask)
    assert np.array_equal(parts, relabel_in_raster_order(parts))
    for before, after in zip(labels, parts, strict=True):
        pairs = np.unique(np.stack((after[after > 0], before[after > 0])), axis=1)
        assert len(np.unique(pairs[0])) == pairs.shape[1]  # every part is of one object


@settings(deadline=None)
@given(masks, connectivities)
def test_sizes_in_the_table_sum_to_the_foreground(mask: NDArray[Any], connectivity: Any) -> None:
    labels = label_components(mask, connectivity=connectivity)
    image = np.random.default_rng(0).random((*mask.shape, 1))
    dims = 3 if connectivity in (6, 26) else 2
    table = measure(labels, image, None, class_name="a", dims=dims, channels=["g"])
    assert table["Area_px" if dims == 2 else "Volume_px"].sum() == mask.sum()
    assert np.isclose(table["Integrated_g"].sum(), image[..., 0][mask].sum(), rtol=1e-12)


@settings(deadline=None)
@given(masks, st.sampled_from([4, 8]))
def test_measurements_do_not_change_when_the_image_is_flipped(mask: NDArray[Any], connectivity: Any) -> None:
    labels = label_components(mask, connectivity=connectivity)
    image = np.zeros((*mask.shape, 1))
    plain = measure(labels, image, None, class_name="a", dims=2)
    mirrored = measure(labels[..., ::-1], image, None, class_name="a", dims=2)
    for name in ("Area_px", "Perimeter_px", "Axis_major_px", "Axis_minor_px", "Solidity", "Centroid_Y_px"):
        assert np.allclose(plain[name], mirrored[name], rtol=1e-9)
    assert np.allclose(plain["Centroid_X_px"], mask.shape[3] - mirrored["Centroid_X_px"])
