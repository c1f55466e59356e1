"""Find all images of a file, or of the plate, store or OME-TIFF set that it belongs to."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from omero_pixclf.errors import ImageError
from omero_pixclf.files.opening import open_image, open_images
from omero_pixclf.files.paths import split_path
from omero_pixclf.files.several_images import SeveralImagesError
from omero_pixclf.files.stored_array import FileReader
from omero_pixclf.folder.image_listing import ListedFile, unreadable_image
from omero_pixclf.image import ImageInfo, ImageLocation

__all__ = ["FileImages", "list_file_images", "log", "skip_set_members"]

log = logging.getLogger(__name__)

_SETS = (".tif", ".tiff")  # formats of which one image may lie in several files


@dataclass(frozen=True)
class FileImages:
    """The images of a file; ``files`` are the files of an image in several files, else empty."""

    path: Path
    infos: tuple[ImageInfo, ...]
    files: frozenset[str] = frozenset()


def list_file_images(key: str, *, axes: str | None = None) -> FileImages:
    """Return the image or all images of a path: of a file, a store, a plate or a well.

    If there are several, an image that cannot be read is included with its `ImageInfo.problem`.

    Raises
    ------
    ImageError
        If the path stands for one image that cannot be read.
    """
    path = Path(key)
    try:
        info, files = _read_info(key, axes)
        return FileImages(path, (info,), files)
    except SeveralImagesError as several:
        if several.missing:
            log.warning("%s: wells %s are listed, but not there", key, ", ".join(several.missing))
        found = list(_read_each(key, several.addresses, axes))
        infos = [info for info, _ in found]
        members: set[str] = set().union(*(files for _, files in found))
        return FileImages(path, tuple(_use_container_of(info, infos) for info in infos), frozenset(members))


def _read_each(key: str, addresses: Sequence[str], axes: str | None) -> Iterator[tuple[ImageInfo, frozenset[str]]]:
    """Yield each image and the files of its set; a TIFF file is parsed once for all its images."""
    if split_path(key).kind in _SETS:
        with open_images(Path(key), axes=axes) as readers:
            for address, reader in zip(addresses, readers, strict=True):
                if isinstance(reader, ImageError):
                    yield unreadable_image(address, str(reader)), frozenset()
                else:
                    yield reader.info, _member_files(reader)
        return
    for address in addresses:
        try:
            yield _read_info(address, axes)
        except ImageError as error:
            yield unreadable_image(address, str(error)), frozenset()


def _use_container_of(info: ImageInfo, others: Sequence[ImageInfo]) -> ImageInfo:
    """Put an image that cannot be read into the container of the others."""
    home = next((other.place for other in others if not other.problem), None)
    return info if home is None or not info.problem else replace(info, place=ImageLocation(home.container, home.name))


def _read_info(address: str, axes: str | None) -> tuple[ImageInfo, frozenset[str]]:
    with open_image(address, axes=axes) as reader:
        return reader.info, _member_files(reader) if split_path(address).kind in _SETS else frozenset()


def _member_files(reader: FileReader) -> frozenset[str]:
    """Return the files of an image in several files; empty for an image in one file."""
    members = frozenset(map(os.path.realpath, reader.array.files))
    return members if len(members) > 1 else frozenset()


def skip_set_members(files: Iterable[ListedFile], look: Callable[[ListedFile], FileImages]) -> Iterator[FileImages]:
    """Yield the images of files, without files that belong to the image of another file.

    Each file of an OME-TIFF set with the metadata gives the same images: the first one is used, the others are skipped.
    A file of a set without its own metadata is not an image of its own.
    """
    found: list[FileImages] = []
    members: set[str] = set()
    for file in files:
        if os.path.realpath(file.path) not in members:
            found.append(look(file))
            members |= found[-1].files
    return (one for one in found if one.files or os.path.realpath(one.path) not in members)
