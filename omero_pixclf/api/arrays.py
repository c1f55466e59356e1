"""Convert arrays of any rank and order of axes to ``(t, z, y, x, c)``, and use an open image as a lazy array."""

from __future__ import annotations

import threading
from operator import index
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from omero_pixclf.errors import ImageError, UsageError
from omero_pixclf.files.axes import axes_from_keys, region_slices, to_contiguous_tzyxc, to_tzyxc, tzyxc_shape
from omero_pixclf.ilastik.project import Project
from omero_pixclf.image import AXES, ImageInfo, PixelReader, Region

__all__ = [
    "CHUNK",
    "AnyArray",
    "AxesReader",
    "LazyImage",
    "as_array",
    "check_axes",
    "check_resources",
    "default_axes",
    "project_axes",
    "to_image_array",
]

CHUNK = 1024
"""Pixels along y and x of a lazy image's chunks."""


class AnyArray(Protocol):
    """An array that is read by slices: of numpy, dask, zarr or h5py, or a `LazyImage`."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Extents."""

    @property
    def dtype(self) -> Any:
        """A numpy dtype."""

    def __getitem__(self, slices: Any, /) -> Any: ...


def as_array(values: Any) -> AnyArray:
    """Return an array as it is, and numbers in lists as a numpy array."""
    return values if hasattr(values, "shape") and hasattr(values, "dtype") else np.asarray(values)


def check_resources(threads: int | None, memory: int | None) -> None:
    """Refuse numbers of threads and bytes below 1.

    Raises
    ------
    UsageError
        There is one.
    """
    for name, value in (("threads", threads), ("memory", memory)):
        if value is not None and value < 1:
            raise UsageError(f"{name}={value}: expected at least 1, or None for the default")


def check_axes(axes: str, shape: tuple[int, ...], name: str) -> str:
    """Return the axes if they fit an array's shape.

    Raises
    ------
    UsageError
        A letter is not one of ``tzyxc``, or occurs twice.
    ImageError
        The array has another number of axes, or an axis without pixels.
    """
    axes_from_keys(axes)
    if len(axes) != len(shape):
        raise ImageError(
            f"{name} is {len(shape)}D (shape {shape}), axes={axes!r} are for a {len(axes)}D array; "
            "name each axis with one letter of 'tzyxc'"
        )
    if 0 in shape:
        raise ImageError(f"{name} has no pixels (shape {shape}); expected at least one along each axis")
    return axes


def default_axes(shape: tuple[int, ...], name: str, *, channels: bool = False) -> str:
    """The axes of a 2D array, ``"yx"``, or ``"yxc"`` where it has channels.

    Raises
    ------
    ImageError
        The array has another number of axes, so that the caller must name them.
    """
    axes = "yxc" if channels else "yx"
    if len(shape) != len(axes):
        raise ImageError(
            f"{name} is {len(shape)}D (shape {shape}), expected {len(axes)}D ({axes}); "
            f"name others, such as axes={'zyxc' if channels else 'zyx'!r}"
        )
    return axes


def project_axes(project: Project, shape: tuple[int, ...], name: str) -> str:
    """The axes of an array whose axes are not named: ``"yx"`` in 2D, else those of the training image.

    Raises
    ------
    ImageError
        The array's rank fits neither.
    """
    if len(shape) == 2:
        return "yx"
    trained = project.axes
    without_channel = trained.replace("c", "")
    if len(shape) == len(trained):
        return trained
    if project.channels == 1 and len(shape) == len(without_channel):
        return without_channel
    expected = f"2D (yx) or {len(trained)}D ({trained})" if trained else "2D (yx)"
    raise ImageError(
        f"{name} is {len(shape)}D (shape {shape}), {project.name} expects {expected}; "
        "name other axes, such as axes='zyx'"
    )


def to_image_array(array: AnyArray, axes: str, name: str) -> NDArray[Any]:
    """An array in memory as ``(t, z, y, x, c)``, native byte order; a view where the array is already in memory."""
    check_axes(axes, tuple(array.shape), name)
    loaded = np.asarray(array)
    return to_tzyxc(loaded.astype(loaded.dtype.newbyteorder("="), copy=False), axes)


