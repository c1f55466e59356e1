"""All images that a file holds or is a part of: those of a plate, of a store, of an OME-TIFF set."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from omero_pixclf.errors import ImageError
from omero_pixclf.files.image_listing import unreadable_image
from omero_pixclf.files.opening import open_image
from omero_pixclf.files.paths import split
from omero_pixclf.files.several import SeveralImages
from omero_pixclf.image import ImageInfo, Place

__all__ = ["FileImages", "each_set_once", "images_of_file"]

log = logging.getLogger(__name__)

_SETS = (".tif", ".tiff")  # formats of which one image may lie in several files


@dataclass(frozen=True)
class FileImages:
    """The images of a file; ``files`` are those that they lie in, where these are several."""

    path: Path
    infos: tuple[ImageInfo, ...]
    files: frozenset[str] = frozenset()


def images_of_file(key: str, *, axes: str | None = None) -> FileImages:
    """The image, or all images, that a path names: of a file, a store, a plate, a well.

    An image of several that cannot be read is among them with its `ImageInfo.problem`.

    Raises
    ------
    ImageError
        Where the path names one image, and that cannot be read.
    """
    path = Path(key)
    try:
        info, files = _opened(key, axes)
        return FileImages(path, (info,), files)
    except SeveralImages as several:
        if several.missing:
            log.warning("%s: wells %s are listed, but not there", key, ", ".join(several.missing))
        infos: list[ImageInfo] = []
        members: set[str] = set()
        for address in several.addresses:
            try:
                info, files = _opened(address, axes)
            except ImageError as error:
                infos.append(unreadable_image(address, str(error)))
                continue
            infos.append(info)
            members |= files
        return FileImages(path, tuple(_at_home(info, infos) for info in infos), frozenset(members))


def _at_home(info: ImageInfo, others: Sequence[ImageInfo]) -> ImageInfo:
    """An image that cannot be read in the container of the others."""
    home = next((other.place for other in others if not other.problem), None)
    return info if home is None or not info.problem else replace(info, place=Place(home.container, home.name))


def _opened(address: str, axes: str | None) -> tuple[ImageInfo, frozenset[str]]:
    with open_image(address, axes=axes) as reader:
        members = frozenset(map(os.path.realpath, reader.array.files)) if split(address).kind in _SETS else frozenset()
        return reader.info, members if len(members) > 1 else frozenset()


def each_set_once(found: Sequence[FileImages]) -> Iterator[FileImages]:
    """The files' images without those of files that belong to the images of another one.

    Each file of an OME-TIFF set that has the metadata gives the same images: the first one counts. A file of a set
    without metadata of its own is no image beside it.
    """
    members: set[str] = set().union(*(one.files for one in found))
    taken: set[str] = set()
    for one in found:
        real = os.path.realpath(one.path)
        if real in taken or (not one.files and real in members):
            continue
        taken |= one.files
        yield one
