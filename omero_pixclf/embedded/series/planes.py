"""Planes of arrays with axes in any order, and sample types that OMERO knows."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from omero_pixclf.embedded.series.content import Channel, PlaneReader, ResolutionLevel
from omero_pixclf.errors import ImageError

__all__ = ["RGB", "check_sample_type", "make_level", "plane_counts", "rgb_channels"]

_TYPES = ("int8", "uint8", "int16", "uint16", "int32", "uint32", "float32", "float64")
RGB = ((255, 0, 0, 255), (0, 255, 0, 255), (0, 0, 255, 255))


def check_sample_type(path: Path, dtype: Any) -> np.dtype[Any]:
    """Return the sample type in native byte order, bits as bytes; ImageError for types unknown to OMERO."""
    found: np.dtype[Any] = np.dtype(dtype).newbyteorder("=")
    if found.kind == "b":
        return np.dtype(np.uint8)
    if found.name not in _TYPES:
        raise ImageError(f"{path.name}: samples of type {found}; OMERO has {', '.join(_TYPES)}")
    return found


def plane_counts(keys: str, shape: tuple[int, ...]) -> tuple[int, int, int]:
    """Return the numbers of planes along z, c and t of an array with these axes."""
    sizes = dict(zip(keys, shape, strict=True))
    return sizes.get("z", 1), sizes.get("c", 1), sizes.get("t", 1)


def make_level(keys: str, shape: tuple[int, ...], read: Callable[[tuple[slice, ...]], NDArray[Any]]) -> ResolutionLevel:
    """Return a resolution level of an array, given a function that reads parts of it; axes in any order."""
    sizes = dict(zip(keys, shape, strict=True))
    return ResolutionLevel(sizes["x"], sizes["y"], _rows(keys, sizes["x"], read))


def _rows(keys: str, width: int, read: Callable[[tuple[slice, ...]], NDArray[Any]]) -> PlaneReader:
    turned = keys.index("x") < keys.index("y")

    def rows(z: int, c: int, t: int, wanted: slice) -> NDArray[Any]:
        at = {"z": slice(z, z + 1), "c": slice(c, c + 1), "t": slice(t, t + 1), "y": wanted, "x": slice(0, width)}
        part = read(tuple(at[key] for key in keys))
        height = wanted.stop - wanted.start
        return part.reshape(width, height).T if turned else part.reshape(height, width)

    return rows


def rgb_channels(count: int) -> tuple[Channel, ...]:
    """Return the channels of a colour picture (3 or 4 samples), else channels without metadata."""
    colors = RGB[:count] if count in (3, 4) else ()
    return tuple(Channel(color=color) for color in colors) + (Channel(),) * (count - len(colors))
