"""One image in a few numbers: how many objects, how much of it they cover, how sure the classifier was, how sharp."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from omero_pixclf.objects.intensity import uncertainty
from omero_pixclf.objects.label import Labels, sizes

__all__ = ["ImageSummary", "focus_score", "summarise"]


@dataclass(frozen=True)
class ImageSummary:
    """The numbers of one image.

    Attributes
    ----------
    objects
        Number of objects per class, over all time points.
    area_fraction
        Part of all pixels (voxels) that lie in objects, per class, 0 to 1.
    uncertainty
        Mean over all pixels of 1 - (highest - second highest probability); NaN without probabilities.
    focus
        `focus_score` of each channel.
    """

    objects: Mapping[str, int]
    area_fraction: Mapping[str, float]
    uncertainty: float
    focus: tuple[float, ...]


def summarise(image: NDArray[Any], probabilities: NDArray[Any] | None, labels: Mapping[str, Labels]) -> ImageSummary:
    """Sum up one image.

    Parameters
    ----------
    image
        ``(t, z, y, x, c)``.
    probabilities
        ``(t, z, y, x, k)``, or None.
    labels
        Per class name its label image ``(t, z, y, x)``.
    """
    counts = {name: sizes(found) for name, found in labels.items()}
    objects = {name: sum(int(np.count_nonzero(c[1:])) for c in found) for name, found in counts.items()}
    covered = {name: sum(int(c[1:].sum()) for c in found) for name, found in counts.items()}
    return ImageSummary(
        objects=objects,
        area_fraction={name: pixels / labels[name].size for name, pixels in covered.items()},
        uncertainty=float("nan") if probabilities is None else _mean_uncertainty(probabilities),
        focus=tuple(focus_score(image[..., c]) for c in range(image.shape[-1])),
    )


def focus_score(channel: NDArray[Any]) -> float:
    """Sharpness of a ``(t, z, y, x)`` channel: higher is sharper, comparable between images of one assay only.

    For each plane the variance of its Laplacian (4 neighbours, inner pixels) divided by the square of its mean, so
    that exposure does not count; of a stack the sharpest plane, of a time series the mean. NaN below 3 by 3 pixels, 0
    for a plane that is all zero. The "normalised variance of the Laplacian" is that of Pech-Pacheco et al. 2000,
    doi:10.1109/ICPR.2000.903548, made independent of brightness.
    """
    if min(channel.shape[2:]) < 3:
        return float("nan")
    return float(np.mean([max(_sharpness(plane) for plane in stack) for stack in channel]))


def _sharpness(plane: NDArray[Any]) -> float:
    values = plane.astype(np.float64)
    mean = values.mean()
    inner = values[1:-1, 1:-1]
    laplacian = values[:-2, 1:-1] + values[2:, 1:-1] + values[1:-1, :-2] + values[1:-1, 2:] - 4 * inner
    return float(laplacian.var() / mean**2) if mean else 0.0


def _mean_uncertainty(probabilities: NDArray[Any]) -> float:
    total = sum(float(uncertainty(plane).sum(dtype=np.float64)) for frame in probabilities for plane in frame)
    return total / int(np.prod(probabilities.shape[:4]))
