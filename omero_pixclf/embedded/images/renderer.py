"""Rendering of planes to pictures: windows, curves, colours, greyscale, and projections along z.

Quantisation follows OMERO's rendering engine: samples are clipped to the channel's window and mapped to the
codomain interval (0 to 255) by the curve of the channel's family; the channels' colours are then added.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

__all__ = ["PROJECTIONS", "ChannelRendering", "encode_jpeg", "pack_argb", "quantise", "render_rgb"]


@dataclass(frozen=True)
class ChannelRendering:
    """Rendering settings of one channel."""

    start: float
    end: float
    family: str = "linear"
    coefficient: float = 1.0
    colour: tuple[int, int, int] = (255, 255, 255)
    alpha: int = 255
    inverted: bool = False


_MANY = 1 << 16  # number of samples from which a lookup table is faster

_Curve = Callable[[NDArray[np.float64], float], NDArray[np.float64]]
_CURVES: dict[str, _Curve] = {
    "linear": lambda x, k: x,
    "polynomial": lambda x, k: np.sign(x) * np.abs(x) ** k,
    "logarithmic": lambda x, k: np.log(np.maximum(x, 1.0)),
    "exponential": lambda x, k: np.exp(x**k),
}
_Reduce = Callable[[Iterable[NDArray[Any]]], NDArray[Any]]


def _maximum(planes: Iterable[NDArray[Any]]) -> NDArray[Any]:
    found: NDArray[Any] | None = None
    for plane in planes:
        found = plane.copy() if found is None else np.maximum(found, plane, out=found)
    if found is None:
        raise ValueError("no plane to project")
    return found


def _total(planes: Iterable[NDArray[Any]]) -> tuple[NDArray[np.float64], int]:
    found, count = None, 0
    for plane in planes:
        found = plane.astype(np.float64) if found is None else found + plane
        count += 1
    if found is None:
        raise ValueError("no plane to project")
    return found, count


def _mean(planes: Iterable[NDArray[Any]]) -> NDArray[Any]:
    total, count = _total(planes)
    return np.asarray(total / count)


PROJECTIONS: dict[str, _Reduce] = {
    "MAXIMUMINTENSITY": _maximum,
    "MEANINTENSITY": _mean,
    "SUMINTENSITY": lambda planes: _total(planes)[0],
}


def quantise(samples: NDArray[Any], look: ChannelRendering, interval: tuple[int, int] = (0, 255)) -> NDArray[np.uint8]:
    """Convert the samples of one channel to brightness (0 to 255): window, curve, codomain interval.

    >>> quantise(np.array([0, 50, 100, 200]), ChannelRendering(0, 100)).tolist()
    [0, 128, 255, 255]
    """
    low, high = look.start, max(look.end, look.start)
    curve = _CURVES[look.family]
    ends = curve(np.array([low, high], np.float64), look.coefficient)
    span = ends[1] - ends[0]
    values = curve(np.clip(samples.astype(np.float64), low, high), look.coefficient)
    share = (values - ends[0]) / span if span > 0 else (samples > low).astype(np.float64)
    first, last = interval
    levels = np.floor(first + share * (last - first) + 0.5)
    levels = np.clip(255 - levels if look.inverted else levels, 0, 255)
    return np.asarray(levels, np.uint8)


def _quantise_by_table(plane: NDArray[Any], look: ChannelRendering, interval: tuple[int, int]) -> NDArray[np.uint8]:
    """Quantise with a lookup table if the samples are many small integers."""
    if plane.dtype.kind not in "iu" or plane.dtype.itemsize > 2 or plane.size < _MANY:
        return quantise(plane, look, interval)
    info = np.iinfo(plane.dtype)
    table: NDArray[np.uint8] = quantise(np.arange(info.min, info.max + 1), look, interval)
    found: NDArray[np.uint8] = table.take(plane.astype(np.int32) - info.min)
    return found


def render_rgb(
    planes: Sequence[NDArray[Any]],
    looks: Sequence[ChannelRendering],
    *,
    grey: bool = False,
    interval: tuple[int, int] = (0, 255),
) -> NDArray[np.uint8]:
    """Return the picture (y, x, 3), uint8, of the active channels' planes.

    ``grey`` renders the first channel only; else the channels' colours are added and clipped at 255.
    """
    if not planes:
        raise ValueError("no active channel")
    if grey:
        level = _quantise_by_table(planes[0], looks[0], interval)
        return np.repeat(level[:, :, None], 3, axis=2)
    total = np.zeros((*planes[0].shape, 3), np.uint16)
    for plane, look in zip(planes, looks, strict=True):
        level = _quantise_by_table(plane, look, interval).astype(np.uint32)
        for band, part in enumerate(look.colour):
            if part:
                total[:, :, band] += (level * (part * look.alpha) // (255 * 255)).astype(np.uint16)
    return np.minimum(total, 255).astype(np.uint8)


def pack_argb(rgb: NDArray[np.uint8]) -> NDArray[np.int32]:
    """Return a picture as opaque ARGB integers (int32), row by row."""
    wide = rgb.astype(np.uint32)
    words = np.uint32(0xFF000000) | wide[..., 0] << 16 | wide[..., 1] << 8 | wide[..., 2]
    return np.asarray(words, np.uint32).view(np.int32).ravel()


def encode_jpeg(rgb: NDArray[np.uint8], *, size: tuple[int, int] | None = None, quality: float = 0.85) -> bytes:
    """Return a picture as JPEG, resized to ``size`` (width, height) if given; quality from 0 to 1."""
    image = Image.fromarray(rgb, "RGB")
    if size is not None and size != image.size:
        image = image.resize(size, Image.Resampling.BILINEAR)
    out = io.BytesIO()
    image.save(out, "JPEG", quality=max(1, min(100, round(quality * 100))))
    return out.getvalue()
