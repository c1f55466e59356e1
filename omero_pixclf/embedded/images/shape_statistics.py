"""Pixels inside shapes, and their minimum, maximum, sum, mean and standard deviation.

As in OMERO, samples are at integer steps from the corner of a shape's bounding box, and a mask counts as its box.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import omero.api
from numpy.typing import NDArray
from omero.rtypes import unwrap

from omero_pixclf.embedded.images.resolutions import open_pixels
from omero_pixclf.embedded.server.exceptions import api_usage_error
from omero_pixclf.embedded.server.request_context import RequestContext

__all__ = ["measure_shapes", "shape_points"]

_Points = tuple[NDArray[np.int64], NDArray[np.int64]]
_EDGE = 1e-3  # a sample counts if a square of this size at it touches the shape
_ARC = np.linspace(0, 2 * math.pi, 256, endpoint=False)


def shape_points(shape: Any) -> _Points:
    """Return columns and rows of the pixels inside a shape, row by row."""
    kind = type(shape).__name__[:-1]
    corners = _outline(kind, shape)
    if corners is None:
        return np.empty(0, np.int64), np.empty(0, np.int64)
    corners = _transform(corners, shape.transform)
    if kind in ("Point", "Label"):
        return corners[:, 0].astype(np.int64), corners[:, 1].astype(np.int64)
    if kind in ("Line", "Polyline"):
        return _points_along(corners)
    return _points_inside(corners)


def _outline(kind: str, shape: Any) -> NDArray[np.float64] | None:
    """Return the corners of a shape as (n, 2) of x and y; None if values are missing."""
    if kind in ("Rectangle", "Mask"):
        x, y, w, h = _values(shape, "x", "y", "width", "height")
        return None if None in (x, y, w, h) else np.array([(x, y), (x + w, y), (x + w, y + h), (x, y + h)], float)
    if kind == "Ellipse":
        x, y, rx, ry = _values(shape, "x", "y", "radiusX", "radiusY")
        return None if None in (x, y, rx, ry) else np.stack([x + rx * np.cos(_ARC), y + ry * np.sin(_ARC)], axis=1)
    if kind == "Line":
        ends = _values(shape, "x1", "y1", "x2", "y2")
        return None if None in ends else np.array(ends, float).reshape(2, 2)
    if kind in ("Polygon", "Polyline"):
        return _parse_points(_values(shape, "points")[0])
    x, y = _values(shape, "x", "y")
    return None if x is None or y is None else np.array([(x, y)], float)


def _values(shape: Any, *names: str) -> list[Any]:
    return [unwrap(getattr(shape, name, None)) for name in names]


def _parse_points(text: str | None) -> NDArray[np.float64] | None:
    try:
        numbers = [float(part) for part in (text or "").replace(",", " ").split()]
    except ValueError as error:
        raise api_usage_error(f"points of a shape cannot be read: {error}") from error
    return np.array(numbers[: len(numbers) // 2 * 2], float).reshape(-1, 2) if len(numbers) > 1 else None


def _transform(corners: NDArray[np.float64], transform: Any) -> NDArray[np.float64]:
    if transform is None or not transform._loaded:
        return corners
    a = {name: unwrap(getattr(transform, name)) or 0.0 for name in ("a00", "a01", "a02", "a10", "a11", "a12")}
    x, y = corners[:, 0], corners[:, 1]
    return np.stack([a["a00"] * x + a["a01"] * y + a["a02"], a["a10"] * x + a["a11"] * y + a["a12"]], axis=1)


def _points_inside(corners: NDArray[np.float64]) -> _Points:
    low, high = corners.min(axis=0), corners.max(axis=0)
    xs = np.arange(low[0], high[0], 1.0)
    ys = np.arange(low[1], high[1], 1.0)
    x, y = np.meshgrid(xs, ys)
    hit = _is_inside(corners, x + _EDGE / 2, y + _EDGE / 2)
    return x[hit].astype(np.int64), y[hit].astype(np.int64)


def _is_inside(corners: NDArray[np.float64], x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Whether points are inside a closed ring, by the non-zero winding rule."""
    winding = np.zeros(x.shape, np.int64)
    for (x0, y0), (x1, y1) in zip(corners, np.roll(corners, -1, axis=0), strict=True):
        side = (x1 - x0) * (y - y0) - (x - x0) * (y1 - y0)
        winding += ((y0 <= y) & (y1 > y) & (side > 0)).astype(np.int64)
        winding -= ((y0 > y) & (y1 <= y) & (side < 0)).astype(np.int64)
    return np.asarray(winding != 0)


def _points_along(corners: NDArray[np.float64]) -> _Points:
    """Return the pixels on a polyline, each once."""
    found: dict[tuple[int, int], None] = {}
    for (x0, y0), (x1, y1) in pairwise(corners):
        steps = max(1, math.ceil(math.hypot(x1 - x0, y1 - y0)))
        for k in range(steps + 1):
            found[(int(x0 + (x1 - x0) * k / steps), int(y0 + (y1 - y0) * k / steps))] = None
    points = np.array(list(found), np.int64).reshape(-1, 2)
    return points[:, 0], points[:, 1]


