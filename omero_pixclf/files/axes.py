"""Axes of stored arrays: ilastik's axis tags, its defaults, and conversion to ``tzyxc`` and back."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from omero_pixclf.errors import UsageError
from omero_pixclf.image import AXES, Region, Shape5
from omero_pixclf.text import parse_json

__all__ = [
    "Axes",
    "Axis",
    "add_channel_axis",
    "axes_from_keys",
    "axis_keys",
    "format_axistags",
    "from_tzyxc",
    "guess_keys",
    "parse_axistags",
    "region_slices",
    "to_contiguous_tzyxc",
    "to_tzyxc",
    "tzyxc_shape",
]

_TYPE_FLAGS = {"c": 1, "x": 2, "y": 2, "z": 2, "t": 8}  # vigra's bits for channels, space, time
_GUESSES = {2: "yx", 3: "zyx", 4: "zyxc", 5: "tzyxc"}


@dataclass(frozen=True)
class Axis:
    """One axis of an array.

    Attributes
    ----------
    key
        One of ``t z y x c``.
    resolution
        Size of a pixel along the axis in ``unit``; 0 if unknown.
    unit
        As written in the file: ``"micrometer"``, ``"µm"``, ``"s"``, ``""``.
    description
        Free text of ilastik.
    """

    key: str
    resolution: float = 0.0
    unit: str = ""
    description: str = ""


Axes = tuple[Axis, ...]


def axes_from_keys(keys: str) -> Axes:
    """Return axes without resolution for a string of keys such as ``"zyxc"``.

    Raises
    ------
    UsageError
        If a key is unknown or occurs twice.
    """
    if set(keys) - set(AXES) or len(set(keys)) != len(keys):
        raise UsageError(f"axes {keys!r}: expected letters of {AXES!r}, each at most once")
    return tuple(Axis(k) for k in keys)


def axis_keys(axes: Axes) -> str:
    """Return the keys of axes, in order."""
    return "".join(a.key for a in axes)


def guess_keys(shape: Sequence[int]) -> str:
    """Return the axes that ilastik assumes for an array without axis names.

    Raises
    ------
    UsageError
        If the array does not have 2 to 5 dimensions.

    Examples
    --------
    >>> guess_keys((10, 20)), guess_keys((10, 20, 30)), guess_keys((10, 20, 4)), guess_keys((5, 10, 20, 3))
    ('yx', 'zyx', 'yxc', 'zyxc')
    """
    if len(shape) == 3 and shape[2] <= 4:
        return "yxc"
    if len(shape) not in _GUESSES:
        raise UsageError(f"an array of shape {tuple(shape)} has {len(shape)} dimensions, expected 2 to 5")
    return _GUESSES[len(shape)]


def parse_axistags(text: str, units: str | None = None) -> Axes | None:
    """Parse vigra's JSON (attribute ``axistags``) and ilastik's ``axis_units``.

    Returns None if an axis is none of ``t z y x c`` or occurs twice.

    Raises
    ------
    ValueError
        If the text is not JSON of this kind.
    """
    try:
        entries = parse_json(text)["axes"]
        named: dict[str, Any] = (parse_json(units) if units else None) or {}
        axes = tuple(
            Axis(e["key"], float(e.get("resolution", 0)), named.get(e["key"]) or "", e.get("description", ""))
            for e in entries
        )
    except (TypeError, KeyError, AttributeError) as error:
        raise ValueError(f"not axis tags: {text[:80]!r}") from error
    keys = axis_keys(axes)
    return None if set(keys) - set(AXES) or len(set(keys)) != len(keys) else axes


def format_axistags(axes: Axes) -> str:
    """Format axes as JSON exactly as vigra does, byte for byte.

    Examples
    --------
    >>> print(format_axistags(axes_from_keys("y")).replace(chr(10), "").replace(" ", ""))
    {"axes":[{"key":"y","typeFlags":2,"resolution":0,"description":""}]}
    """
    entries = [
        {
            "key": a.key,
            "typeFlags": _TYPE_FLAGS[a.key],
            "resolution": _round_as_stream(a.resolution),
            "description": a.description,
        }
        for a in axes
    ]
    return json.dumps({"axes": entries}, indent=2)


def _round_as_stream(number: float) -> float | int:
    """Round a number to the six digits that a C++ stream prints."""
    short = float(f"{number:.6g}")
    return int(short) if short.is_integer() else short


def add_channel_axis(axes: Axes) -> Axes:
    """Return the axes of a result: those of the image, with ``c`` appended if the image has no channel axis."""
    return axes if "c" in axis_keys(axes) else (*axes, Axis("c"))


def tzyxc_shape(shape: Sequence[int], keys: str) -> Shape5:
    """Return the ``(t, z, y, x, c)`` shape of an array with these axes; missing axes have size 1."""
    sizes = dict(zip(keys, shape, strict=True))
    t, z, y, x, c = (sizes.get(k, 1) for k in AXES)
    return (t, z, y, x, c)


def region_slices(region: Region, keys: str) -> tuple[slice, ...]:
    """Return the slices of a region along the axes of an array."""
    by_key = dict(zip(AXES, region.slices, strict=True))
    return tuple(by_key[k] for k in keys)


def to_tzyxc(array: NDArray[Any], keys: str) -> NDArray[Any]:
    """Return a ``(t, z, y, x, c)`` view of an array with these axes."""
    present = [k for k in AXES if k in keys]
    ordered: NDArray[Any] = array.transpose([keys.index(k) for k in present])
    return ordered[tuple(slice(None) if k in keys else np.newaxis for k in AXES)]


def to_contiguous_tzyxc(array: NDArray[Any], keys: str, dtype: np.dtype[Any]) -> NDArray[Any]:
    """Return an array with these axes as a C-contiguous ``(t, z, y, x, c)`` array of type ``dtype``.

    Channels are copied one by one, so that memory is read in order.
    """
    part = to_tzyxc(array, keys)
    if part.flags.c_contiguous:
        return part.astype(dtype, copy=False)
    solid = np.empty(part.shape, dtype)
    for channel in range(part.shape[4]):
        solid[..., channel] = part[..., channel]
    return solid


def from_tzyxc(array: NDArray[Any], keys: str) -> NDArray[Any]:
    """Return a view of a ``(t, z, y, x, c)`` array with these axes; other axes must have size 1.

    Raises
    ------
    ValueError
        If an axis that is left out has more than one entry.
    """
    lost = {k: n for k, n in zip(AXES, array.shape, strict=True) if k not in keys and n != 1}
    if lost:
        raise ValueError(f"axes {lost} are not in {keys!r}")
    kept: NDArray[Any] = np.squeeze(array, axis=tuple(i for i, k in enumerate(AXES) if k not in keys))
    present = [k for k in AXES if k in keys]
    ordered: NDArray[Any] = kept.transpose([present.index(k) for k in keys])
    return ordered