class AxesReader:
    """An array with named axes as an `omero_pixclf.image.PixelReader`; only the regions asked for are read."""

    def __init__(self, array: AnyArray, axes: str, name: str) -> None:
        shape = tuple(int(size) for size in array.shape)
        check_axes(axes, shape, name)
        self._array, self._axes = array, axes
        self._dtype = np.dtype(array.dtype).newbyteorder("=")
        five = tzyxc_shape(shape, axes)
        self.info = ImageInfo(name, name, five, str(self._dtype), ("",) * five[4])

    def read(self, region: Region) -> NDArray[Any]:
        """The pixels of a region as a C-contiguous ``(t, z, y, x, c)`` array in native byte order."""
        part = np.asarray(self._array[region_slices(region, self._axes)])
        return np.ascontiguousarray(to_contiguous_tzyxc(part, self._axes, self._dtype))


class LazyImage:
    """An open image as an array ``(t, z, y, x, c)`` whose pixels are read when it is indexed.

    numpy, dask (``dask.array.from_array``) and `omero_pixclf.predict` take it. Calls may come from several threads.

    Attributes
    ----------
    info
        Name, channel names and pixel size.
    axes
        ``"tzyxc"``.
    """

    axes = AXES

    def __init__(self, reader: PixelReader) -> None:
        self.info = reader.info
        self._reader = reader
        self._lock = threading.Lock()

    @property
    def shape(self) -> tuple[int, ...]:
        """Extents in ``(t, z, y, x, c)``."""
        return self.info.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """The pixels' type."""
        return np.dtype(self.info.dtype)

    @property
    def ndim(self) -> int:
        """Number of axes: 5."""
        return len(self.shape)

    @property
    def chunks(self) -> tuple[int, ...]:
        """Extents of a part that is read efficiently: a plane of one channel, or a tile of a large one."""
        _, _, y, x, _ = self.shape
        return (1, 1, min(y, CHUNK), min(x, CHUNK), 1)

    def __len__(self) -> int:
        return self.shape[0]

    def __repr__(self) -> str:
        return f"<LazyImage {self.info.key} {self.info.name!r} {self.dtype} {self.shape}>"

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        if copy is False:
            raise ValueError("a lazy image cannot become an array without a copy")
        return np.asarray(self[...], dtype=dtype)

    def __getitem__(self, key: Any, /) -> NDArray[Any]:
        """Read a part; integers and slices (also with steps) select as in numpy.

        Raises
        ------
        IndexError
            An index is out of range, or neither an integer nor a slice.
        """
        ranges, dropped = _index_ranges(key, self.shape)
        starts = [min(r, default=0) for r in ranges]
        stops = [max(r, default=-1) + 1 for r in ranges]
        if any(not len(r) for r in ranges):
            part = np.empty([len(r) for r in ranges], self.dtype)
        else:
            region = Region(tuple(starts), tuple(stops))  # type: ignore[arg-type]
            with self._lock:
                part = self._reader.read(region)
            part = part[tuple(_relative_slice(r, start) for r, start in zip(ranges, starts, strict=True))]
        return part[tuple(0 if axis in dropped else slice(None) for axis in range(len(ranges)))]


def _index_ranges(key: Any, shape: tuple[int, ...]) -> tuple[list[range], set[int]]:
    """The positions that an index selects along each axis, and the axes that integers take away."""
    given = list(key) if isinstance(key, tuple) else [key]
    ellipses = [n for n, one in enumerate(given) if one is Ellipsis]
    if len(ellipses) > 1 or len(given) - len(ellipses) > len(shape):
        raise IndexError(f"index {key!r}: the image has {len(shape)} axes")
    at = ellipses[0] if ellipses else len(given)
    missing = len(shape) - (len(given) - len(ellipses))
    full = [*given[:at], *[slice(None)] * missing, *given[at + 1 :]]
    ranges, dropped = [], set()
    for axis, (one, size) in enumerate(zip(full, shape, strict=True)):
        if isinstance(one, slice):
            ranges.append(range(*one.indices(size)))
            continue
        try:
            number = index(one)
        except TypeError:
            raise IndexError(f"index {one!r}: expected integers and slices; read a part first, then select") from None
        if not -size <= number < size:
            raise IndexError(f"index {number} is out of range for axis {AXES[axis]!r} of size {size}")
        dropped.add(axis)
        ranges.append(range(number % size, number % size + 1))
    return ranges, dropped


def _relative_slice(positions: range, start: int) -> slice:
    """The slice that selects positions in a part that begins at ``start``."""
    stop: int | None = positions.stop - start
    if positions.step < 0 and positions[-1] == start:
        stop = None  # a negative stop would count from the end
    return slice(positions.start - start, stop, positions.step)
