"""Paths written in image files: ``FileName`` of OME-XML, ``path`` of OME-Zarr metadata and others.

Such a path is untrusted input: it may refer only to files in the folder that the user gave.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from omero_pixclf.errors import ImageError

__all__ = ["check_opened_files", "check_within", "resolve_reference"]

_DRIVE = re.compile(r"[A-Za-z]:[\\/]|\\\\")


def resolve_reference(
    base: Path, name: object, *, within: Path | None = None, source: Path | None = None, follow_links: bool = False
) -> Path:
    """Resolve a path that was read from a file; the result is always in a given folder.

    Parameters
    ----------
    base
        The folder that the path is relative to.
    name
        The path as the file has it.
    within
        The folder that must contain the result: ``base`` (the default) or a folder above it.
    source
        The file that holds the path, for the message.
    follow_links
        Accept symbolic links whose targets are outside. For files of the user who runs the program, never for files
        that were sent to a server.

    Raises
    ------
    ImageError
        If the path is not relative, or leads out of the folder by ``..`` or by a symbolic link.

    Examples
    --------
    >>> resolve_reference(Path("/data/plate.zarr/A"), "../B/1", within=Path("/data/plate.zarr"))
    PosixPath('/data/plate.zarr/B/1')
    """
    root, said = within or base, str(source or base)
    if not isinstance(name, str) or "\0" in name:
        raise ImageError(f"{said}: names {name!r}, expected the path of a file")
    if Path(name).is_absolute() or _DRIVE.match(name):
        raise _outside_error(said, name, root)
    found = Path(os.path.normpath(base / name))
    if not found.is_relative_to(os.path.normpath(root)):
        raise _outside_error(said, name, root)
    if not follow_links:
        check_within(found, root, name=name, source=said)
    return found


def check_within(path: Path, root: Path, *, name: str | None = None, source: str | None = None) -> None:
    """Refuse a path that symbolic links lead out of a folder; raises ImageError."""
    try:
        inside = path.resolve().is_relative_to(root.resolve())
    except (OSError, RuntimeError, ValueError):  # a loop of links, or an impossible file name
        inside = False
    if not inside:
        raise _outside_error(source or str(path), name or path.name, root)


def check_opened_files(tiff: Any, series: Iterable[Any], root: Path, *, links: Iterable[Path] = ()) -> None:
    """Refuse a TIFF file if tifffile has read its series from files outside a folder.

    tifffile follows several kinds of metadata to other files (OME-XML, Micro-Manager, NDTiff.index), not all of which
    can be checked before. ``series`` are tifffile's; ``links`` are files that are allowed although they, or the targets
    of their links, are outside.

    Raises
    ------
    ImageError
        If a page is in a file outside.
    """
    known = {os.path.realpath(link) for link in links}
    parents = {id(p.parent): p.parent for one in series for p in one.pages if p is not None}
    for parent in parents.values():
        path = Path(parent.filehandle.path)
        if parent is not tiff and os.path.realpath(path) not in known:
            resolve_reference(root, os.path.relpath(path, root), source=Path(tiff.filehandle.path))


def _outside_error(source: str, name: str, root: Path) -> ImageError:
    return ImageError(
        f"{source}: names {name!r}, which is outside of {root.name or root}; a file may refer only to files in its "
        "folder: put all of them into one folder and use relative paths"
    )
