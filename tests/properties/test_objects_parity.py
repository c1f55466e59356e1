"""Measurements against scikit-image's `regionprops_table`, on random label images in 2D and 3D.

Where both define a number in the same way, they are equal. The known differences, each of which is tested here:

* Coordinates: centroids of the table are in pixel corners (half a pixel more along y and x), regionprops has indices.
* Second moments: the table measures objects as solids of unit cubes, which adds 1/12 pixel² to each variance, so that
  one pixel has a width; regionprops measures pixel centres. Axis lengths and eccentricity differ by this term alone.
* Orientation: the table counts from x, counter-clockwise as on a screen; regionprops from the rows' axis.
* Solidity: the table's convex hull is that of the pixel centres, which `convex_hull_image` computes with
  ``offset_coordinates=False``; regionprops takes the hull of the pixels' edge middles, so its solidity is never larger.
* In 3D regionprops has no hull of points in a line or plane (solidity inf); the table has the points on it.
* Surface, neighbours, probabilities and uncertainty have no counterpart in regionprops.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage
from skimage.measure import regionprops_table
from skimage.morphology import convex_hull_image

from omero_pixclf.objects.measure import measure
from omero_pixclf.table import Table

BASIC = ("label", "area", "bbox", "centroid", "intensity_mean", "intensity_min", "intensity_max", "intensity_std")
AXES = ("axis_major_length", "axis_minor_length")
FLAT = ("perimeter_crofton", "orientation", "eccentricity", "solidity")
sides = st.integers(4, 24)


def random_labels(shape: tuple[int, ...], seed: int, *, blobs: bool) -> np.ndarray[Any, Any]:
    """Connected blobs, or labels that are scattered over several parts."""
    random = np.random.default_rng(seed)
    noise = ndimage.gaussian_filter(random.normal(size=shape), 1.5)
    labels = ndimage.label(noise > np.quantile(noise, 0.6))[0]
    if not blobs:
        labels = np.where(random.random(shape) < 0.5, random.integers(1, 6, shape), 0)
    labels.flat[0] = labels.max() + 1  # there is always an object, one of a single pixel
    return np.asarray(labels, np.int32)


def both(labels: np.ndarray[Any, Any], seed: int, properties: tuple[str, ...]) -> tuple[Table, dict[str, Any]]:
    """Our table, and regionprops', of labels ``(y, x)`` or ``(z, y, x)``."""
    image = np.random.default_rng(seed).normal(100, 20, labels.shape).astype(np.float32)
    five = labels[None] if labels.ndim == 3 else labels[None, None]
    dims: Any = labels.ndim
    ours = measure(five, image.reshape(*five.shape, 1), None, class_name="a", dims=dims)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # hulls of lines and planes, which regionprops gives up
        return ours, regionprops_table(labels, image, properties=properties)


def check_basics(ours: Table, theirs: dict[str, Any], dims: int) -> None:
    assert ours["Label"].tolist() == theirs["label"].tolist()
    assert ours["Area_px" if dims == 2 else "Volume_px"].tolist() == theirs["area"].tolist()
    for axis, name in enumerate("YX" if dims == 2 else "ZYX"):
        suffix, corner = ("", 0.0) if name == "Z" else ("_px", 0.5)
        assert ours[f"BBox_{name}0{suffix}"].tolist() == theirs[f"bbox-{axis}"].tolist()
        assert ours[f"BBox_{name}1{suffix}"].tolist() == theirs[f"bbox-{axis + dims}"].tolist()
        np.testing.assert_allclose(ours[f"Centroid_{name}{suffix}"], theirs[f"centroid-{axis}"] + corner, rtol=1e-12)
    for name in ("Mean", "Min", "Max", "Std"):
        found = theirs[f"intensity_{name.lower()}"]
        np.testing.assert_allclose(ours[f"{name}_Channel_1"], found, rtol=1e-4, atol=1e-4)  # theirs sum in float32
    np.testing.assert_allclose(ours["Integrated_Channel_1"], theirs["intensity_mean"] * theirs["area"], rtol=1e-5)


def variance(length: Any, dims: int) -> Any:
    """The second moment along an axis of that length: of an ellipse in 2D, of an ellipsoid in 3D."""
    return length**2 / (16 if dims == 2 else 20)


