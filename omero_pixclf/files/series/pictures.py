"""Pictures and OME-Zarr images: what `omero_pixclf.files.opening` reads, with resolution levels where there are any."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from omero_pixclf.errors import ImageError
from omero_pixclf.files.axes import keys_of
from omero_pixclf.files.opening import open_stored
from omero_pixclf.files.series.content import Channel, Content, Level, Series
from omero_pixclf.files.series.planes import checked_type, level_of, plane_counts, rgb_channels
from omero_pixclf.files.stored import StoredArray

__all__ = ["PICTURES", "open_picture", "open_zarr_image"]

PICTURES = {".png": "APNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".bmp": "BMP", ".gif": "GIF"}


@contextmanager
def open_picture(path: Path, _within: Path) -> Iterator[Content]:
    """The image of a PNG, JPEG, BMP or GIF file; ImageError where it cannot be read."""
    with open_stored(path) as stored:
        _, count, _ = plane_counts(keys_of(stored.axes), stored.shape)
        yield Content(PICTURES[path.suffix.lower()], (_series(path, [stored], rgb_channels(count)),))


@contextmanager
def open_zarr_image(path: Path, _within: Path) -> Iterator[Content]:
    """The image of an OME-Zarr folder, all its resolutions; ImageError where it cannot be read."""
    from omero_pixclf.files.ome_zarr import level_names

    with ExitStack() as opened:
        names = level_names(path)
        arrays = [opened.enter_context(open_stored(f"{path}/{name}" if name else path)) for name in names]
        named = tuple(Channel(name or None) for name in arrays[0].channels)
        _, count, _ = plane_counts(keys_of(arrays[0].axes), arrays[0].shape)
        yield Content("OME-Zarr", (_series(path, arrays, named if len(named) == count else (Channel(),) * count),))


def _series(path: Path, arrays: list[StoredArray], channels: tuple[Channel, ...]) -> Series:
    first = arrays[0]
    z, c, t = plane_counts(keys_of(first.axes), first.shape)
    sizes = {a.key: (a.resolution, a.unit) for a in first.axes if a.key in "xyz" and a.resolution > 0 and a.unit}
    return Series(
        "", z, c, t, checked_type(path, first.dtype), tuple(_level(path, first, a) for a in arrays), channels, sizes
    )


def _level(path: Path, first: StoredArray, array: StoredArray) -> Level:
    keys = keys_of(array.axes)
    if keys != keys_of(first.axes) or plane_counts(keys, array.shape) != plane_counts(keys, first.shape):
        raise ImageError(f"{path.name}: {array.name} is of shape {array.shape}, no smaller copy of {first.shape}")
    return level_of(keys, array.shape, array.read)
