"""List the image files in a folder and its subfolders, each once, and the reason for unreadable ones."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from omero_pixclf.files.opening import EXTENSIONS, unsupported_format_advice
from omero_pixclf.files.paths import is_folder, split_path
from omero_pixclf.folder.ledger import is_results_folder
from omero_pixclf.image import ImageInfo, ImageLocation

__all__ = ["ListedFile", "list_images", "unique_files", "unreadable_image"]

_NO_IMAGES = (".ilp",)
_STORE = ".zarr"
_EMPTY_STORE = "is called .zarr, but holds no Zarr metadata; copy it again"


@dataclass(frozen=True)
class ListedFile:
    """An image file; ``problem`` says why it cannot be read, if that is known without opening it."""

    path: Path
    problem: str = ""


def list_images(folder: Path) -> list[ListedFile]:
    """Return image files and Zarr stores in a folder and its subfolders, sorted by name.

    Hidden files and results of runs are left out. Links are followed, but a file or folder with several names is listed
    once, if possible by a name that is not a link: links may form circles. Images of unsupported formats, and Zarr
    stores without content, are listed with their problem.
    """
    found: dict[str, tuple[bool, ListedFile]] = {}
    visited: dict[str, Path] = {}
    waiting, linked = [folder], list[Path]()
    while waiting or linked:
        through_link = not waiting
        place = waiting.pop() if waiting else linked.pop(0)
        real = os.path.realpath(place)
        if real in visited:
            continue
        visited[real] = place
        try:
            entries = sorted(place.iterdir())
        except OSError as error:
            found[real] = (True, ListedFile(place, f"the folder cannot be listed: {error.strerror}"))
            continue
        for path in entries:
            if path.name.startswith("."):
                continue
            if is_folder(path):
                if not is_results_folder(path):
                    (linked if path.is_symlink() else waiting).append(path)
            elif _is_image(path):
                direct = not (through_link or path.is_symlink())
                identity = os.path.realpath(path)
                if identity not in found or (direct and not found[identity][0]):
                    found[identity] = (direct, ListedFile(path, _problem(path)))
    for place in _empty_stores(visited, found):
        found[os.path.realpath(place)] = (True, ListedFile(place, _EMPTY_STORE))
    return sorted((listed for _, listed in found.values()), key=lambda one: one.path.parts)


def _is_image(path: Path) -> bool:
    kind = split_path(path).kind
    return (kind in EXTENSIONS and kind not in _NO_IMAGES) or bool(unsupported_format_advice(path.name))


def _problem(path: Path) -> str:
    """Return why a path cannot be opened as a file; opening a pipe would wait for ever."""
    if path.is_file() or path.is_dir():
        return unsupported_format_advice(path.name)
    if path.is_symlink() and not path.exists():
        return f"is a link to {path.readlink()}, which does not exist"
    return "is neither a file nor a folder"


def _empty_stores(visited: Mapping[str, Path], found: Mapping[str, tuple[bool, ListedFile]]) -> Iterator[Path]:
    """Yield the innermost folders that are named like Zarr stores, but are none, and in which no image was found."""
    taken = [one.path for _, one in found.values()]
    hollow: list[Path] = []
    for place in sorted(visited.values(), key=lambda path: len(path.parts), reverse=True):
        named = place.name.lower().endswith(_STORE)
        if named and not any(path.is_relative_to(place) for path in (*taken, *hollow)):
            hollow.append(place)
    yield from hollow


def unreadable_image(key: str, problem: str) -> ImageInfo:
    """Return the placeholder for a file that cannot be read, so that it is counted like other images."""
    path = Path(key)
    place = ImageLocation(str(path.parent), path.parent.name)
    return ImageInfo(key, path.name, (0, 0, 0, 0, 0), "", (), place=place, problem=problem)


def unique_files(listed: Iterator[ListedFile]) -> Iterator[ListedFile]:
    """Yield each real file once, also if several targets contain it."""
    seen: set[str] = set()
    for one in listed:
        identity = os.path.realpath(one.path)
        if identity not in seen:
            seen.add(identity)
            yield one
