"""Statistics of intensities over each object: moments, histograms, quantiles, as vigra's accumulators compute them.

scikit-image has means, extremes and standard deviations of its own (``regionprops``), with the same numbers; skewness,
kurtosis, histograms over the range of all objects and quantiles read from these histograms are ilastik's.
"""

from __future__ import annotations

from collections.abc import Collection

import numpy as np

from omero_pixclf.image import Float64Array
from omero_pixclf.objects.features.object_pixels import ObjectPixels

__all__ = ["BINS", "compute_histograms", "compute_intensity_features", "compute_quantiles"]

BINS = 64
_QUANTILES = (0.1, 0.25, 0.5, 0.75, 0.9)
_LARGEST = 2.0**31  # above, and for NaN, processors convert to the smallest integer


def compute_intensity_features(pixels: ObjectPixels, names: Collection[str]) -> dict[str, Float64Array]:
    """Compute features of each channel, ``(n, c)`` each (``Covariance`` ``(n, c * c)``).

    Parameters
    ----------
    pixels
        The pixels of n objects.
    names
        Which of ``Sum``, ``Mean``, ``Minimum``, ``Maximum``, ``Variance`` (M2 / n), ``Skewness`` (√n M3 / M2^1.5),
        ``Kurtosis`` (n M4 / M2² - 3), ``Covariance`` and ``Central<PowerSum<k>>`` (Mk: sums of powers of differences
        from the mean); others are left out.
    """
    n = pixels.count[:, None]
    total = pixels.sum(pixels.values)
    found = {"Sum": total, "Mean": total / n}
    if "Minimum" in names:
        found["Minimum"] = pixels.minimum(pixels.values)
    if "Maximum" in names:
        found["Maximum"] = pixels.maximum(pixels.values)
    powers = {2: ("Variance", "Covariance"), 3: ("Skewness",), 4: ("Kurtosis",)}
    wanted = [k for k, using in powers.items() if {f"Central<PowerSum<{k}>>", *using} & set(names)]
    if wanted:
        found |= _compute_central_moments(pixels, total / n, wanted, covariance="Covariance" in names)
    return {name: values for name, values in found.items() if name in names}


def _compute_central_moments(
    pixels: ObjectPixels, mean: Float64Array, powers: list[int], *, covariance: bool
) -> dict[str, Float64Array]:
    n = pixels.count[:, None]
    found = {}
    with np.errstate(all="ignore"):
        away = pixels.values - pixels.spread(mean)
        square = away * away
        m2 = found["Central<PowerSum<2>>"] = pixels.sum(square)
        found["Variance"] = m2 / n
        if 3 in powers:
            m3 = found["Central<PowerSum<3>>"] = pixels.sum(square * away)
            found["Skewness"] = np.sqrt(n) * m3 / m2**1.5
        if 4 in powers:
            m4 = found["Central<PowerSum<4>>"] = pixels.sum(square * square)
            found["Kurtosis"] = n * m4 / (m2 * m2) - 3.0
        if covariance:
            rows = [pixels.sum(away * channel) / n for channel in away]
            found["Covariance"] = np.stack(rows, axis=1).reshape(len(n), -1)
    return found


def compute_histograms(pixels: ObjectPixels, low: Float64Array, high: Float64Array) -> Float64Array:
    """Count the pixels of the first channel in 64 bins from ``low`` to ``high``.

    Parameters
    ----------
    pixels
        The pixels of n objects.
    low, high
        (n,) the range of each object's histogram. A pixel with the value ``high`` counts in the last bin.

    Returns
    -------
    float64 ``(n, 66)``: what lies below the range (NaN, too), the bins, and what rounding puts above.
    """
    rows = pixels.row
    scale, offset = _map_range(low, high)
    with np.errstate(all="ignore"):
        mapped = scale[rows] * (pixels.values[0] - offset[rows])
        mapped = np.where(np.abs(mapped) < _LARGEST, mapped, -_LARGEST)
    index = np.trunc(np.where(mapped == BINS, BINS - 1, mapped)).astype(np.int64)
    index = np.clip(index, -1, BINS) + 1
    counts = np.bincount(rows * (BINS + 2) + index, minlength=len(low) * (BINS + 2))
    return counts.reshape(len(low), BINS + 2).astype(np.float64)


def compute_quantiles(
    histograms: Float64Array, low: Float64Array, high: Float64Array, minimum: Float64Array, maximum: Float64Array
) -> Float64Array:
    """Read the quantiles 0, 10, 25, 50, 75, 90 and 100 % from histograms, linear within a bin.

    The first bin begins at the object's minimum and the last one ends at its maximum.

    Parameters
    ----------
    histograms
        ``(n, 66)`` of `compute_histograms` for ``low`` and ``high``.
    low, high
        (n,) the histograms' ranges.
    minimum, maximum
        (n,) of each object.

    Returns
    -------
    float64 ``(n, 7)``.
    """
    scale, offset = _map_range(low, high)
    rows = np.arange(len(low))
    after = np.cumsum(histograms, axis=1)
    first = np.argmax(histograms > 0, axis=1)
    last = BINS + 1 - np.argmax(histograms[:, ::-1] > 0, axis=1)
    result = np.empty((len(low), len(_QUANTILES) + 2))
    result[:, 0], result[:, -1] = minimum, maximum
    with np.errstate(all="ignore"):
        least, most = scale * (minimum - offset), scale * (maximum - offset)
        for column, quantile in enumerate(_QUANTILES, start=1):
            wanted = after[:, -1] * quantile
            place = np.argmax(after >= wanted[:, None], axis=1)
            begin, end = after[rows, place] - histograms[rows, place], after[rows, place]
            own = (place - 1).astype(np.float64)
            left = np.where((place == first) & ~(least <= own), least, own)
            right = np.where(place == last, most, own + 1)
            part = (wanted - begin) / (end - begin) * (right - left)
            result[:, column] = 1.0 / scale * (part + left) + offset
    return result


def _map_range(low: Float64Array, high: Float64Array) -> tuple[Float64Array, Float64Array]:
    """The factor and offset that map a range to 0 to 64; a range of one value becomes the smallest possible."""
    with np.errstate(all="ignore"):
        high = np.where(low == high, high + BINS * np.finfo(np.float64).eps, high)
        return BINS / (high - low), low
