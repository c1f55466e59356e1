"""Samples of a plane definition (omero.romio.PlaneDef): slicing along XY, XZ or ZY, and regions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import omero
import omero.romio
from numpy.typing import NDArray

from omero_pixclf.embedded.images.pixel_buffer import PixelBuffer
from omero_pixclf.embedded.server.exceptions import api_usage_error, omero_error

__all__ = ["check_plane", "region_slices", "slice_reader"]


def slice_reader(buffer: PixelBuffer, plane: Any) -> Callable[[int], NDArray[Any]]:
    """Return a function that returns the samples of a channel for a plane definition."""
    if plane.slice == omero.romio.XY:
        check_plane(buffer, plane.z, plane.t)
        return lambda c: buffer.plane_array(plane.z, c, plane.t)
    check_plane(buffer, 0, plane.t)
    if plane.slice == omero.romio.XZ:
        buffer.layout.check(y=plane.y)
        return lambda c: buffer.xz_array(plane.y, c, plane.t)
    if plane.slice == omero.romio.ZY:
        buffer.layout.check(x=plane.x)
        return lambda c: buffer.zy_array(plane.x, c, plane.t)
    raise api_usage_error(f"slicing {plane.slice}: expected 0 (XY), 1 (ZY) or 2 (XZ)")


def check_plane(buffer: PixelBuffer, z: int, t: int) -> None:
    """Raise InternalException for a plane out of range."""
    layout = buffer.layout
    if not (0 <= z < layout.z and 0 <= t < layout.t):
        message = f"Z {z} or T {t} lies outside of {layout.z} planes and {layout.t} time points"
        raise omero_error(
            omero.InternalException, f"Wrapped Exception: (java.lang.IllegalArgumentException): {message}"
        )


def region_slices(region: Any) -> tuple[slice, slice]:
    """Return rows and columns of a region definition; everything for None."""
    if region is None or region.width <= 0 or region.height <= 0:
        return slice(None), slice(None)
    x, y = max(region.x, 0), max(region.y, 0)
    return slice(y, y + region.height), slice(x, x + region.width)
