"""Labelled block by block is labelled in one piece."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from omero_pixclf.objects.block_labeling import filter_blocks, label_blocks
from omero_pixclf.objects.label import filter_sizes, label_components
from omero_pixclf.objects.two_level_threshold import hysteresis_threshold

shapes = st.tuples(st.integers(1, 2), st.integers(1, 5), st.integers(1, 9), st.integers(1, 9))
masks = shapes.flatmap(lambda shape: hnp.arrays(np.bool_, shape, fill=st.nothing()))
blocks = st.tuples(st.integers(1, 6), st.integers(2, 10), st.integers(2, 10))
connectivities = st.sampled_from([4, 8, 6, 26])


@settings(max_examples=300, deadline=None)
@given(masks, blocks, connectivities)
def test_any_blocks_give_the_labels_of_the_whole(mask: NDArray[Any], block: Any, connectivity: Any) -> None:
    out = np.full(mask.shape, -1, np.int32)
    counts = label_blocks(mask, out, block=block, connectivity=connectivity)
    expected = label_components(mask, connectivity=connectivity)
    assert np.array_equal(out, expected)
    assert counts == tuple(int(frame.max(initial=0)) for frame in expected)


@settings(deadline=None)
@given(masks, blocks, connectivities, st.integers(0, 4), st.one_of(st.none(), st.integers(4, 9)))
def test_sizes_are_those_of_whole_objects(
    mask: NDArray[Any], block: Any, connectivity: Any, least: int, most: int | None
) -> None:
    out = np.zeros(mask.shape, np.uint16)
    label_blocks(mask, out, block=block, connectivity=connectivity, min_size=least, max_size=most)
    whole = label_components(mask, connectivity=connectivity)
    assert np.array_equal(out, filter_sizes(whole, min_size=least, max_size=most))


@settings(deadline=None)
@given(masks, blocks, connectivities, st.data())
def test_cores_hold_their_object_across_seams(mask: NDArray[Any], block: Any, connectivity: Any, data: Any) -> None:
    cores = mask & data.draw(hnp.arrays(np.bool_, mask.shape))
    out = np.zeros(mask.shape, np.int32)
    label_blocks(mask, out, block=block, connectivity=connectivity, holding=cores)
    assert np.array_equal(out, hysteresis_threshold(mask, cores, connectivity=connectivity))


def test_one_long_object_winds_through_all_blocks_of_a_zarr_array(tmp_path: Path) -> None:
    mask = np.zeros((1, 3, 40, 50), np.bool_)
    mask[0, 1, ::4] = True
    mask[0, 1, 2::8, 0] = mask[0, 1, 1::8, 0] = mask[0, 1, 3::8, 0] = True
    mask[0, 1, 6::8, -1] = mask[0, 1, 5::8, -1] = mask[0, 1, 7::8, -1] = True
    stored = zarr.open(tmp_path / "mask.zarr", mode="w", shape=mask.shape, chunks=(1, 2, 16, 16), dtype=bool)
    stored[:] = mask
    out = zarr.open(tmp_path / "labels.zarr", mode="w", shape=mask.shape, chunks=(1, 2, 16, 16), dtype=np.uint32)
    assert label_blocks(stored, out, block=(2, 16, 16), connectivity=6) == (1,)
    assert np.array_equal(np.asarray(out[:]) > 0, mask)


def test_more_numbers_than_the_type_holds_are_refused() -> None:
    mask = np.indices((1, 1, 32, 32)).sum(axis=0) % 2 == 0
    with pytest.raises(OverflowError, match="uint8"):
        label_blocks(mask, np.zeros(mask.shape, np.uint8), block=(1, 32, 32), connectivity=4)


@settings(deadline=None)
@given(masks, blocks, connectivities, st.sampled_from([(1, 2), (0, 1, 2), (2,)]))
def test_objects_at_chosen_faces_are_left_out(mask: NDArray[Any], block: Any, connectivity: Any, axes: Any) -> None:
    out = np.zeros(mask.shape, np.int32)
    label_blocks(mask, out, block=block, connectivity=connectivity, clear_of=axes)
    whole = label_components(mask, connectivity=connectivity)
    for got, frame in zip(out, whole, strict=True):
        edge = [frame.take(side, axis) for axis in axes for side in (0, -1)]
        gone = {int(v) for face in edge for v in face.ravel()}
        assert np.array_equal(got > 0, ~np.isin(frame, [*gone, 0]))


@settings(deadline=None)
@given(masks, blocks, connectivities, st.integers(0, 5))
def test_filtering_blocks_is_filtering_the_whole(mask: NDArray[Any], block: Any, connectivity: Any, least: int) -> None:
    whole = label_components(mask, connectivity=connectivity)
    out = np.where(whole > 0, whole.max(initial=0) + 3 - whole, 0)  # other numbers, with a gap
    counts = filter_blocks(out, block=block, min_size=least)
    assert np.array_equal(out, filter_sizes(whole, min_size=least))
    assert counts == tuple(int(frame.max(initial=0)) for frame in out)
