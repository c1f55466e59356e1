"""One image in a few numbers: how many objects, how much of it they cover, how sure the classifier was, how sharp."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from omero_pixclf.objects.intensity import uncertainty
from omero_pixclf.objects.seams import Readable

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


def summarise(image: Readable, probabilities: Readable | None, labels: Mapping[str, Readable]) -> ImageSummary:
    """Sum up one image, plane by plane; arrays of numpy, zarr or h5py.

    Parameters
    ----------
    image
        ``(t, z, y, x, c)``.
    probabilities
        ``(t, z, y, x, k)``, or None.
    labels
        Per class name its label image ``(t, z, y, x)``.
    """
    counts = {name: [_counted(found, t) for t in range(found.shape[0])] for name, found in labels.items()}
    objects = {name: sum(int(np.count_nonzero(c)) for c in found) for name, found in counts.items()}
    covered = {name: sum(int(c.sum()) for c in found) for name, found in counts.items()}
    return ImageSummary(
        objects=objects,
        area_fraction={name: pixels / int(np.prod(labels[name].shape)) for name, pixels in covered.items()},
        uncertainty=float("nan") if probabilities is None else _mean_uncertainty(probabilities),
        focus=tuple(focus_score(image, c) for c in range(image.shape[4])),
    )


def _counted(labels: Readable, t: int) -> NDArray[np.int64]:
    """Pixels of each label at one t, the background's left out."""
    total = np.zeros(1, dtype=np.int64)
    for z in range(labels.shape[1]):
        count = np.bincount(np.asarray(labels[t, z]).ravel(), minlength=len(total))
        count[: len(total)] += total
        total = count
    return total[1:]


def focus_score(image: Readable, channel: int) -> float:
    """Sharpness of a channel of ``(t, z, y, x, c)``: higher is sharper, comparable between images of one assay only.

    For each plane the variance of its Laplacian (4 neighbours, inner pixels) divided by the square of its mean, so
    that exposure does not count; of a stack the sharpest plane, of a time series the mean. NaN below 3 by 3 pixels, 0
    for a plane that is all zero. The "normalised variance of the Laplacian" is that of Pech-Pacheco et al. 2000,
    doi:10.1109/ICPR.2000.903548, made independent of brightness.
    """
    times, planes, height, width = image.shape[:4]
    if min(height, width) < 3:
        return float("nan")
    sharpest = [max(_sharpness(np.asarray(image[t, z, :, :, channel])) for z in range(planes)) for t in range(times)]
    return float(np.mean(sharpest))


def _sharpness(plane: NDArray[Any]) -> float:
    values = plane.astype(np.float64)
    mean = values.mean()
    inner = values[1:-1, 1:-1]
    laplacian = values[:-2, 1:-1] + values[2:, 1:-1] + values[1:-1, :-2] + values[1:-1, 2:] - 4 * inner
    return float(laplacian.var() / mean**2) if mean else 0.0


def _mean_uncertainty(probabilities: Readable) -> float:
    times, planes, height, width = probabilities.shape[:4]
    places = [(t, z) for t in range(times) for z in range(planes)]
    total = sum(float(uncertainty(np.asarray(probabilities[place])).sum(dtype=np.float64)) for place in places)
    return total / (len(places) * height * width)
