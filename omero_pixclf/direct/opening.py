"""Open the file with an image's pixels as the image that the server knows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from omero_pixclf.checksums import file_checksum
from omero_pixclf.direct.mounts import Mount, locate_file, resolve_in_mounts
from omero_pixclf.errors import ImageError
from omero_pixclf.files.axes import Axis, axis_keys, tzyxc_shape
from omero_pixclf.files.ome_zarr.zarr_store import outermost_store
from omero_pixclf.files.stored_array import StoredArray
from omero_pixclf.files.tiff.tiff_lossless import ServerOnlyError
from omero_pixclf.image import AXES, ImageInfo
from omero_pixclf.pixel_location import PixelLocation, StoredFile

__all__ = ["OpenedPixels", "open_directly"]

MAX_HASHED_BYTES = 16 << 20
"""Files up to this many bytes are read whole for their checksum; reading larger ones twice would cost too much."""

_TIFF = (".tif", ".tiff", ".tf2", ".tf8", ".btf")


@dataclass(frozen=True)
class OpenedPixels:
    """A file with an image's pixels.

    Attributes
    ----------
    proven
        By the checksum that the server has of them, these are the pixels, of which a file of planes holds nothing but
        the bytes; what else there is can be decoded in more than one way.
    """

    array: StoredArray
    proven: bool


@contextmanager
def open_directly(
    image: ImageInfo, where: PixelLocation, mounts: Sequence[Mount], *, known: bool = False
) -> Iterator[OpenedPixels]:
    """The file with an image's pixels, its extents and type being those that the server says.

    ``known``: this was done before, so that the bytes are not counted once more.

    Raises
    ------
    NotMountedError, ServerOnlyError
        Where the file is not to be had here, or is of no format that is read here.
    ImageError, OSError
        Where it is missing, damaged, not to be read by this user, or another one than the server's.
    """
    if "://" in where.file.path:
        raise ServerOnlyError(f"lies in a store that is reached by {where.file.path.partition('://')[0]}, in no folder")
    opened, proven = _open_file(image, where, locate_file(mounts, where), mounts, known)
    with opened as stored:
        named = _rename_plane_axis(stored, image)
        if tzyxc_shape(named.shape, axis_keys(named.axes)) != image.shape or named.dtype != np.dtype(image.dtype):
            has = f"{stored.dtype} {axis_keys(stored.axes)} {stored.shape}"
            raise ImageError(f"{stored.name}: holds {has}, the server says {image.dtype} {AXES} {image.shape}")
        yield OpenedPixels(named, proven)


def _open_file(
    image: ImageInfo, where: PixelLocation, path: Path, mounts: Sequence[Mount], known: bool
) -> tuple[AbstractContextManager[StoredArray], bool]:
    from omero_pixclf.direct.planes import open_planes
    from omero_pixclf.files.tiff.tiff_reader import open_tiff

    if where.kind == "multiscales":
        return _open_group(path, mounts, known), False
    if where.kind == "fileset" and (store := outermost_store(path)):
        from omero_pixclf.files.ome_zarr.zarr_images import image_group

        return _open_group(_resolve_part(store, image_group(store, where.series), mounts), mounts, known), False
    if where.kind == "fileset" and path.suffix.lower() not in _TIFF:
        raise ServerOnlyError(f"{path.suffix or path.name}: not a format that is read directly")
    same = _check_bytes(path, where.file, hashed=not known)
    if where.kind == "planes":
        return open_planes(path, image.shape, image.dtype), same
    return open_tiff(path, series=where.series, exact=True), False


def _open_group(group: Path, mounts: Sequence[Mount], known: bool) -> AbstractContextManager[StoredArray]:
    """The full resolution of an OME-Zarr image, all of it being there."""
    from omero_pixclf.files.ome_zarr.zarr_images import check_chunks_present
    from omero_pixclf.files.ome_zarr.zarr_reader import level_names, open_zarr

    name = level_names(group)[0]
    folder = _resolve_part(group, name, mounts)
    if not known:
        check_chunks_present(folder)
    return open_zarr(group, name or None)


def _resolve_part(folder: Path, name: str, mounts: Sequence[Mount]) -> Path:
    """A part of a store by what its own metadata calls it, which anybody may have written."""
    if ".." in Path(name).parts or Path(name).is_absolute():
        raise ImageError(f"{folder}: its metadata names {name!r}, out of the store")
    return resolve_in_mounts(mounts, folder / name)


def _check_bytes(path: Path, known: StoredFile, *, hashed: bool) -> bool:
    """Compare a file with its size on the server and, where that is cheap, with its checksum; whether that was done."""
    size = path.stat().st_size
    if known.size not in (None, size):
        raise ImageError(f"{path}: has {size} bytes, the server says {known.size}")
    if not (hashed and known.sha1 and size <= MAX_HASHED_BYTES):
        return False
    found = file_checksum(path, "SHA1-160")
    if found != known.sha1:
        raise ImageError(f"{path}: its SHA-1 is {found}, the server says {known.sha1}")
    return True


def _rename_plane_axis(stored: StoredArray, image: ImageInfo) -> StoredArray:
    """The array with its one sequence of planes called as the server calls it: many files leave that open."""
    leading = [i for i, axis in enumerate(stored.axes) if axis.key not in "yx" and stored.shape[i] > 1]
    known = [key for key, size in zip(AXES, image.shape, strict=True) if key not in "yx" and size > 1]
    if len(leading) != 1 or len(known) != 1 or known[0] == stored.axes[leading[0]].key:
        return stored
    spare = next((i for i, axis in enumerate(stored.axes) if axis.key == known[0]), None)
    axes = list(stored.axes)
    if spare is not None:
        axes[spare] = Axis(axes[leading[0]].key)
    axes[leading[0]] = Axis(known[0])
    return replace(stored, axes=tuple(axes))
