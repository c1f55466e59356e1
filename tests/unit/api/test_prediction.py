"""Predicting arrays: any rank and order of axes, arrays of several libraries, and messages for what does not fit."""

from __future__ import annotations

from itertools import permutations
from pathlib import Path
from typing import Any

import dask.array
import h5py
import numpy as np
import pytest
import zarr

import omero_pixclf
from omero_pixclf.errors import ImageError, UsageError
from omero_pixclf.ilastik.project import Project
from omero_pixclf.pixels.predict import predict_array

DEMO = Path(omero_pixclf.__file__).with_name("demo")


def project(name: str) -> Project:
    return omero_pixclf.read_project(DEMO / f"{name}.ilp")


FLAT, PLATE, VOLUME = project("lapse"), project("plate"), project("stack")
PLANE = np.random.default_rng(0).integers(0, 4000, (40, 50), dtype="uint16")
STACK = np.random.default_rng(1).integers(0, 4000, (24, 20, 22), dtype="uint16")


def test_a_2d_array_into_a_2d_project_just_works() -> None:
    found = omero_pixclf.predict(FLAT, PLANE)
    assert found.shape == (40, 50, 2)
    assert (found == predict_array(FLAT, PLANE[None, None, ..., None])[0, 0]).all()


@pytest.mark.parametrize("axes", ["".join(p) for p in permutations("yxc")])
def test_axes_in_any_order_give_the_same_numbers(axes: str) -> None:
    image = np.stack([PLANE, PLANE[::-1]], axis=-1)
    expected = omero_pixclf.predict(PLATE, image, "yxc")
    order = ["yxc".index(key) for key in axes]
    assert (omero_pixclf.predict(PLATE, image.transpose(order), axes) == expected.transpose(order)).all()


@pytest.mark.parametrize("axes", ["zyx", "tzyx", "zyxc", "tzyxc", "xyz", "czyx"])
def test_missing_axes_are_added_and_removed_again(axes: str) -> None:
    present = [key for key in axes if key in "zyx"]
    image = STACK.transpose(["zyx".index(key) for key in present])
    image = image[tuple(slice(None) if key in present else None for key in axes)]
    found = omero_pixclf.predict(VOLUME, image, axes)
    with_classes = axes if "c" in axes else axes + "c"
    assert found.ndim == len(with_classes)
    assert found.shape[with_classes.index("c")] == 2
    moved = np.moveaxis(found, [with_classes.index(key) for key in "zyxc"], range(found.ndim - 4, found.ndim))
    assert (moved.reshape(*STACK.shape, 2) == omero_pixclf.predict(VOLUME, STACK, "zyx")).all()


def test_without_axes_the_training_axes_are_taken() -> None:
    assert (omero_pixclf.predict(VOLUME, STACK) == omero_pixclf.predict(VOLUME, STACK, "zyx")).all()
    assert omero_pixclf.predict(PLATE, np.stack([PLANE] * 2, axis=-1)).shape == (40, 50, 3)


def zarr_array(values: np.ndarray[Any, Any]) -> Any:
    array = zarr.create_array({}, shape=values.shape, chunks=(16,) * values.ndim, dtype=values.dtype)
    array[...] = values
    return array


@pytest.mark.parametrize(
    "make",
    [lambda a: dask.array.from_array(a, chunks=16), zarr_array, np.asfortranarray, lambda a: a.astype(">u2")],
    ids=["dask", "zarr", "fortran", "big-endian"],
)
def test_arrays_of_other_libraries_give_the_same_numbers(make: Any) -> None:
    assert (omero_pixclf.predict(FLAT, make(PLANE)) == omero_pixclf.predict(FLAT, PLANE)).all()


def test_out_takes_the_result_block_by_block() -> None:
    expected = omero_pixclf.predict(PLATE, np.stack([PLANE] * 2), "cyx")
    for out in (np.zeros((3, 40, 50), np.float32), zarr_array(np.zeros((3, 40, 50), np.float32))):
        assert omero_pixclf.predict(PLATE, np.stack([PLANE] * 2), "cyx", out=out, memory=2**20) is out
        assert (out[...] == expected).all()
    with h5py.File("out.h5", "w", driver="core", backing_store=False) as file:
        data = file.create_dataset("a", (3, 40, 50), "f4")
        omero_pixclf.predict(PLATE, np.stack([PLANE] * 2), "cyx", out=data)
        assert (data[...] == expected).all()


@pytest.mark.parametrize(
    ("image", "axes", "says"),
    [
        (PLANE, "zyx", r"is 2D \(shape \(40, 50\)\), axes='zyx' are for a 3D array"),
        (PLANE[None, None, None], None, r"is 5D .* expects 2D \(yx\) or 4D \(tyxc\); name other axes"),
        (np.stack([PLANE] * 3), "cyx", r"has 3 channels \(shape \(3, 40, 50\), axes 'cyx'\), lapse.ilp .* on 1"),
        (PLANE[:0], "yx", r"has no pixels \(shape \(0, 50\)\)"),
        (PLANE.astype(complex), "yx", "pixels are complex128"),
        (PLANE[0], None, r"is 1D \(shape \(50,\)\)"),
    ],
)
def test_what_does_not_fit_is_named(image: Any, axes: str | None, says: str) -> None:
    with pytest.raises(ImageError, match=says):
        omero_pixclf.predict(FLAT, image, axes)


def test_bad_axes_and_out_are_named() -> None:
    with pytest.raises(UsageError, match="expected letters of 'tzyxc'"):
        omero_pixclf.predict(FLAT, PLANE, "ab")
    with pytest.raises(ImageError, match=r"expected float32 \(40, 50, 2\) \(yxc\)"):
        omero_pixclf.predict(FLAT, PLANE, out=np.zeros((40, 50), np.float32))


def test_lists_are_arrays_and_resources_are_checked() -> None:
    assert (omero_pixclf.predict(FLAT, PLANE.astype(float).tolist()) == omero_pixclf.predict(FLAT, PLANE * 1.0)).all()
    with pytest.raises(UsageError, match="threads=0: expected at least 1"):
        omero_pixclf.predict(FLAT, PLANE, threads=0)
    with pytest.raises(UsageError, match="memory=-1"):
        omero_pixclf.predict(FLAT, PLANE, memory=-1)


def test_simple_segmentation_drops_the_axis_of_the_classes() -> None:
    found = omero_pixclf.predict(PLATE, np.stack([PLANE] * 2), "cyx")
    expected = found.argmax(axis=0) + 1
    assert (omero_pixclf.simple_segmentation(found, "cyx") == expected).all()
    assert (omero_pixclf.simple_segmentation(np.moveaxis(found, 0, -1)) == expected).all()
    with pytest.raises(UsageError, match="expected an axis 'c'"):
        omero_pixclf.simple_segmentation(found, "zyx")
