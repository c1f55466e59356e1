"""An array in the axis order of its file, and a reader that gives its blocks as ``(t, z, y, x, c)``."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from omero_pixclf.errors import ImageError
from omero_pixclf.files.axes import Axes, axis_keys, region_slices, to_contiguous_tzyxc, tzyxc_shape
from omero_pixclf.image import ImageInfo, ImageLocation, Region

__all__ = ["FileReader", "StoredArray", "check_array_size", "fingerprint", "pixel_size_um", "rename_axes"]

_MICROMETRES = {
    **dict.fromkeys(("", "µm", "μm", "um", "micron", "microns", "micrometer", "micrometre"), 1.0),
    **dict.fromkeys(("nm", "nanometer", "nanometre"), 1e-3),
    **dict.fromkeys(("mm", "millimeter", "millimetre"), 1e3),
    **dict.fromkeys(("cm", "centimeter", "centimetre"), 1e4),
    **dict.fromkeys(("m", "meter", "metre"), 1e6),
    **dict.fromkeys(("pm", "picometer", "picometre"), 1e-6),
    **dict.fromkeys(("å", "angstrom", "ångström"), 1e-4),
    **dict.fromkeys(("inch", "in"), 25400.0),
}


_LARGEST_IMAGE = 2**63  # bytes
_LARGEST_CHUNK = 4 << 30


@dataclass(frozen=True)
class StoredArray:
    """An open array in a file, with its axes in the order of the file.

    Attributes
    ----------
    name
        The path, with the name of the array if the file holds several.
    shape, dtype
        As stored; byte order native.
    axes
        As in the file, or as ilastik assumes.
    read
        ``read(slices)`` returns a part; safe to call from several threads.
    channels
        Channel names; empty if the file has none.
    drange
        The data range that the file declares (ilastik's attribute), or None.
    cache_bytes
        The largest number of bytes of decoded pixels that the reader keeps in memory.
    files
        The files (and folders) whose sizes and modification times show whether the pixels have changed; empty for the
        file that was opened.
    place
        The well of the image on a plate; None if the file describes no plate.
    label
        Distinguishes the image from others of its file, ``"#1"`` or ``"/A/1/0"``; empty if it is the only one.
    axes_problem
        Why the axes in the file are not used; empty if they are, or the file has none.
    has_named_axes
        Whether the file itself names its axes.
    """

    name: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    axes: Axes
    read: Callable[[tuple[slice, ...]], NDArray[Any]]
    channels: tuple[str, ...] = ()
    drange: tuple[float, float] | None = None
    cache_bytes: int = 0
    files: tuple[Path, ...] = ()
    place: ImageLocation | None = None
    label: str = ""
    axes_problem: str = ""
    has_named_axes: bool = False


def check_array_size(
    name: str, shape: Sequence[int], dtype: np.dtype[Any], chunks: Sequence[int] | None = None
) -> None:
    """Refuse impossible array sizes, and chunks too large for memory: metadata of a file may be damaged or hostile.

    Raises
    ------
    ImageError
        If all pixels, or those of one chunk (decoded at once), would take too many bytes.
    """
    if prod(map(int, shape)) * dtype.itemsize >= _LARGEST_IMAGE:
        raise ImageError(f"{name}: its shape is {tuple(shape)}, larger than any image; the file is damaged")
    size = prod(map(int, chunks or ())) * dtype.itemsize
    if chunks and size > _LARGEST_CHUNK:
        raise ImageError(
            f"{name}: its chunks {tuple(chunks)} take {size / 2**30:.0f} GiB each, at most {_LARGEST_CHUNK >> 30} are "
            "read; store it in smaller chunks"
        )


def rename_axes(array: StoredArray, axes: Axes) -> StoredArray:
    """Return the array with other axes; if they are those of the file, resolutions and units are kept.

    Raises
    ------
    ImageError
        If the number of axes differs.
    """
    wanted = axis_keys(axes)
    if len(wanted) != len(array.shape):
        raise ImageError(
            f"{array.name}: expected {len(wanted)} dimensions ({wanted}), found {len(array.shape)} "
            f"of shape {array.shape} ({axis_keys(array.axes)} in the file); "
            "--input_axes names them, --ignore_training_axistags takes the file's own"
        )
    if wanted == axis_keys(array.axes):
        return replace(array, axes_problem="")
    return replace(array, axes=axes, channels=(), axes_problem="")


class FileReader:
    """A stored array as an `omero_pixclf.image.PixelReader`."""

    def __init__(self, array: StoredArray, path: Path) -> None:
        self.array = array
        keys = axis_keys(array.axes)
        shape = tzyxc_shape(array.shape, keys)
        names = array.channels if len(array.channels) == shape[4] else ("",) * shape[4]
        self.info = ImageInfo(
            key=array.name,
            name=path.name + array.label,
            shape=shape,
            dtype=array.dtype.name,
            channels=names,
            pixel_size_um=pixel_size_um(array.axes),
            place=array.place or ImageLocation(str(path.parent), path.parent.name),
            fingerprint=fingerprint(array.files or (path,), path.parent, array.name),
        )

    def read(self, region: Region) -> NDArray[Any]:
        """The pixels of a region as a C-contiguous ``(t, z, y, x, c)`` array in native byte order."""
        keys = axis_keys(self.array.axes)
        return to_contiguous_tzyxc(self.array.read(region_slices(region, keys)), keys, self.array.dtype)


def pixel_size_um(axes: Axes) -> tuple[float | None, float | None, float | None]:
    """Return micrometres per pixel along ``(z, y, x)``; None if the file gives none, or a unit that is not a length."""
    by_key = {a.key: a for a in axes}
    z, y, x = (_to_micrometres(by_key[k].resolution, by_key[k].unit) if k in by_key else None for k in "zyx")
    return (z, y, x)


def _to_micrometres(size: float, unit: str) -> float | None:
    factor = _MICROMETRES.get(unit.strip().lower())
    return size * factor if size > 0 and factor is not None else None


def fingerprint(files: Sequence[Path], folder: Path, name: str) -> str:
    """Return a fingerprint of the pixels without reading them: names, sizes and modification times of the files.

    A copied or touched file has another fingerprint; that costs a computation, but never gives a wrong result. Names of
    files in ``folder`` are taken relative to it.

    Raises
    ------
    ImageError
        If a file does not exist any more.
    """
    digest = hashlib.sha256(name.encode(errors="surrogateescape"))
    for file in files:
        try:
            facts = file.stat()
        except OSError as error:
            raise ImageError(f"{file}: {error.strerror or error}; was it moved while it was read?") from error
        said = file.relative_to(folder) if file.is_relative_to(folder) else file
        digest.update(f"|{said}|{facts.st_size}|{facts.st_mtime_ns}".encode(errors="surrogateescape"))
    return f"stat:{digest.hexdigest()}"
