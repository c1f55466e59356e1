"""Outlines of labelled objects as polygons and masks."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from numpy.typing import NDArray

__all__ = ["MaskShape", "Outline", "PolygonShape"]


@dataclass(frozen=True)
class PolygonShape:
    """A ring in one plane: ``points`` (n, 2) float64 as (x, y), in OMERO's pixel-corner coordinates."""

    t: int
    z: int
    points: NDArray[Any] = field(repr=False)


@dataclass(frozen=True)
class MaskShape:
    """A bitmap in one plane: ``bits`` (height, width) bool, its upper left pixel at column ``x`` and row ``y``."""

    t: int
    z: int
    x: int
    y: int
    bits: NDArray[Any] = field(repr=False)


@dataclass(frozen=True)
class Outline:
    """One object: all its shapes, in all its planes."""

    label: int
    t: int
    shapes: tuple[PolygonShape | MaskShape, ...]
