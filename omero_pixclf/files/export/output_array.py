"""The description of an array to be written (shape, type, axes, names), and the type of functions that write it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from omero_pixclf.files.axes import Axes, axis_keys

__all__ = ["LabelValue", "OutputArray", "WriteBlock"]

WriteBlock = Callable[[tuple[slice, ...], NDArray[Any]], None]
"""``write(slices, block)`` writes a block, in the target's axis order and dtype, to its place."""


@dataclass(frozen=True)
class LabelValue:
    """The meaning of a value of a label image, and its display colour."""

    value: int
    name: str
    color: tuple[int, int, int]


@dataclass(frozen=True)
class OutputArray:
    """An array that will be written.

    Attributes
    ----------
    shape, dtype
        In the order of ``axes``.
    axes
        With resolution and unit, if known.
    offset
        The start of the array in the image it was cut from, along each axis.
    drange
        The range of values, in the array's type; None if unknown.
    display_mode
        ilastik's hint for viewers, ``"grayscale"`` or ``"default"``.
    channels
        Names along ``c``; empty if there are none.
    colors
        Red, green and blue for each channel; empty if there are none.
    labels
        The meaning of the values; empty for objects, which are only numbered; None if it is not a label image.
    buffer_bytes
        The memory in bytes that a writer may use for pixels that it cannot write yet.
    """

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    axes: Axes
    offset: tuple[int, ...] = ()
    drange: tuple[Any, Any] | None = None
    display_mode: str = "grayscale"
    channels: tuple[str, ...] = ()
    colors: tuple[tuple[int, int, int], ...] = ()
    labels: tuple[LabelValue, ...] | None = None
    buffer_bytes: int = 512 << 20

    @property
    def keys(self) -> str:
        """The axes' keys, in order."""
        return axis_keys(self.axes)

    @property
    def nbytes(self) -> int:
        """Size of the uncompressed pixels."""
        return int(np.prod(self.shape, dtype=np.int64)) * self.dtype.itemsize

    @property
    def channel_count(self) -> int:
        """Extent along ``c``, 1 if there is no channel axis."""
        return dict(zip(self.keys, self.shape, strict=True)).get("c", 1)

    @property
    def start(self) -> tuple[int, ...]:
        """The offset; zero along all axes if none was given."""
        return self.offset or (0,) * len(self.shape)
