"""The image files in a folder and its folders: each real file once, and those that cannot be read with the reason."""

from __future__ import annotations

import logging
import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from omero_pixclf.files.ledger import is_results_folder
from omero_pixclf.files.opening import EXTENSIONS
from omero_pixclf.files.paths import is_folder, split
from omero_pixclf.image import ImageInfo, Place

__all__ = ["ListedFile", "list_images", "real_files", "unreadable_image"]

log = logging.getLogger(__name__)

_NO_IMAGES = (".ilp",)
_OTHER_FORMATS = (
    *(".czi", ".dv", ".ics", ".ids", ".ims", ".jp2", ".lif", ".mha", ".mrc", ".nd2", ".nii", ".nrrd", ".oib", ".oif"),
    *(".ndpi", ".scn", ".sld", ".stk", ".svs", ".vms", ".vsi", ".webp", ".xdce", ".zvi"),
)
"""Images for sure, but of formats that only OMERO's importer reads."""


@dataclass(frozen=True)
class ListedFile:
    """An image file; ``problem`` says why it cannot be one, as far as that is seen without opening it."""

    path: Path
    problem: str = ""


def list_images(folder: Path) -> list[ListedFile]:
    """Image files and Zarr stores in a folder and its folders, in the order of names.

    Hidden ones and results of runs are left out. Links are followed, but a file or folder that several names lead to
    is listed once, by the name that is no link if there is one: links may lead around in circles.
    """
    found: dict[str, tuple[bool, ListedFile]] = {}
    visited: set[str] = set()
    waiting, linked = [folder], list[Path]()
    while waiting or linked:
        through_link = not waiting
        place = waiting.pop() if waiting else linked.pop(0)
        real = os.path.realpath(place)
        if real in visited:
            continue
        visited.add(real)
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
            elif split(path).kind in EXTENSIONS and split(path).kind not in _NO_IMAGES:
                direct = not (through_link or path.is_symlink())
                identity = os.path.realpath(path)
                if identity not in found or (direct and not found[identity][0]):
                    found[identity] = (direct, ListedFile(path, _problem(path)))
        _tell_other_formats(place, entries)
    return sorted((listed for _, listed in found.values()), key=lambda one: one.path.parts)


def _problem(path: Path) -> str:
    """Why a path cannot be opened as a file; opening a pipe would wait for ever."""
    if path.is_file() or path.is_dir():
        return ""
    if path.is_symlink() and not path.exists():
        return f"is a link to {path.readlink()}, which is not there"
    return "is neither a file nor a folder"


def _tell_other_formats(folder: Path, entries: list[Path]) -> None:
    """Say that a folder holds images that nobody here reads."""
    counts = Counter(p.suffix.lower() for p in entries if p.suffix.lower() in _OTHER_FORMATS)
    if counts:
        listed = ", ".join(f"{n} {suffix}" for suffix, n in sorted(counts.items()))
        log.warning("%s: left out %s: not read from files; convert them to OME-TIFF or OME-Zarr", folder, listed)


def unreadable_image(key: str, problem: str) -> ImageInfo:
    """What stands for a file that cannot be read, so that it is accounted for like every other one."""
    path = Path(key)
    place = Place(str(path.parent), path.parent.name)
    return ImageInfo(key, path.name, (0, 0, 0, 0, 0), "", (), place=place, problem=problem)


def real_files(listed: Iterator[ListedFile]) -> Iterator[ListedFile]:
    """Each real file once, also where several targets lead to it."""
    seen: set[str] = set()
    for one in listed:
        identity = os.path.realpath(one.path)
        if identity not in seen:
            seen.add(identity)
            yield one
