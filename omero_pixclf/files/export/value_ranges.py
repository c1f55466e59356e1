"""Conversion of exported values to another type or range of values, as ilastik does it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Range", "exported_range", "value_converter"]

Range = tuple[float, float]


def value_converter(
    dtype: np.dtype[Any], source: Range | None = None, target: Range | None = None
) -> Callable[[NDArray[Any]], NDArray[Any]]:
    """Return a function that converts values to the stored type.

    With both ranges, ``source`` is mapped linearly to ``target``, in the precision of the values, and floats are
    rounded to the nearest integer (halves to even). Without ranges, the type is changed by numpy's cast, which
    truncates decimals: probabilities as uint8 are 0 or 1. Both as in ilastik.

    Examples
    --------
    >>> value_converter(np.dtype("uint8"), (0.0, 1.0), (0, 255))(np.array([0.0, 0.5, 1.0], np.float32)).tolist()
    [0, 128, 255]
    >>> value_converter(np.dtype("uint8"))(np.array([0.4, 0.99, 1.0], np.float32)).tolist()
    [0, 0, 1]
    """
    if source is None or target is None:
        return lambda values: values.astype(dtype, copy=False)
    low, out = source[0], target[0]
    span = float(source[1]) - float(source[0])
    ratio = np.float32(0.0 if np.isclose(span, 0.0) else (float(target[1]) - float(target[0])) / span)

    def convert(values: NDArray[Any]) -> NDArray[Any]:
        mapped = out + (values - low) * ratio
        if values.dtype.kind == "f" and dtype.kind in "ui":
            mapped = np.rint(mapped)
        return np.asarray(mapped).astype(dtype)

    return convert


def exported_range(
    known: Range | None, dtype: np.dtype[Any], source: Range | None = None, target: Range | None = None
) -> tuple[Any, Any] | None:
    """Return the range of values after the conversion, in the stored type; None if the range before is unknown."""
    before = source if source is not None and target is not None else known
    if before is None:
        return None
    low, high = value_converter(dtype, source, target)(np.asarray(before))
    return (low, high)
