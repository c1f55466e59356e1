"""Data classes of a file set's content: images with channels and resolution levels, and plates."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from omero_pixclf.files.plates import Plate

__all__ = ["Channel", "FilesetContent", "PlaneReader", "ResolutionLevel", "Series"]

PlaneReader = Callable[[int, int, int, slice], NDArray[Any]]
"""``read(z, c, t, rows)`` returns these rows of a plane as ``(rows, x)``."""


@dataclass(frozen=True)
class Channel:
    """A channel as its file describes it; None for missing values."""

    name: str | None = None
    color: tuple[int, int, int, int] | None = None  # red, green, blue, alpha
    emission_nm: float | None = None
    excitation_nm: float | None = None


@dataclass(frozen=True)
class ResolutionLevel:
    """One resolution of an image."""

    width: int
    height: int
    read: PlaneReader


@dataclass(frozen=True)
class Series:
    """One image.

    Attributes
    ----------
    name
        The image's name in the file; empty if it has none.
    z, c, t
        Numbers of planes.
    dtype
        Type of the samples, native byte order.
    levels
        Its resolutions, the largest first.
    pixel_size
        Known pixel sizes and their units, such as ``{"x": (0.1, "µm")}``.
    acquired_ms
        Acquisition date in milliseconds since 1970.
    """

    name: str
    z: int
    c: int
    t: int
    dtype: np.dtype[Any]
    levels: tuple[ResolutionLevel, ...]
    channels: tuple[Channel, ...]
    pixel_size: Mapping[str, tuple[float, str]] = field(default_factory=dict)
    description: str = ""
    acquired_ms: int | None = None


@dataclass(frozen=True)
class FilesetContent:
    """The content of a file set.

    Attributes
    ----------
    format
        OMERO's name of the format, such as ``OMETiff``.
    series
        The images.
    plates
        The plates of some or all of the images.
    remarks
        Parts that are listed but missing, which is no error, such as wells without images.
    """

    format: str
    series: tuple[Series, ...]
    plates: tuple[Plate, ...] = ()
    remarks: tuple[str, ...] = ()
