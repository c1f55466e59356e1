"""What is written, in whatever blocks, is read back the same."""

from __future__ import annotations

import itertools
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from omero_pixclf.files.axes import axes_from_keys, axis_keys, from_tzyxc, to_tzyxc, tzyxc_shape
from omero_pixclf.files.export.image_writer import (
    ExportSettings,
    ResultDescription,
    plan_export,
    save_image,
    write_result,
)
from omero_pixclf.files.opening import open_image, open_stored
from omero_pixclf.image import AXES, Region

ANY_ORDER = ("hdf5", "compressed hdf5", "numpy")
FIXED = {"single-scale OME-Zarr": "tczyx", "multipage tiff": "tzcyx"}


@st.composite
def image_shapes(draw: st.DrawFn) -> tuple[str, tuple[int, ...]]:
    extra = draw(st.sets(st.sampled_from("tzc")))
    keys = "".join(draw(st.permutations([*"yx", *sorted(extra)])))
    return keys, tuple(draw(st.integers(1, 9)) for _ in keys)


def tiles(shape: tuple[int, ...], size: int) -> list[Region]:
    """Blocks over (t, z, y, x), channels whole, out of order."""
    ranges = [range(0, n, size) for n in shape[:4]]
    found = []
    for t, z, y, x in itertools.product(*ranges):
        start = (t, z, y, x)
        stop = tuple(min(a + size, n) for a, n in zip(start, shape[:4], strict=True))
        found.append(Region((*start, 0), (*stop, shape[4])))
    return found[::2] + found[1::2]


@settings(max_examples=60, deadline=None)
@given(
    image=image_shapes(),
    size=st.integers(1, 6),
    dtype=st.sampled_from(["uint8", "uint16", "float32"]),
    output_format=st.sampled_from([*ANY_ORDER, *FIXED]),
    classes=st.integers(1, 3),
    seed=st.integers(0, 2**16),
)
def test_blocks_in_any_order_give_the_same_file(
    image: tuple[str, tuple[int, ...]], size: int, dtype: str, output_format: str, classes: int, seed: int
) -> None:
    keys, shape = image
    result = ResultDescription.like("Probabilities", axes_from_keys(keys), shape, classes, dtype)
    native = (np.random.default_rng(seed).random(result.shape) * 200).astype(dtype)
    five = to_tzyxc(native, axis_keys(result.axes))
    with tempfile.TemporaryDirectory() as folder:
        export = ExportSettings(output_format=output_format, output_filename_format=f"{folder}/out")
        planned = plan_export(export, result, dataset_dir=folder, nickname="n")
        with write_result(planned) as take:
            for region in tiles(five.shape, size):
                take(region, five[region.slices])
        order = FIXED.get(output_format, axis_keys(result.axes))
        with open_stored(planned.address) as stored:
            assert stored.dtype == np.dtype(dtype)
            if output_format != "multipage tiff":
                assert stored.shape == tuple(tzyxc_shape(five.shape, AXES)[AXES.index(k)] for k in order)
            content = stored.read(tuple(slice(0, n) for n in stored.shape))
            assert np.array_equal(content.reshape(-1), from_tzyxc(five, order).reshape(-1))
        assert [p.name for p in Path(folder).iterdir()] == [planned.path.name]


@settings(max_examples=40, deadline=None)
@given(
    image=image_shapes(),
    cut=st.tuples(*[st.tuples(st.integers(0, 8), st.integers(1, 9))] * 5),
    seed=st.integers(0, 2**16),
)
def test_a_cut_is_the_crop_of_the_whole(
    image: tuple[str, tuple[int, ...]], cut: tuple[tuple[int, int], ...], seed: int
) -> None:
    keys, shape = image
    result = ResultDescription.like("Probabilities", axes_from_keys(keys), shape, 3, "float32")
    native = np.random.default_rng(seed).random(result.shape, dtype=np.float32)
    five = to_tzyxc(native, axis_keys(result.axes))
    start = tuple(min(a, n - 1) for (a, _), n in zip(cut, result.shape, strict=False))
    stop = tuple(min(a + b, n) for a, (_, b), n in zip(start, cut, result.shape, strict=False))
    with tempfile.TemporaryDirectory() as folder:
        export = ExportSettings(output_filename_format=f"{folder}/out", cutout_subregion=(start, stop))
        planned = plan_export(export, result, dataset_dir=folder, nickname="n")
        with write_result(planned) as take:
            inside = Region((*planned.region.start[:4], 0), (*planned.region.stop[:4], 3))
            take(inside, five[inside.slices])
        with open_stored(planned.address) as stored:
            whole = stored.read(tuple(slice(0, n) for n in stored.shape))
            assert np.array_equal(whole, native[tuple(slice(a, b) for a, b in zip(start, stop, strict=True))])


@pytest.mark.parametrize("extension", ["h5", "npy", "zarr", "tif"])
@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_any_region_read_is_the_slice_of_the_whole(extension: str, data: st.DataObject) -> None:
    shape = tuple(data.draw(st.integers(1, 12)) for _ in AXES)
    pixels = np.random.default_rng(data.draw(st.integers(0, 999))).integers(0, 60000, shape, dtype=np.uint16)
    starts = tuple(data.draw(st.integers(0, n - 1)) for n in shape)
    stops = tuple(data.draw(st.integers(a + 1, n)) for a, n in zip(starts, shape, strict=True))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"image.{extension}"
        save_image(path, pixels)
        order = {"tif": None, "zarr": "tczyx"}.get(extension, AXES)
        with open_image(path, axes=order) as reader:
            if extension == "tif":  # tifffile names axes of size 1 away; what is left keeps its order
                assert reader.info.shape == shape
            region = Region(starts, stops)  # type: ignore[arg-type]
            assert np.array_equal(reader.read(region), pixels[region.slices])


@settings(max_examples=30, deadline=None)
@given(
    shape=st.tuples(st.integers(1, 20), st.integers(1, 20), st.integers(1, 4)),
    dtype=st.sampled_from(["uint8", "uint16"]),
    seed=st.integers(0, 999),
)
def test_png_holds_exactly_what_was_given(shape: tuple[int, int, int], dtype: str, seed: int) -> None:
    from omero_pixclf.files.png import open_png, save_png

    pixels = np.random.default_rng(seed).integers(0, np.iinfo(dtype).max, shape, dtype=dtype)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.png"
        save_png(path, pixels)
        with open_png(path) as stored:
            assert np.array_equal(stored.read((slice(None),) * 3), pixels)
            assert stored.dtype == np.dtype(dtype)
