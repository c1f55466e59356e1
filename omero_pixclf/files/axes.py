"""Axes of stored arrays: ilastik's tags, its guesses where a file says nothing, and the way to ``tzyxc`` and back."""

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
        Size of a pixel along it in ``unit``; 0 where it is not known.
    unit
        As the file has it: ``"micrometer"``, ``"µm"``, ``"s"``, ``""``.
    description
        ilastik's free text.
    """

    key: str
    resolution: float = 0.0
    unit: str = ""
    description: str = ""


Axes = tuple[Axis, ...]


def axes_from_keys(keys: str) -> Axes:
    """Axes without resolution from a string of keys such as ``"zyxc"``.

    Raises
    ------
    UsageError
        Where a key is unknown or comes twice.
    """
    if set(keys) - set(AXES) or len(set(keys)) != len(keys):
        raise UsageError(f"axes {keys!r}: expected letters of {AXES!r}, each at most once")
    return tuple(Axis(k) for k in keys)


def axis_keys(axes: Axes) -> str:
    """The keys of axes, in order."""
    return "".join(a.key for a in axes)


def guess_keys(shape: Sequence[int]) -> str:
    """The axes that ilastik assumes for an array that does not name them.

    Raises
    ------
    UsageError
        Where the array has not 2 to 5 dimensions.

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
    """Axes from vigra's JSON (attribute ``axistags``) and ilastik's ``axis_units``; None if a key is not ours.

    Raises
    ------
    ValueError
        Where the text is no such JSON.
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
    """Axes as vigra writes them, byte for byte.

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
    """A number with the six digits that a C++ stream prints."""
    short = float(f"{number:.6g}")
    return int(short) if short.is_integer() else short


def add_channel_axis(axes: Axes) -> Axes:
    """The axes of a result: those of the image, with ``c`` appended where the image has none."""
    return axes if "c" in axis_keys(axes) else (*axes, Axis("c"))


def tzyxc_shape(shape: Sequence[int], keys: str) -> Shape5:
    """The extents in ``(t, z, y, x, c)`` of an array with these axes."""
    sizes = dict(zip(keys, shape, strict=True))
    t, z, y, x, c = (sizes.get(k, 1) for k in AXES)
    return (t, z, y, x, c)


def region_slices(region: Region, keys: str) -> tuple[slice, ...]:
    """The slices of a region along the axes that an array really has."""
    by_key = dict(zip(AXES, region.slices, strict=True))
    return tuple(by_key[k] for k in keys)


def to_tzyxc(array: NDArray[Any], keys: str) -> NDArray[Any]:
    """An array with these axes as a ``(t, z, y, x, c)`` view."""
    present = [k for k in AXES if k in keys]
    ordered: NDArray[Any] = array.transpose([keys.index(k) for k in present])
    return ordered[tuple(slice(None) if k in keys else np.newaxis for k in AXES)]


def to_contiguous_tzyxc(array: NDArray[Any], keys: str, dtype: np.dtype[Any]) -> NDArray[Any]:
    """An array with these axes as a C-contiguous ``(t, z, y, x, c)`` array of a type.

    Channels that lie apart are laid beside each other one by one: that goes through memory in order.
    """
    part = to_tzyxc(array, keys)
    if part.flags.c_contiguous:
        return part.astype(dtype, copy=False)
    solid = np.empty(part.shape, dtype)
    for channel in range(part.shape[4]):
        solid[..., channel] = part[..., channel]
    return solid


def from_tzyxc(array: NDArray[Any], keys: str) -> NDArray[Any]:
    """A ``(t, z, y, x, c)`` array as a view with these axes; the axes that fall away must have size 1.

    Raises
    ------
    ValueError
        Where an axis with more than one entry would fall away.
    """
    lost = {k: n for k, n in zip(AXES, array.shape, strict=True) if k not in keys and n != 1}
    if lost:
        raise ValueError(f"axes {lost} are not in {keys!r}")
    kept: NDArray[Any] = np.squeeze(array, axis=tuple(i for i, k in enumerate(AXES) if k not in keys))
    present = [k for k in AXES if k in keys]
    ordered: NDArray[Any] = kept.transpose([present.index(k) for k in keys])
    return ordered
