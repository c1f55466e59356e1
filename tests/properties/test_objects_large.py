"""Found, measured and outlined box by box is found, measured and outlined in one piece."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from omero_pixclf.objects.block_labeling import split_into_blocks
from omero_pixclf.objects.blockwise import MeasurementParameters, measure_blocks, outline_blocks, segment_blocks
from omero_pixclf.objects.outline import trace_outlines
from omero_pixclf.objects.rasterize import rasterize_outlines
from omero_pixclf.objects.segment import SegmentationSettings, object_dimensions, segment_objects
from omero_pixclf.objects.summary import TILE, combine_sums, sum_tiles, summarize_image

blocks = st.tuples(st.integers(1, 5), st.integers(3, 20), st.integers(3, 20))
shapes = st.tuples(st.integers(1, 2), st.integers(1, 5), st.integers(3, 24), st.integers(3, 24))
recipes = st.builds(
    SegmentationSettings,
    method=st.sampled_from(["threshold", "hysteresis", "segmentation"]),
    threshold=st.just(0.5),
    low=st.just(0.45),
    high=st.just(0.7),
    smooth=st.sampled_from([(0.0, 0.0, 0.0), (0.7, 1.0, 1.6)]),
    min_size=st.integers(0, 4),
    max_size=st.sampled_from([None, 30]),
    connectivity=st.sampled_from([None, 8]),
    dims=st.sampled_from(["auto", "2d", "3d"]),
    split=st.sampled_from(["none", "distance", "probability"]),
    fill_holes=st.booleans(),
    border=st.sampled_from(["keep", "remove"]),
)


def maps(shape: tuple[int, ...], seed: int, grain: float = 0.8) -> NDArray[Any]:
    """Three classes of smooth noise between 0 and 1 that sum to one."""
    noise = np.random.default_rng(seed).random((*shape, 3))
    smooth = gaussian_filter(noise, (0, *(grain if n > 1 else 0 for n in shape[1:]), 0)) ** 4
    return (smooth / smooth.sum(axis=-1, keepdims=True)).astype(np.float32)


@settings(deadline=None, max_examples=150)
@given(shapes, blocks, recipes, st.integers(0, 2**31))
def test_any_recipe_finds_the_same_in_blocks(shape: Any, block: Any, recipe: SegmentationSettings, seed: int) -> None:
    probabilities = maps(shape, seed)
    out = np.full(shape, 7, np.int32)
    size = (2.0, 1.0, 1.0)
    counts = segment_blocks(
        probabilities,
        0,
        recipe,
        out=out,
        scratch=lambda: np.full(shape, 3, np.int32),
        block=block,
        pixel_size_um=size,
    )
    expected = segment_objects(probabilities, 0, recipe, pixel_size_um=size)
    assert np.array_equal(out, expected)
    assert counts == tuple(int(frame.max(initial=0)) for frame in expected)


@settings(deadline=None, max_examples=60)
@given(shapes, blocks, st.sampled_from(["2d", "3d"]), st.integers(0, 2**31))
def test_tables_are_the_same_in_blocks(shape: Any, block: Any, dims: Any, seed: int) -> None:
    probabilities = maps(shape, seed)
    image = np.random.default_rng(seed).integers(0, 999, (*shape, 2)).astype(np.uint16)
    recipe = SegmentationSettings(dims=dims, threshold=0.4, min_size=0)
    labels = segment_objects(probabilities, 0, recipe)
    parameters = MeasurementParameters("a", 0, object_dimensions(recipe, shape[1]), (2.0, 0.5, 0.5), ["one", "two"])
    whole = parameters.measure(labels, image, probabilities)
    parts = measure_blocks(labels, image, probabilities, block=block, parameters=parameters)
    assert parts.names == whole.names
    for name in whole.names:
        assert np.array_equal(parts[name], whole[name], equal_nan=whole[name].dtype == np.float64), name


@settings(deadline=None, max_examples=60)
@given(shapes, st.tuples(st.integers(1, 3), st.integers(1, 2), st.integers(1, 2)), st.integers(0, 2**31))
def test_summaries_are_the_same_to_the_last_bit_whatever_the_boxes(shape: Any, times: Any, seed: int) -> None:
    times_t, planes, rows, columns = shape
    random = np.random.default_rng(seed)
    image = random.random((times_t, planes, rows * 25, columns * 25, 2)).astype(np.float32)
    probabilities = maps(image.shape[:4], seed)
    block = (times[0], TILE * times[1], TILE * times[2])
    places = [(t, place) for t in range(times_t) for place in split_into_blocks(image.shape[1:4], block)]
    random.shuffle(places)
    parts = [sum_tiles(image, probabilities, t, place) for t, place in places]
    assert combine_sums(parts, {}, {}) == summarize_image(image, probabilities, {})


@settings(deadline=None, max_examples=60)
@given(shapes, blocks, st.sampled_from(["polygon", "mask"]), st.integers(0, 2**31))
def test_outlines_are_the_same_in_blocks(shape: Any, block: Any, kind: Any, seed: int) -> None:
    labels = segment_objects(maps(shape, seed), 0, SegmentationSettings(threshold=0.4, min_size=0))
    whole, parts = list(trace_outlines(labels, kind=kind)), list(outline_blocks(labels, block=block, kind=kind))
    assert [(o.t, o.label, len(o.shapes)) for o in parts] == [(o.t, o.label, len(o.shapes)) for o in whole]
    assert np.array_equal(rasterize_outlines(parts, shape), labels)


def test_arrays_on_disk_do(tmp_path: Path) -> None:
    shape = (2, 1, 120, 150)
    probabilities = maps(shape, 5, 3.0)

    def on_disk(name: str, extents: tuple[int, ...], dtype: Any) -> Any:
        chunks = (1, 1, 32, 32, 3)[: len(extents)]
        return zarr.open(tmp_path / name, mode="w", shape=extents, chunks=chunks, dtype=dtype)

    stored = on_disk("maps", probabilities.shape, np.float32)
    stored[:] = probabilities
    names = iter("abc")
    out = on_disk("labels", shape, np.int32)
    recipe = SegmentationSettings(
        method="hysteresis", low=0.4, high=0.5, fill_holes=True, split="distance", smooth=(1.0, 1.0, 1.0)
    )
    segment_blocks(stored, 0, recipe, out=out, scratch=lambda: on_disk(next(names), shape, np.int32), block=(1, 64, 64))
    expected = segment_objects(probabilities, 0, recipe)
    assert expected.max() > 3
    assert np.array_equal(np.asarray(out[:]), expected)
    table = measure_blocks(
        out, stored, stored, block=(1, 64, 64), parameters=MeasurementParameters("a", 0, 2, (None,) * 3, [])
    )
    assert table["Area_px"].sum() == np.count_nonzero(expected)
    summary = summarize_image(stored, stored, {"a": out})
    assert summary.objects == {"a": len(table)}
    assert summary == summarize_image(probabilities, probabilities, {"a": expected})
