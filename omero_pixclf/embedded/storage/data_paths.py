"""Paths of pixels and files in the data folder, laid out as in OMERO's data directory; reading and writing bytes."""

from __future__ import annotations

import errno
import os
import shutil
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from omero_pixclf.pixel_location import legacy_repository_path

__all__ = [
    "file_path",
    "open_descriptor",
    "pixels_path",
    "read_at",
    "remove_files",
    "remove_orphaned_files",
    "remove_temporary_folders",
    "require_space",
    "resolution_path",
    "temporary_folder",
    "write_at",
]

_TEMPORARY = "import-"
_HOLDERS: dict[str, Literal["Pixels", "Files"]] = {"Pixels": "Pixels", "OriginalFile": "Files"}
_PER_FOLDER = 1000
_LARGEST_SAVE = 1_000_000  # more objects than a transaction inserts
_RESERVE = 8 << 20  # reserved for the database, so that deletions still work on a full disk


def _path(folder: Path, kind: str, ident: int) -> Path:
    return folder / legacy_repository_path(_HOLDERS[kind], ident)


def pixels_path(folder: Path, ident: int) -> Path:
    """Return the path of a Pixels object's file: all planes, big-endian, in the order XYZCT."""
    return _path(folder, "Pixels", ident)


def resolution_path(folder: Path, ident: int, level: int) -> Path:
    """Return the path of a smaller resolution of a Pixels object; level 1 is the largest of them."""
    return pixels_path(folder, ident).with_name(f"{ident}.{level}")


def file_path(folder: Path, ident: int) -> Path:
    """Return the path of an OriginalFile's bytes."""
    return _path(folder, "OriginalFile", ident)


def remove_files(folder: Path, kind: str, ids: Iterable[int]) -> None:
    """Remove the files of deleted Pixels or OriginalFile rows; call it after the deletion is committed."""
    if kind not in _HOLDERS:
        return
    for ident in ids:
        path = _path(folder, kind, ident)
        path.unlink(missing_ok=True)
        if kind == "Pixels" and path.parent.is_dir():
            for level in path.parent.glob(f"{ident}.*"):
                level.unlink(missing_ok=True)


def remove_orphaned_files(folder: Path, kind: str, first: int) -> None:
    """Remove the files of rows that were never committed: all from the next id to be assigned."""
    for ident in range(first, first + _LARGEST_SAVE, _PER_FOLDER):
        part = _path(folder, kind, ident).parent
        for file in part.glob("[0-9]*") if part.is_dir() else ():
            if int(file.name.partition(".")[0]) >= first:
                file.unlink()


@contextmanager
def open_descriptor(path: Path, flags: int) -> Iterator[int]:
    """Open a file descriptor that is closed at the end of the context."""
    descriptor = os.open(path, flags | os.O_CLOEXEC, 0o600)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def read_at(descriptor: int, size: int, offset: int) -> bytes:
    """Return ``size`` bytes from ``offset``; bytes past the end of the file are zero."""
    first = os.pread(descriptor, size, offset)
    if len(first) == size:
        return first
    parts = [first]
    done = len(first)
    while done < size:
        part = os.pread(descriptor, size - done, offset + done)
        if not part:
            parts.append(bytes(size - done))
            break
        parts.append(part)
        done += len(part)
    return b"".join(parts)


def require_space(where: int | Path, size: int) -> None:
    """Raise OSError (ENOSPC) if the disk of a path or descriptor has no room for ``size`` bytes."""
    disk = os.statvfs(where)
    free = disk.f_bavail * disk.f_frsize
    if free < size + _RESERVE:
        raise OSError(errno.ENOSPC, f"{os.strerror(errno.ENOSPC)}: {free} bytes free, {size} wanted")


def write_at(descriptor: int, data: Any, offset: int) -> None:
    """Write all of ``data`` (a buffer) at ``offset``; OSError if the disk is full."""
    view = memoryview(data)
    require_space(descriptor, len(view))
    done = 0
    while done < len(view):
        done += os.pwrite(descriptor, view[done:], offset + done)


@contextmanager
def temporary_folder(folder: Path) -> Iterator[Path]:
    """Create a folder in the server's temporary folder and delete it at the end of the context."""
    made = folder / "tmp" / f"{_TEMPORARY}{uuid.uuid4()}"
    made.mkdir(mode=0o700, parents=True)
    try:
        yield made
    finally:
        shutil.rmtree(made, ignore_errors=True)


def remove_temporary_folders(folder: Path) -> None:
    """Remove the temporary folders of imports that a killed server left."""
    for left in (folder / "tmp").glob(f"{_TEMPORARY}*"):
        shutil.rmtree(left, ignore_errors=True)
