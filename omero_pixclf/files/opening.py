"""Open image files by their extension: one image, all images of a TIFF file, or a stack of files."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np

from omero_pixclf.errors import ImageError
from omero_pixclf.files.axes import Axes, axes_from_keys
from omero_pixclf.files.paths import DataPath, expand_paths
from omero_pixclf.files.stack import stack_arrays
from omero_pixclf.files.stored_array import FileReader, StoredArray, rename_axes

__all__ = ["EXTENSIONS", "open_image", "open_images", "open_stored", "unsupported_format_advice"]


def _hdf5(path: DataPath) -> AbstractContextManager[StoredArray]:
    from omero_pixclf.files.hdf5.hdf5_reader import open_hdf5

    return open_hdf5(path.file, path.inside)


def _tiff(path: DataPath) -> AbstractContextManager[StoredArray]:
    from omero_pixclf.files.tiff.tiff_reader import open_tiff

    return open_tiff(path.file, series=path.series)


def _png(path: DataPath) -> AbstractContextManager[StoredArray]:
    from omero_pixclf.files.png import open_png

    return open_png(path.file)


def _npy(path: DataPath) -> AbstractContextManager[StoredArray]:
    from omero_pixclf.files.npy import open_npy

    return open_npy(path.file)


def _zarr(path: DataPath) -> AbstractContextManager[StoredArray]:
    from omero_pixclf.files.ome_zarr.zarr_reader import open_zarr

    return open_zarr(path.file, path.inside, series=path.series)


_OPENERS: dict[str, Callable[[DataPath], AbstractContextManager[StoredArray]]] = {
    **dict.fromkeys((".h5", ".hdf5", ".ilp"), _hdf5),
    **dict.fromkeys((".tif", ".tiff"), _tiff),
    **dict.fromkeys((".png", ".jpg", ".jpeg", ".bmp", ".gif"), _png),
    ".npy": _npy,
    ".zarr": _zarr,
}
_NUMBERED = (".tif", ".tiff", ".zarr")  # kinds that may hold several images

EXTENSIONS = tuple(sorted(_OPENERS))

_OTHER_FORMATS = (
    *(".bif", ".btf", ".czi", ".dcm", ".dv", ".flex", ".ics", ".ims", ".j2k", ".jp2", ".jpx", ".lif", ".liff", ".lof"),
    *(".lsm", ".mha", ".mhd", ".mrc", ".mrxs", ".mvd2", ".nd2", ".ndpi", ".nhdr", ".nii", ".nii.gz", ".nrrd", ".oib"),
    *(".oif", ".oir", ".qptiff", ".r3d", ".scn", ".sld", ".sldy", ".stk", ".svs", ".vsi", ".webp", ".zvi"),
)
"""Formats that always hold images. Files with metadata next to images (.xdce, .ids, .nd, .lei, .vms) are not listed."""


def unsupported_format_advice(name: str) -> str:
    """Return advice for a file of a format that is not read here; "" for other files.

    Examples
    --------
    >>> bool(unsupported_format_advice("A.CZI")), unsupported_format_advice("notes.txt")
    (True, '')
    """
    kind = next((end for end in _OTHER_FORMATS if name.lower().endswith(end)), None)
    if kind is None:
        return ""
    return f"{kind} is not read from files; convert it to OME-TIFF or OME-Zarr, or import it into OMERO"


@contextmanager
def open_image(path: str | Path, *, axes: str | Axes | None = None, stack_along: str = "z") -> Iterator[FileReader]:
    """Open an image in a file for reading until the context ends.

    Parameters
    ----------
    path
        ``image.tif`` (or ``several.ome.tif#1``), ``stack.h5/volume/data``, ``image.zarr`` (or ``image.zarr/s1``,
        ``plate.zarr/A/1/0``, ``image.ozx``), ``image.npy``, ``image.png``;
        a glob, or names joined by the path separator, for images that are stacked.
    axes
        The array's axes in the order of the file (``"zyxc"``); None uses those of the file or the ones ilastik assumes.
    stack_along
        The axis along which the files of a glob are stacked.

    Raises
    ------
    ImageError
        If the file does not exist, cannot be read or is incomplete, or the number of axes differs;
        `SeveralImagesError` if it holds several images.

    Examples
    --------
    A plane of a stack::

        with open_image("stack.h5/data", axes="zyx") as image:
            plane = image.read(Region((0, 5, 0, 0, 0), (1, 6, 512, 512, 1)))
    """
    with open_stored(path, stack_along=stack_along) as stored:
        yield _make_reader(stored, expand_paths(path)[0].file, axes)


def _make_reader(stored: StoredArray, file: Path, axes: str | Axes | None) -> FileReader:
    named = stored if axes is None else rename_axes(stored, axes_from_keys(axes) if isinstance(axes, str) else axes)
    if named.axes_problem:
        raise ImageError(f"{named.name}: {named.axes_problem}; name them with --axes (predict: --input_axes)")
    return FileReader(named, file)


@contextmanager
def open_images(path: Path, *, axes: str | None = None) -> Iterator[list[FileReader | ImageError]]:
    """Open all images of a TIFF file; the list has an error in place of an image that cannot be read.

    Raises
    ------
    ImageError
        If the file cannot be read, or is incomplete.
    """
    from omero_pixclf.files.tiff.tiff_reader import open_every_image

    with open_every_image(path) as found:
        yield [one if isinstance(one, ImageError) else _try_reader(one, path, axes) for one in found]


def _try_reader(stored: StoredArray, path: Path, axes: str | None) -> FileReader | ImageError:
    try:
        return _make_reader(_booleans_to_uint8(stored if stored.files else replace(stored, files=(path,))), path, axes)
    except ImageError as error:
        return error


@contextmanager
def open_stored(path: str | Path, *, stack_along: str = "z") -> Iterator[StoredArray]:
    """Open the array of a path with the axes in the order of the file; several files are stacked.

    Raises
    ------
    ImageError
        As for `open_image`.
    """
    with ExitStack() as open_files:
        opened = [(open_files.enter_context(_open_one(data)), data.file) for data in expand_paths(path)]
        arrays = [_booleans_to_uint8(array if array.files else replace(array, files=(file,))) for array, file in opened]
        yield stack_arrays(arrays, stack_along) if len(arrays) > 1 else arrays[0]


def _booleans_to_uint8(array: StoredArray) -> StoredArray:
    """Return the array with booleans converted to uint8 (0 and 1); other code expects numbers."""
    if array.dtype.kind != "b":
        return array
    read = array.read
    return replace(array, dtype=np.dtype(np.uint8), read=lambda slices: read(slices).astype(np.uint8))


def _open_one(path: DataPath) -> AbstractContextManager[StoredArray]:
    if advice := unsupported_format_advice(path.file.name):
        raise ImageError(f"{path}: {advice}")
    if path.kind not in _OPENERS:
        raise ImageError(f"{path}: unknown file format, expected one of {' '.join(EXTENSIONS)}")
    if path.series is not None and path.kind not in _NUMBERED:
        raise ImageError(f"{path}: {path.kind} files hold no numbered images; leave #{path.series} out")
    return _OPENERS[path.kind](path)
