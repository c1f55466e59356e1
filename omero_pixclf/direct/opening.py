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

__all__ = ["MAX_HASHED_BYTES", "OpenedPixels", "open_directly"]

MAX_HASHED_BYTES = 16 << 20
"""Files up to this size in bytes are read completely for their checksum; for larger files this would take too long."""

_TIFF = (".tif", ".tiff", ".tf2", ".tf8", ".btf")


@dataclass(frozen=True)
class OpenedPixels:
    """An open file with an image's pixels.

    Attributes
    ----------
    proven
        Whether the server's checksum proves that the pixels are the same. This is so only for raw pixel files; other
        formats can be decoded in several ways.
    """

    array: StoredArray
    proven: bool


@contextmanager
def open_directly(
    image: ImageInfo, where: PixelLocation, mounts: Sequence[Mount], *, known: bool = False
) -> Iterator[OpenedPixels]:
    """Open the file with an image's pixels and check that its shape and type are those of the server.

    ``known``: the file was checked before, so its bytes and chunks are not checked again.

    Raises
    ------
    NotMountedError, ServerOnlyError
        If the file is not in a mounted folder, or its format is not read directly.
    ImageError, OSError
        If it is missing, damaged, not readable by this user, or differs from the server's.
    """
    if "://" in where.file.path:
        raise ServerOnlyError(f"is in a store accessed by {where.file.path.partition('://')[0]}, not in a folder")
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
    """Open the full resolution of an OME-Zarr image; all chunks must exist."""
    from omero_pixclf.files.ome_zarr.zarr_images import check_chunks_present
    from omero_pixclf.files.ome_zarr.zarr_reader import level_names, open_zarr

    name = level_names(group)[0]
    folder = _resolve_part(group, name, mounts)
    if not known:
        check_chunks_present(folder)
    return open_zarr(group, name or None)


def _resolve_part(folder: Path, name: str, mounts: Sequence[Mount]) -> Path:
    """Resolve a path in a store that its metadata gives; the metadata is untrusted."""
    if ".." in Path(name).parts or Path(name).is_absolute():
        raise ImageError(f"{folder}: its metadata names {name!r}, outside the store")
    return resolve_in_mounts(mounts, folder / name)


def _check_bytes(path: Path, known: StoredFile, *, hashed: bool) -> bool:
    """Compare a file with its size on the server and, for small files, its checksum; returns whether that was done."""
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
    """Give the only axis of planes the name that it has on the server: many files do not name it."""
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