@settings(deadline=None, max_examples=80)
@given(sides, sides, st.integers(0, 2**31), st.booleans())
def test_tables_in_2d_are_those_of_regionprops(height: int, width: int, seed: int, blobs: bool) -> None:
    labels = random_labels((height, width), seed, blobs=blobs)
    ours, theirs = both(labels, seed, (*BASIC, *AXES, *FLAT))
    check_basics(ours, theirs, 2)
    np.testing.assert_allclose(ours["Perimeter_px"], theirs["perimeter_crofton"], rtol=1e-12)
    major, minor = (variance(ours[f"Axis_{name}_px"], 2) for name in ("major", "minor"))
    np.testing.assert_allclose(major, variance(theirs["axis_major_length"], 2) + 1 / 12, rtol=1e-7)
    np.testing.assert_allclose(minor, variance(theirs["axis_minor_length"], 2) + 1 / 12, rtol=1e-7)
    np.testing.assert_allclose(ours["Eccentricity"], np.sqrt(np.maximum(1 - minor / major, 0)), atol=1e-7)
    longer = (theirs["eccentricity"] > 0.01) & ~np.isnan(ours["Orientation_deg"])
    turned = ours["Orientation_deg"][longer] - 90 - np.degrees(theirs["orientation"][longer])
    np.testing.assert_allclose((turned + 90) % 180, 90, atol=1e-4)


@settings(deadline=None, max_examples=40)
@given(st.integers(2, 8), st.integers(4, 14), st.integers(4, 14), st.integers(0, 2**31), st.booleans())
def test_tables_in_3d_are_those_of_regionprops(depth: int, height: int, width: int, seed: int, blobs: bool) -> None:
    ours, theirs = both(random_labels((depth, height, width), seed, blobs=blobs), seed, (*BASIC, *AXES))
    check_basics(ours, theirs, 3)
    for name in ("major", "minor"):
        found = variance(theirs[f"axis_{name}_length"], 3)
        np.testing.assert_allclose(variance(ours[f"Axis_{name}_px"], 3), found + 1 / 12, atol=1e-7)


@settings(deadline=None, max_examples=60)
@given(st.sampled_from([2, 3]), sides, st.integers(0, 2**31), st.booleans())
def test_solidity_is_that_of_the_hull_of_pixel_centres(dims: int, side: int, seed: int, blobs: bool) -> None:
    shape = (side, side + 1) if dims == 2 else (side // 3 + 1, side // 2 + 1, side // 2 + 2)
    labels = random_labels(shape, seed, blobs=blobs)
    ours, theirs = both(labels, seed, ("label", "solidity"))
    known = np.isfinite(theirs["solidity"])  # in 3D regionprops has no hull of a flat object
    assert (ours["Solidity"] >= theirs["solidity"] - 1e-9)[known].all()
    for number, solidity in zip(ours["Label"], ours["Solidity"], strict=True):
        own = labels == number
        places = np.argwhere(own)
        if np.linalg.matrix_rank(places - places[0]) == dims:  # skimage has no hull of points in a line or plane
            hull = convex_hull_image(own, offset_coordinates=False)
            assert own.sum() / hull.sum() == solidity


def test_areas_in_micrometres_are_those_of_regionprops_with_spacing() -> None:
    labels = random_labels((5, 20, 24), 3, blobs=True)
    image = np.zeros((1, *labels.shape, 1), np.uint8)
    ours = measure(labels[None], image, None, class_name="a", dims=3, pixel_size_um=(2.0, 0.5, 0.25))
    theirs = regionprops_table(labels, properties=("area",), spacing=(2.0, 0.5, 0.25))
    np.testing.assert_allclose(ours["Volume_um3"], theirs["area"], rtol=1e-12)
    plane = labels[2:3]
    ours = measure(plane[None], image[:, :1], None, class_name="a", dims=2, pixel_size_um=(None, 0.5, 0.25))
    theirs = regionprops_table(plane[0], properties=("area",), spacing=(0.5, 0.25))
    np.testing.assert_allclose(ours["Area_um2"], theirs["area"], rtol=1e-12)
