"""An array as a file holds it, and the same as an image of five axes."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from omero_pixclf.errors import ImageError
from omero_pixclf.files.axes import Axes, five_shape, keys_of, region_slices, solid_five
from omero_pixclf.image import ImageInfo, Place, Region

__all__ = ["FileReader", "StoredArray", "fingerprint", "renamed"]

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
    held
        Bytes of decoded pixels that reading keeps at most.
    """

    name: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    axes: Axes
    read: Callable[[tuple[slice, ...]], NDArray[Any]]
    channels: tuple[str, ...] = ()
    drange: tuple[float, float] | None = None
    held: int = 0


def renamed(array: StoredArray, axes: Axes) -> StoredArray:
    """The same array under other axes; resolution and unit stay with an axis whose key stays where it was.

    Raises
    ------
    ImageError
        Where the number of axes differs.
    """
    wanted = keys_of(axes)
    if len(wanted) != len(array.shape):
        raise ImageError(
            f"{array.name}: expected {len(wanted)} dimensions ({wanted}), found {len(array.shape)} "
            f"of shape {array.shape} ({keys_of(array.axes)} in the file); "
            "--input_axes names them, --ignore_training_axistags takes the file's own"
        )
    if wanted == keys_of(array.axes):
        return array
    return replace(array, axes=axes, channels=())


class FileReader:
    """A stored array as an `omero_pixclf.image.PixelReader`."""

    def __init__(self, array: StoredArray, path: Path) -> None:
        self.array = array
        keys = keys_of(array.axes)
        shape = five_shape(array.shape, keys)
        names = array.channels if len(array.channels) == shape[4] else ("",) * shape[4]
        self.info = ImageInfo(
            key=array.name,
            name=path.name,
            shape=shape,
            dtype=array.dtype.name,
            channels=names,
            pixel_size_um=pixel_size_um(array.axes),
            place=Place(str(path.parent), path.parent.name),
            fingerprint=fingerprint(path, array.name),
        )

    def read(self, region: Region) -> NDArray[Any]:
        """The pixels of a region as a C-contiguous ``(t, z, y, x, c)`` array in native byte order."""
        keys = keys_of(self.array.axes)
        return solid_five(self.array.read(region_slices(region, keys)), keys, self.array.dtype)


def pixel_size_um(axes: Axes) -> tuple[float | None, float | None, float | None]:
    """Micrometres per pixel along ``(z, y, x)``; None where the file gives none, or a unit that is no length."""
    by_key = {a.key: a for a in axes}
    z, y, x = (_in_um(by_key[k].resolution, by_key[k].unit) if k in by_key else None for k in "zyx")
    return (z, y, x)


def _in_um(size: float, unit: str) -> float | None:
    factor = _MICROMETRES.get(unit.strip().lower())
    return size * factor if size > 0 and factor is not None else None


def fingerprint(path: Path, name: str) -> str:
    """What tells these pixels from others without reading them: names, sizes and times of change of the files.

    A file that was copied or touched counts as another one; that costs a computation, never a wrong result.
    """
    files = sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]
    digest = hashlib.sha256(name.encode())
    for file in files:
        facts = file.stat()
        digest.update(f"|{file.relative_to(path.parent)}|{facts.st_size}|{facts.st_mtime_ns}".encode())
    return f"stat:{digest.hexdigest()}"
