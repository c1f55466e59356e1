"""Several files of the same shape, stacked along an axis into one array."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from omero_pixclf.errors import ImageError
from omero_pixclf.files.axes import Axis, axis_keys
from omero_pixclf.files.stored_array import StoredArray

__all__ = ["stack_arrays"]


def stack_arrays(arrays: Sequence[StoredArray], along: str) -> StoredArray:
    """Stack arrays along an axis; a new axis becomes the first.

    Raises
    ------
    ImageError
        If the arrays differ in axes, type or extent along the other axes.
    """
    first = arrays[0]
    keys = axis_keys(first.axes)
    new = along not in keys
    axis = 0 if new else keys.index(along)
    for other in arrays[1:]:
        if _other_extents(other, axis, new) != _other_extents(first, axis, new):
            raise ImageError(
                f"{other.name}: {axis_keys(other.axes)} {other.shape} {other.dtype} cannot be stacked along {along} "
                f"with {first.name}: {keys} {first.shape} {first.dtype}"
            )
    ends = np.cumsum([1 if new else a.shape[axis] for a in arrays]).tolist()
    shape = (ends[-1], *first.shape) if new else (*first.shape[:axis], ends[-1], *first.shape[axis + 1 :])
    return replace(
        first,
        shape=shape,
        axes=(Axis(along), *first.axes) if new else first.axes,
        channels=() if along == "c" else first.channels,
        files=tuple(dict.fromkeys(file for array in arrays for file in array.files)),
        read=lambda slices: _read(arrays, ends, axis, new, slices),
    )


def _other_extents(array: StoredArray, axis: int, new: bool) -> tuple[Any, ...]:
    shape = array.shape if new else (*array.shape[:axis], *array.shape[axis + 1 :])
    return (axis_keys(array.axes), shape, array.dtype)


def _read(
    arrays: Sequence[StoredArray], ends: list[int], axis: int, new: bool, slices: tuple[slice, ...]
) -> NDArray[Any]:
    wanted = slices[axis]
    parts = []
    for array, begin, end in zip(arrays, [0, *ends], ends, strict=False):
        low, high = max(wanted.start, begin), min(wanted.stop, end)
        if low >= high:
            continue
        if new:
            parts.append(array.read(slices[1:])[np.newaxis])
        else:
            parts.append(array.read((*slices[:axis], slice(low - begin, high - begin), *slices[axis + 1 :])))
    return np.concatenate(parts, axis=axis) if len(parts) > 1 else parts[0]
