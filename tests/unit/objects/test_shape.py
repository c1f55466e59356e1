"""Form numbers agree with geometry's formulas and with independent implementations."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.spatial import Delaunay
from skimage.measure import perimeter_crofton

from omero_pixclf.objects.label import label_components
from omero_pixclf.objects.measure import measure
from omero_pixclf.table import Table


def table_of(labels: NDArray[Any], **options: Any) -> Table:
    image = np.zeros((*labels.shape, 1), np.uint8)
    return measure(labels, image, None, class_name="a", **{"dims": 2, **options})


def ellipse(a: float, b: float, degrees: float, size: int = 161) -> NDArray[Any]:
    y, x = np.mgrid[:size, :size] - size // 2
    turn = math.radians(degrees)
    u, v = x * math.cos(turn) - y * math.sin(turn), x * math.sin(turn) + y * math.cos(turn)
    return ((u / a) ** 2 + (v / b) ** 2 <= 1).astype(np.int32)[None, None]


def ball(radius: float, spacing: tuple[float, float, float]) -> NDArray[Any]:
    half = [int(radius / s) + 2 for s in spacing]
    grid = np.meshgrid(*(np.arange(-h, h + 1) * s for h, s in zip(half, spacing, strict=True)), indexing="ij")
    return (sum(g**2 for g in grid) <= radius**2).astype(np.int32)[None]


def blobs(seed: int) -> NDArray[Any]:
    from scipy.ndimage import gaussian_filter

    noise = gaussian_filter(np.random.default_rng(seed).random((1, 1, 90, 110)), (0, 0, 3, 3))
    return label_components(noise > noise.mean(), connectivity=8)


def test_axes_eccentricity_and_orientation_are_those_of_the_ellipse() -> None:
    row = next(table_of(ellipse(60, 30, 25), pixel_size_um=(None, 0.5, 0.5)).rows())
    assert row["Axis_major_px"] == pytest.approx(120, rel=0.01)
    assert row["Axis_minor_um"] == pytest.approx(30, rel=0.01)
    assert row["Eccentricity"] == pytest.approx(math.sqrt(0.75), abs=0.005)
    assert row["Orientation_deg"] == pytest.approx(25, abs=0.5)
    assert math.isnan(row["Axis_middle_px"])


@pytest.mark.parametrize("side", [1, 2, 7])
def test_an_object_as_long_as_wide_has_no_direction(side: int) -> None:
    labels = np.zeros((1, 1, 20, 20), np.int32)
    labels[0, 0, 3 : 3 + side, 5 : 5 + side] = 1
    labels[0, 0, 12:14, 2:9] = 2
    square, bar = (row["Orientation_deg"] for row in table_of(labels).rows())
    assert math.isnan(square) and bar == 0.0


def test_perimeter_is_skimages_crofton() -> None:
    labels = blobs(3)
    for row in table_of(labels).rows():
        expected = perimeter_crofton(labels[0, 0] == row["Label"], directions=4)
        assert row["Perimeter_px"] == pytest.approx(expected, rel=1e-9)


def test_perimeter_knows_pixels_that_are_not_square() -> None:
    y, x = np.mgrid[-60:61, -120:121]
    labels = ((x * 0.5) ** 2 + y**2 <= 50**2).astype(np.int32)[None, None]
    row = next(table_of(labels, pixel_size_um=(None, 1.0, 0.5)).rows())
    assert row["Perimeter_um"] == pytest.approx(2 * math.pi * 50, rel=0.02)
    assert row["Eccentricity"] < 0.1


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (2.0, 1.0, 1.0), (0.6, 0.2, 0.2)])
def test_surface_and_axes_of_a_ball(spacing: tuple[float, float, float]) -> None:
    radius = 20 * spacing[2]
    row = next(table_of(ball(radius, spacing), dims=3, pixel_size_um=spacing).rows())
    assert row["Surface_um2"] == pytest.approx(4 * math.pi * radius**2, rel=0.03)
    assert row["Volume_um3"] == pytest.approx(4 / 3 * math.pi * radius**3, rel=0.03)
    for axis in ("major", "middle", "minor"):
        assert row[f"Axis_{axis}_um"] == pytest.approx(2 * radius, rel=0.03)
    assert row["Solidity"] == 1
    assert math.isnan(row["Perimeter_px"])


def in_hull(points: NDArray[Any], margin: float) -> int:
    """By brute force: a point of the box is in the hull when it lies within the triangulation."""
    spread = np.concatenate((np.eye(points.shape[1]), -np.eye(points.shape[1]))) * margin
    mesh = Delaunay((points[:, None] + spread).reshape(-1, points.shape[1]))
    box = np.stack(np.meshgrid(*map(np.arange, points.min(0), points.max(0) + 1), indexing="ij"), axis=-1)
    return int((mesh.find_simplex(box.reshape(-1, points.shape[1])) >= 0).sum())


def test_solidity_counts_pixels_whose_centres_lie_in_the_hull() -> None:
    labels = blobs(5)
    table = table_of(labels)
    assert min(table["Solidity"]) < 0.8
    for row in table.rows():
        pixels = np.argwhere(labels[0, 0] == row["Label"])
        assert row["Solidity"] == pytest.approx(len(pixels) / in_hull(pixels, 1e-5), rel=1e-9)


def test_solidity_in_space_counts_voxels_whose_centres_lie_in_the_hull() -> None:
    mask = np.random.default_rng(2).random((1, 5, 9, 9)) > 0.6
    labels = label_components(mask, connectivity=6)
    table = table_of(labels, dims=3)
    assert min(table["Solidity"]) < 0.8
    for row in table.rows():
        voxels = np.argwhere(labels[0] == row["Label"])
        assert row["Solidity"] == pytest.approx(len(voxels) / in_hull(voxels, 0.01), rel=1e-9)


def test_a_single_pixel_has_a_form() -> None:
    labels = np.zeros((1, 1, 3, 3), np.int32)
    labels[0, 0, 1, 1] = 1
    row = next(table_of(labels).rows())
    assert (row["Solidity"], row["Eccentricity"]) == (1.0, 0.0)
    assert row["Axis_major_px"] == pytest.approx(4 * math.sqrt(1 / 12))
    assert math.isnan(row["Neighbor_px"])


def test_neighbours_are_of_the_same_plane_in_2d_and_any_in_3d() -> None:
    labels = np.zeros((1, 2, 20, 20), np.int32)
    labels[0, 0, 2, 2], labels[0, 0, 2, 12], labels[0, 1, 2, 3] = 1, 2, 3
    assert table_of(labels)["Neighbor_px"].tolist()[:2] == [10, 10]
    assert math.isnan(table_of(labels)["Neighbor_px"][2])
    far = table_of(labels, dims=3, pixel_size_um=(3.0, 1.0, 1.0))["Neighbor_um"]
    assert far.tolist() == pytest.approx([math.hypot(3, 1), math.hypot(9, 3), math.hypot(3, 1)])
