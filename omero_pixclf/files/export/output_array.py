"""What is to be written: an array's facts, before its pixels, and the function that takes them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from omero_pixclf.files.axes import Axes, axis_keys

__all__ = ["LabelValue", "OutputArray", "WriteBlock"]

WriteBlock = Callable[[tuple[slice, ...], NDArray[Any]], None]
"""``write(slices, block)`` puts a block, in the target's order of axes and dtype, where it belongs."""


@dataclass(frozen=True)
class LabelValue:
    """What a value of a label image stands for, and the colour that it is shown in."""

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
        With resolution and unit, where known.
    offset
        Where the array begins in the image it was cut from, along each axis.
    drange
        The range of values, of the array's own type; None where not known.
    display_mode
        ilastik's hint for viewers, ``"grayscale"`` or ``"default"``.
    channels
        Names along ``c``; empty where they have none.
    colors
        Of the channels, red, green and blue; empty where they have none.
    labels
        What the values stand for; empty for objects, which are numbered only, and None where it is no label image.
    buffer_bytes
        Bytes in which a writer may hold back pixels that it cannot write yet.
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
        """Extent along ``c``, 1 where there is none."""
        return dict(zip(self.keys, self.shape, strict=True)).get("c", 1)

    @property
    def start(self) -> tuple[int, ...]:
        """The offset, zero along every axis where none was given."""
        return self.offset or (0,) * len(self.shape)
