"""Images made of random numbers, to be uploaded."""

from __future__ import annotations

import numpy as np

from omero_pixclf.image import ArrayReader, ImageInfo


def reader(shape=(1, 1, 16, 20, 1), dtype="uint16", name="image", seed=0, channels=(), sizes=(None, None, None)):
    """An image of random numbers over the whole range of its type."""
    random = np.random.default_rng(seed)
    if np.dtype(dtype).kind == "f":
        pixels = random.normal(0, 1e3, shape).astype(dtype)
    else:
        limits = np.iinfo(dtype)
        pixels = random.integers(limits.min, limits.max, shape, dtype=dtype, endpoint=True)
    names = channels or tuple(f"c{i}" for i in range(shape[4]))
    return ArrayReader(ImageInfo("", name, shape, dtype, names, sizes), pixels)
