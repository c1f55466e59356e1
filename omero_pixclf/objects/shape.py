"""Shape columns of objects: border, axes, roundness, solidity, orientation, distance to the nearest object.

Lengths are in pixels of x. If the pixel size is known, pixels of the other axes are converted by their length relative
to x; otherwise all axes count the same.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import numpy as np
from scipy.spatial import KDTree

from omero_pixclf.image import Array, Float64Array
from omero_pixclf.objects.convex_hull import convex_sizes
from omero_pixclf.objects.moments import Geometry
from omero_pixclf.objects.perimeter import Spacing, perimeter_or_surface
from omero_pixclf.objects.run_length import Spans
from omero_pixclf.table import Column

__all__ = ["CORNER", "nearest_distances", "pixel_spacing", "shape_columns"]

CORNER = (0.0, 0.5, 0.5)
"""Offset from a pixel's indices (z, y, x) to its coordinates in tables."""

_NO_ANGLE = -999.0  # fill value of angles
_ROUND = 1e-9  # relative difference of second moments that is only rounding


def shape_columns(
    frame: Array, spans: Spans, geometry: Geometry, *, dims: Literal[2, 3], size: tuple[float, ...]
) -> Iterator[Column]:
    """Yield the shape columns of the objects of one ``(z, y, x)`` label image.

    ``size`` is micrometres per pixel along (z, y, x), NaN where unknown.
    """
    spacing, scale = pixel_spacing(size, dims)
    border = perimeter_or_surface(frame, dims=dims, spacing=spacing)[geometry.label]
    none = np.full(len(geometry), np.nan)
    perimeter, surface = (border, none) if dims == 2 else (none, border)
    yield Column("Perimeter_px", "double", perimeter, "px", "perimeter (2D; Crofton's formula, 4 directions)")
    yield Column("Perimeter_um", "double", perimeter * scale, "µm", "perimeter (2D)")
    yield Column("Surface_px", "double", surface, "px", "surface (3D; Crofton's formula, 13 directions)")
    yield Column("Surface_um2", "double", surface * scale**2, "µm²", "surface (3D)")
    axes = _axis_lengths(geometry, dims, spacing)
    for name, length in zip(("major", "middle", "minor"), axes.T, strict=True):
        text = f"{name} axis of the ellipse or ellipsoid with the object's second moments"
        yield Column(f"Axis_{name}_px", "double", length, "px", text)
        yield Column(f"Axis_{name}_um", "double", length * scale, "µm", text)
    eccentricity = np.sqrt(np.maximum(1 - (axes[:, 2] / axes[:, 0]) ** 2, 0))
    yield Column("Eccentricity", "double", eccentricity, "", "0 round, towards 1 drawn out; minor against major axis")
    solidity = geometry.size / convex_sizes(spans, geometry, dims=dims)
    yield Column("Solidity", "double", solidity, "", "part of the pixels in its convex hull that the object has")
    turn = _orientation(geometry, spacing)
    text = "major axis in the xy plane, from x counter-clockwise, -90 to 90"
    yield Column("Orientation_deg", "double", turn, "°", text, _NO_ANGLE)
    distance = nearest_distances(geometry.centroid + CORNER, dims=dims, spacing=spacing)
    yield Column("Neighbor_px", "double", distance, "px", "to the nearest centroid of its time point (2D: and plane)")
    yield Column("Neighbor_um", "double", distance * scale, "µm", "to the nearest centroid")


def pixel_spacing(size: tuple[float, ...], dims: Literal[2, 3]) -> tuple[Spacing, float]:
    """Return the distances of pixels along (z, y, x) in pixels of x, and micrometres per pixel of x (NaN if unknown).

    >>> pixel_spacing((2.0, 0.5, 0.5), 3)
    ((4.0, 1.0, 1.0), 0.5)
    """
    if np.isnan(size[3 - dims :]).any():
        return (1.0, 1.0, 1.0), float("nan")
    return (size[0] / size[2] if dims == 3 else 1.0, size[1] / size[2], 1.0), size[2]


def _axis_lengths(geometry: Geometry, dims: Literal[2, 3], spacing: Spacing) -> Float64Array:
    """Return full axis lengths (n, 3): major, middle (NaN in 2D), minor; 4√λ of an ellipse, 2√(5λ) of an ellipsoid."""
    scale = np.array(spacing)
    covariance = geometry.covariance * scale[:, None] * scale
    if dims == 3:
        return np.asarray(2 * np.sqrt(5 * np.maximum(np.linalg.eigvalsh(covariance)[:, ::-1], 0)))
    minor, major = np.sqrt(np.maximum(np.linalg.eigvalsh(covariance[:, 1:, 1:]), 0)).T * 4
    return np.stack((major, np.full_like(major, np.nan), minor), axis=1)


def _orientation(geometry: Geometry, spacing: Spacing) -> Float64Array:
    """Return the orientation in degrees from x, counter-clockwise (y points down); NaN if no direction is longest."""
    yy, yx, xx = (geometry.covariance[:, i, j] * spacing[i] * spacing[j] for i, j in ((1, 1), (1, 2), (2, 2)))
    degrees = np.degrees(0.5 * np.arctan2(-2 * yx, xx - yy))
    return np.where(np.hypot(xx - yy, 2 * yx) > _ROUND * (xx + yy), degrees, np.nan)


def nearest_distances(centroids: Float64Array, *, dims: Literal[2, 3], spacing: Spacing) -> Float64Array:
    """Return the distance of each centroid (z, y, x) to the nearest other, in 2D of the same plane; NaN without one."""
    if len(centroids) < 2:
        return np.full(len(centroids), np.nan)
    places = centroids * np.array(spacing)
    apart = float(np.ptp(places[:, 1:], axis=0).sum()) + 1
    if dims == 2:
        places[:, 0] *= apart  # centroids of other planes are further away than all of the same plane
    distance = KDTree(places).query(places, k=2)[0][:, 1]
    return np.where(distance < apart, distance, np.nan) if dims == 2 else np.asarray(distance)
