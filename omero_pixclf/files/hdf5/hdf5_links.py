"""Links and virtual arrays of HDF5: the files that hold the pixels of an array, all checked to exist.

HDF5 itself gives zeros, without an error, for parts in files that it does not find.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py

from omero_pixclf.errors import ImageError
from omero_pixclf.files.references import resolve_reference

__all__ = ["describe_links", "external_link", "virtual_source_files"]

_MOST_NESTED = 8  # levels of virtual arrays made of virtual arrays
_MOST_SHOWN = 5


def external_link(path: Path, file: h5py.File, name: str) -> tuple[Path, str] | None:
    """Return the file and the array that a name refers to through an external link; None if there is no such link.

    Raises
    ------
    ImageError
        If that file does not exist, or is outside the folder of the first one.
    """
    parts = [part for part in name.split("/") if part]
    for end in range(1, len(parts) + 1):
        link = file.get("/".join(parts[:end]), getlink=True)
        if isinstance(link, h5py.ExternalLink):
            said = f"{path}/{'/'.join(parts[:end])}"
            target = _resolve_linked_file(path, link.filename, said)
            return target, "/".join([link.path.strip("/"), *parts[end:]]).strip("/")
        if link is None:
            return None
    return None


def describe_links(path: Path, file: h5py.File) -> list[str]:
    """Return the external links of a file and its groups as text: ``data -> other.h5/data``."""
    found: list[str] = []

    def note(name: str, link: Any) -> None:
        if isinstance(link, h5py.ExternalLink):
            found.append(f"{name} -> {link.filename}/{link.path.strip('/')}")

    file.visititems_links(note)
    more = f" and {len(found) - _MOST_SHOWN} more" if len(found) > _MOST_SHOWN else ""
    return [*found[:_MOST_SHOWN], *([more.strip()] if more else [])]


def virtual_source_files(path: Path, item: h5py.Dataset) -> tuple[Path, ...]:
    """Return the other files that a virtual array takes its pixels from; all exist.

    Raises
    ------
    ImageError
        If one does not exist, lacks the array, or is outside the folder; and for arrays stored in raw files.
    """
    return tuple(dict.fromkeys(_sources(path, item, _MOST_NESTED)))


def _sources(path: Path, item: h5py.Dataset, depth: int) -> list[Path]:
    said = f"{path}/{item.name.strip('/')}"
    if item.external:
        names = ", ".join(str(entry[0]) for entry in item.external[:_MOST_SHOWN])
        raise ImageError(f"{said}: its pixels are in raw files ({names}), which are not read; store them in HDF5")
    if not item.is_virtual:
        return []
    if depth == 0:
        raise ImageError(f"{said}: is a virtual array of virtual arrays, nested too deeply; store it as a plain array")
    found: list[Path] = []
    for source in item.virtual_sources():
        if "%" in source.file_name.replace("%%", ""):
            raise ImageError(
                f"{said}: takes its parts from files by the pattern {source.file_name}; store it as a plain array"
            )
        other = (
            path if source.file_name == "." else _resolve_linked_file(path, source.file_name.replace("%%", "%"), said)
        )
        with h5py.File(other, "r") as opened:
            part = opened.get(source.dset_name)
            if not isinstance(part, h5py.Dataset):
                raise ImageError(
                    f"{said} is incomplete: {other.name} holds no array {source.dset_name!r}; copy it again"
                )
            found += [] if other == path else [other]
            found += _sources(other, part, depth - 1)
    return found


def _resolve_linked_file(path: Path, name: str, said: str) -> Path:
    """Return a file that another one in the same folder refers to."""
    other = resolve_reference(path.parent, name, source=path, follow_links=True)
    if not other.is_file():
        raise ImageError(f"{said} is incomplete: it needs {name}, which does not exist; put both files into one folder")
    return other
