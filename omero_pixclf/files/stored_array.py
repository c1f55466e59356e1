"""An array as a file holds it, and the same as an image of five axes."""

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

__all__ = ["FileReader", "StoredArray", "check_array_size", "fingerprint", "rename_axes"]

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
    """An open array in a file, in the file's own order of axes.

    Attributes
    ----------
    name
        The path, with the array's name where the file holds several.
    shape, dtype
        As stored (byte order native).
    axes
        As the file names them, or as ilastik guesses.
    read
        ``read(slices)`` gives that part; may be called from several threads.
    channels
        Channel names where the file has them, else empty.
    drange
        The data range that the file declares, if it does.
    cache_bytes
        Bytes of decoded pixels that reading keeps at most.
    files
        The files (and folders) whose sizes and times of change tell whether the pixels are still the same; none for
        the file that was opened.
    place
        The well that the image lies in, where the file is a plate's; else None.
    label
        What tells the image from the others of its file, ``"#1"`` or ``"/A/1/0"``; empty where it is the only one.
    axes_problem
        Why ``axes`` are a guess although the file says something; empty where they are not, or the file says nothing.
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
    """Refuse extents that no file can have, and chunks that no memory takes: a file says what it likes.

    Raises
    ------
    ImageError
        Where all pixels together, or those of one chunk, which is decoded whole, would take too many bytes.
    """
    if prod(map(int, shape)) * dtype.itemsize >= _LARGEST_IMAGE:
        raise ImageError(f"{name}: says that it has the shape {tuple(shape)}, more than any image; it is damaged")
    size = prod(map(int, chunks or ())) * dtype.itemsize
    if chunks and size > _LARGEST_CHUNK:
        raise ImageError(
            f"{name}: its chunks {tuple(chunks)} take {size / 2**30:.0f} GiB each, at most {_LARGEST_CHUNK >> 30} are "
            "read; store it in smaller chunks"
        )


def rename_axes(array: StoredArray, axes: Axes) -> StoredArray:
    """The same array under other axes; resolution and unit stay with an axis whose key stays where it was.

    Raises
    ------
    ImageError
        Where the number of axes differs.
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
    """Micrometres per pixel along ``(z, y, x)``; None where the file gives none, or a unit that is no length."""
    by_key = {a.key: a for a in axes}
    z, y, x = (_to_micrometres(by_key[k].resolution, by_key[k].unit) if k in by_key else None for k in "zyx")
    return (z, y, x)


def _to_micrometres(size: float, unit: str) -> float | None:
    factor = _MICROMETRES.get(unit.strip().lower())
    return size * factor if size > 0 and factor is not None else None


def fingerprint(files: Sequence[Path], folder: Path, name: str) -> str:
    """What tells these pixels from others without reading them: names, sizes and times of change of the files.

    A file that was copied or touched counts as another one; that costs a computation, never a wrong result. ``folder``
    is what the names are relative to, as far as they lie in it.

    Raises
    ------
    ImageError
        Where a file is not there any more.
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
