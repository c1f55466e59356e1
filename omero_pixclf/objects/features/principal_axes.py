"""Principal axes of objects' coordinates and of their channels: scatter matrices, eigenvectors, moments along them.

scikit-image's ``inertia_tensor_eigvals`` are the same eigenvalues in 2D. The signs of eigenvectors, however, are
arbitrary, and forests look at them: those of ilastik follow from a scatter matrix that is updated pixel by pixel in
raster order, and from the eigenvectors of EISPACK's tred2 and tql2. A matrix from sums over the whole object, or
LAPACK's eigenvectors, flip some of them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from omero_pixclf.image import Float64Array
from omero_pixclf.objects.features.object_pixels import ObjectPixels
from omero_pixclf.objects.kernels import kernels

__all__ = ["PrincipalAxes", "compute_channel_features", "compute_coordinate_features"]


@dataclass(frozen=True)
class PrincipalAxes:
    """The principal axes of d quantities over n objects.

    Attributes
    ----------
    sums
        ``(n, d)``: the eigenvalues of the scatter matrices, that is the sums of squares along the axes, largest first.
    axes
        ``(n, d, d)``: the axes, as columns.
    projections
        ``(d, p)``: each pixel's differences from the mean, along the axes.
    """

    sums: Float64Array
    axes: Float64Array
    projections: Float64Array


def compute_coordinate_features(pixels: ObjectPixels, weights: Float64Array | None = None) -> dict[str, Float64Array]:
    """Compute all features of the objects' coordinates, by ilastik's names without ``Weighted<…>``.

    Parameters
    ----------
    pixels
        The pixels of n objects, with d coordinates.
    weights
        (p,) the pixels' weights for the weighted features; None for the others.

    Returns
    -------
    dict
        ``(n, d)`` each; ``RegionAxes`` ``(n, d * d)``, row by row of the matrix whose columns are the axes;
        ``PowerSum<0>`` ``(n, 1)``: number of pixels, or sum of weights.
    """
    count = pixels.count if weights is None else pixels.sum(weights[None])[:, 0]
    total = pixels.sum(pixels.coordinates if weights is None else pixels.coordinates * weights)
    with np.errstate(all="ignore"):
        center = total / count[:, None]
        principal = _compute_axes(pixels, pixels.coordinates, center, weights)
        moments = _compute_moments(pixels, principal, count, weights)
        variance = principal.sums / count[:, None]
        return {
            "PowerSum<0>": count[:, None],
            "Coord<PowerSum<1>>": total,
            "Coord<DivideByCount<Principal<PowerSum<2>>>>": variance,
            **{f"Coord<Principal<{name}>>": values for name, values in moments.items()},
            "RegionCenter": center,
            "RegionRadii": np.sqrt(variance),
            "RegionAxes": principal.axes.reshape(len(count), -1),
        }


def compute_channel_features(pixels: ObjectPixels) -> dict[str, Float64Array]:
    """Compute the principal features of the objects' channels by ilastik's names, ``(n, c)`` each.

    ``PrincipalAxes`` is ``(n, c * c)``, row by row of the matrix whose columns are the axes.
    """
    count = pixels.count
    with np.errstate(all="ignore"):
        mean = pixels.sum(pixels.values) / count[:, None]
        principal = _compute_axes(pixels, pixels.values, mean, None)
        moments = _compute_moments(pixels, principal, count, None)
        return {
            **{f"Principal<{name}>": values for name, values in moments.items()},
            "Principal<Variance>": principal.sums / count[:, None],
            "Principal<Minimum>": pixels.minimum(principal.projections),
            "Principal<Maximum>": pixels.maximum(principal.projections),
            "PrincipalAxes": principal.axes.reshape(len(count), -1),
        }


def _compute_axes(
    pixels: ObjectPixels, rows: Float64Array, mean: Float64Array, weights: Float64Array | None
) -> PrincipalAxes:
    """The principal axes of the quantities ``rows`` ``(d, p)`` with means ``(n, d)``."""
    count, dimensions = mean.shape
    vectors, sums = np.zeros((count, dimensions, dimensions)), np.zeros((count, dimensions))
    weight = np.empty(0) if weights is None else np.ascontiguousarray(weights)
    kernels.scatter(np.ascontiguousarray(rows.T), weight, pixels.ends, vectors, dimensions)
    kernels.eigensystems(vectors, sums, dimensions)
    away = rows - pixels.spread(mean)
    projections = np.zeros_like(away)
    for k in range(dimensions):
        projections += away[k] * pixels.spread(vectors[:, k, :])
    return PrincipalAxes(sums, vectors, projections)


def _compute_moments(
    pixels: ObjectPixels, principal: PrincipalAxes, count: Float64Array, weights: Float64Array | None
) -> dict[str, Float64Array]:
    """Sums of powers, skewness and kurtosis along principal axes, ``(n, d)``; ``count`` pixels or weights."""
    square = principal.projections**2
    third, fourth = square * principal.projections, square * square
    if weights is not None:
        third, fourth = third * weights, fourth * weights
    second, third, fourth, n = principal.sums, pixels.sum(third), pixels.sum(fourth), count[:, None]
    return {
        "PowerSum<2>": second,
        "PowerSum<3>": third,
        "PowerSum<4>": fourth,
        "Skewness": np.sqrt(n) * third / second**1.5,
        "Kurtosis": n * fourth / (second * second) - 3.0,
    }
