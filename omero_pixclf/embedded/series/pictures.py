"""Images of PNG, JPEG, BMP and GIF files, and of OME-Zarr with resolution levels and plates."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from omero_pixclf.embedded.series.content import Channel, FilesetContent, ResolutionLevel, Series
from omero_pixclf.embedded.series.planes import check_sample_type, make_level, plane_counts, rgb_channels
from omero_pixclf.embedded.series.zarr_plates import read_store_plate
from omero_pixclf.errors import ImageError
from omero_pixclf.files.axes import axis_keys
from omero_pixclf.files.opening import open_stored
from omero_pixclf.files.stored_array import StoredArray
from omero_pixclf.image import well_name

if TYPE_CHECKING:
    from omero_pixclf.files.ome_zarr.zarr_images import StoreContents, StoreImage
    from omero_pixclf.files.ome_zarr.zarr_store import ZarrStore

__all__ = ["PICTURES", "open_picture", "open_zarr_images"]

_SHOWN = 12  # names in a remark

PICTURES = {".png": "APNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".bmp": "BMP", ".gif": "GIF"}


@contextmanager
def open_picture(path: Path, _within: Path) -> Iterator[FilesetContent]:
    """Open the image of a PNG, JPEG, BMP or GIF file; ImageError if it cannot be read."""
    with open_stored(path) as stored:
        _, count, _ = plane_counts(axis_keys(stored.axes), stored.shape)
        yield FilesetContent(PICTURES[path.suffix.lower()], (_series(path, [stored], rgb_channels(count)),))


@contextmanager
def open_zarr_images(path: Path, _within: Path) -> Iterator[FilesetContent]:
    """Open all images of an OME-Zarr folder or ZIP file, with all resolutions and its plate.

    Raises
    ------
    ImageError
        An image cannot be read, or there is none. Missing wells and fields are remarks, no errors.
    """
    from omero_pixclf.files.ome_zarr.zarr_images import store_contents
    from omero_pixclf.files.ome_zarr.zarr_store import open_store

    with open_store(path) as store:
        contents, remarks = _skip_missing(store, store_contents(store))
        if not contents.images:
            raise ImageError(f"{path.name}: holds no images{': ' if remarks else ''}{'; '.join(remarks)}")
        plates, missing = read_store_plate(contents)
        single = len(contents.images) == 1 and not plates
        series = tuple(_of_store(path, store, image, "" if single else _name(image)) for image in contents.images)
        yield FilesetContent("OME-Zarr", series, plates, (*missing, *remarks))


def _skip_missing(store: ZarrStore, contents: StoreContents) -> tuple[StoreContents, tuple[str, ...]]:
    """Return the contents without images that are listed but missing, and remarks on the missing ones."""
    images = tuple(image for image in contents.images if not image.group or store.has(image.group))
    lost = [image.group for image in contents.images if image not in images]
    shown = ", ".join(lost[:_SHOWN]) + (f" and {len(lost) - _SHOWN} more" if len(lost) > _SHOWN else "")
    return replace(contents, images=images), (f"{shown}: listed, but not in the store",) if lost else ()


def _name(image: StoreImage) -> str:
    if image.row is None or image.column is None:
        return image.group
    return f"Well {well_name(image.row, image.column)}, Field #{image.field + 1}"


def _of_store(path: Path, store: ZarrStore, image: StoreImage, name: str) -> Series:
    from omero_pixclf.files.ome_zarr.zarr_reader import open_levels

    arrays = open_levels(store, image.group)
    named = tuple(Channel(label or None) for label in arrays[0].channels)
    _, count, _ = plane_counts(axis_keys(arrays[0].axes), arrays[0].shape)
    return replace(_series(path, arrays, named if len(named) == count else (Channel(),) * count), name=name)


def _series(path: Path, arrays: Sequence[StoredArray], channels: tuple[Channel, ...]) -> Series:
    first = arrays[0]
    z, c, t = plane_counts(axis_keys(first.axes), first.shape)
    sizes = {a.key: (a.resolution, a.unit) for a in first.axes if a.key in "xyz" and a.resolution > 0 and a.unit}
    levels = tuple(_level(path, array) for array in arrays if array is first or _is_smaller_copy(first, array))
    return Series("", z, c, t, check_sample_type(path, first.dtype), levels, channels, sizes)


def _is_smaller_copy(first: StoredArray, array: StoredArray) -> bool:
    """Whether an array has the same planes as another one at a smaller size."""
    keys = axis_keys(array.axes)
    same = keys == axis_keys(first.axes) and plane_counts(keys, array.shape) == plane_counts(keys, first.shape)
    return same and array.dtype == first.dtype


def _level(path: Path, array: StoredArray) -> ResolutionLevel:
    keys = axis_keys(array.axes)
    if "x" not in keys or "y" not in keys:
        raise ImageError(f"{path.name}: {array.name} has axes {keys}, expected x and y among them")
    return make_level(keys, array.shape, array.read)
