"""Label images and images for the tests of features."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from omero_pixclf.objects.features.object_pixels import ObjectSpans, group_spans
from omero_pixclf.objects.run_length import encode_spans


def blobs(shape: tuple[int, int, int], *, seed: int = 0, share: float = 0.4) -> NDArray[np.int32]:
    """Connected objects of many forms, numbered in raster order, some of them at the border."""
    rng = np.random.default_rng(seed)
    smooth = ndimage.gaussian_filter(rng.random(shape), [0.8 if n > 1 else 0 for n in shape])
    labels, _ = ndimage.label(smooth > np.quantile(smooth, 1 - share))
    return labels.astype(np.int32)


def noise(shape: tuple[int, ...], *, channels: int = 1, seed: int = 1) -> NDArray[np.uint16]:
    """Intensities."""
    return np.random.default_rng(seed).integers(0, 4000, (*shape, channels)).astype(np.uint16)


def spans(labels: NDArray[Any]) -> ObjectSpans:
    """The objects of a label image."""
    return group_spans(encode_spans(labels))