# ---- statistics ----------------------------------------------------------------------------------------------
def measure_shapes(
    call: RequestContext,
    shapes: Sequence[int],
    *,
    plane: tuple[int, int] | None = None,
    channels: Sequence[int] | None = None,
) -> Any:
    """Return statistics of an image's pixels inside some of its shapes.

    Parameters
    ----------
    call
        The request.
    shapes
        Ids; all of one image.
    plane
        z and t for shapes without a plane; without it they are measured on all planes.
    channels
        Channels by index; None: all.

    Returns
    -------
    omero.api.RoiStats
        Per shape and channel.

    Raises
    ------
    omero.ApiUsageException
        No shapes, unknown shapes, shapes of several images, or planes or channels out of range.
    """
    loaded = _load_shapes(call, shapes, channels)
    pixels, image, roi = _find_pixels(call, shapes)
    buffer = open_pixels(call, pixels)
    try:
        layout = buffer.layout
        wanted = list(range(layout.c)) if channels is None else list(dict.fromkeys(channels))
        _check_bounds(layout, plane, wanted)
        per_shape = [_measure_shape(buffer, loaded[i], i, plane, wanted) for i in shapes]
    finally:
        buffer.close()
    return omero.api.RoiStats(roi, image, pixels, _empty_statistics(wanted), per_shape)


def _load_shapes(call: RequestContext, shapes: Sequence[int], channels: Sequence[int] | None) -> dict[int, Any]:
    if not shapes:
        raise api_usage_error("Provide a non empty list of shape ids.")
    if channels is not None and not channels:
        raise api_usage_error("Provide a non empty array of channels.")
    loaded = call.graph.load("Shape", shapes)
    if len(loaded) != len(set(shapes)):
        raise api_usage_error("Given shape id(s) invalid")
    call.graph.finish_loading()
    return loaded


def _empty_statistics(channels: Sequence[int]) -> Any:
    """Return empty statistics; OMERO never combines those of several shapes."""
    zeros = [0.0] * len(channels)
    return omero.api.ShapeStats(-1, list(channels), [0] * len(channels), zeros, zeros, zeros, zeros, zeros)


def _find_pixels(call: RequestContext, shapes: Sequence[int]) -> tuple[int, int, int]:
    marks = ", ".join("?" * len(shapes))
    sql = (
        "SELECT DISTINCT p.id, r.image FROM shape s JOIN roi r ON r.id = s.roi JOIN pixels p ON p.image = r.image "
        f"WHERE s.id IN ({marks}) ORDER BY p.id"
    )
    rows = call.tx.all(sql, tuple(shapes))
    if len({row[1] for row in rows}) != 1:
        raise api_usage_error("All shapes have to be from the same image" if rows else "Given shape id(s) invalid")
    roi = call.tx.one("SELECT roi FROM shape WHERE id = ?", (shapes[0],))[0]
    return rows[0][0], rows[0][1], roi


def _check_bounds(layout: Any, plane: tuple[int, int] | None, channels: Sequence[int]) -> None:
    if plane is not None and not (0 <= plane[0] < layout.z and 0 <= plane[1] < layout.t):
        raise api_usage_error("Fallback value(s) for unattached z/t shapes are out of bounds")
    if any(not 0 <= c < layout.c for c in channels):
        raise api_usage_error("Given channel(s) out of bounds.")


def _measure_shape(buffer: Any, shape: Any, ident: int, plane: tuple[int, int] | None, channels: list[int]) -> Any:
    layout = buffer.layout
    x, y = shape_points(shape)
    on = (x >= 0) & (y >= 0) & (x < layout.x) & (y < layout.y)
    x, y = x[on], y[on]
    zs = _planes(unwrap(shape.theZ), plane[0] if plane else None, layout.z)
    ts = _planes(unwrap(shape.theT), plane[1] if plane else None, layout.t)
    made = omero.api.ShapeStats(ident, channels, [], [], [], [], [], [])
    for c in channels:
        samples = np.concatenate([buffer.plane_array(z, c, t)[y, x].astype(np.float64) for z in zs for t in ts])
        _append(made, samples)
    return made


def _planes(own: int | None, fallback: int | None, size: int) -> list[int]:
    if own is not None:
        return [own]
    return [fallback] if fallback is not None else list(range(size))


def _append(stats: Any, samples: NDArray[np.float64]) -> None:
    count = int(samples.size)
    total = float(samples.sum())
    stats.pointsCount.append(count)
    stats.min.append(float(samples.min()) if count else float("inf"))
    stats.max.append(float(samples.max()) if count else float("-inf"))
    stats.sum.append(total)
    stats.mean.append(total / count if count else 0.0)
    spread = float((samples**2).sum()) - total * total / count if count > 1 else 0.0
    stats.stdDev.append(math.sqrt(spread / (count - 1)) if spread > 0 else 0.0)
