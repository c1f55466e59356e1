"""The managed repository's folder: imported files, below ``USER_ID/YEAR-MONTH/DAY/TIME``, as OMERO lays them out."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Sequence
from datetime import datetime
from pathlib import Path, PurePosixPath

from omero_pixclf.embedded.database.sqlite import Transaction, ids_parameter
from omero_pixclf.embedded.server.exceptions import validation_error
from omero_pixclf.embedded.storage.data_paths import file_path
from omero_pixclf.embedded.storage.repositories import MANAGED

__all__ = [
    "common_folder",
    "forget_managed_paths",
    "import_folders",
    "managed_folder",
    "original_file_path",
    "record_managed_path",
    "remove_managed_files",
    "safe_path",
]

_LONGEST_NAME = 255  # bytes
_LONGEST_END = 32
_REPLACED = {'"': "'", "*": "x", ":": ";", "<": "[", ">": "]", "?": "%", "\\": "/", "|": "!"}
_SAFE = str.maketrans(_REPLACED | {chr(code): "_" for code in range(32)})


def managed_folder(folder: Path) -> Path:
    """Where the managed repository lies in a server's folder."""
    return folder / MANAGED


def import_folders(user: str, ident: int, now: datetime) -> tuple[str, str, str, str]:
    """The folders of an import; the first one is root's, the others are the user's."""
    time = f"{now:%H-%M-%S}.{now.microsecond // 1000:03d}"
    return f"{_safe_name(user)}_{ident}", f"{now:%Y-%m}", f"{now:%d}", time


def _safe_name(name: str) -> str:
    return name.translate(_SAFE).replace("/", "_")


def safe_path(path: str) -> PurePosixPath:
    """A client's path as one below the repository, without characters that some file systems do not have.

    Raises
    ------
    ValidationException
        Where it leads out of the folder it begins in, or nowhere.
    """
    parts = [_shorten(part) for part in path.translate(_SAFE).split("/") if part not in ("", ".")]
    if not parts or ".." in parts:
        raise validation_error(f"Path contains illegal components: {path!r}")
    return PurePosixPath(*parts)


def _shorten(name: str) -> str:
    """A name that a file can have here: one of more bytes keeps its beginning and its extensions."""
    if len(name.encode()) <= _LONGEST_NAME:
        return name
    found = ("".join(PurePosixPath(name).suffixes[-2:]), PurePosixPath(name).suffix)
    end = next((one for one in found if len(one.encode()) <= _LONGEST_END), "")
    end = f"~{hashlib.sha1(name.encode(), usedforsecurity=False).hexdigest()[:8]}{end}"
    room = _LONGEST_NAME - len(end.encode())
    return name.encode()[:room].decode("utf-8", "ignore") + end


def common_folder(paths: Sequence[PurePosixPath]) -> PurePosixPath:
    """The deepest folder that all files lie in; that of a Zarr store where they are its parts: it needs its name."""
    common = PurePosixPath(os.path.commonpath([path.parent for path in paths]))
    store = next((folder for folder in (common, *common.parents) if folder.suffix.lower() == ".zarr"), None)
    return store.parent if store is not None else common


# ---- where a file lies -------------------------------------------------------------------------------------------
def original_file_path(tx: Transaction, folder: Path, ident: int) -> Path:
    """Where the bytes of an OriginalFile lie: in the managed repository if it came by an import."""
    row = tx.one("SELECT place FROM managed WHERE file = ?", (ident,))
    return file_path(folder, ident) if row is None else managed_folder(folder) / row[0]


def record_managed_path(tx: Transaction, ident: int, place: PurePosixPath) -> None:
    """Say where a file of the managed repository lies; the place is the server's to choose."""
    tx.execute("INSERT INTO managed VALUES (?, ?)", (ident, str(place)))


def forget_managed_paths(tx: Transaction, folder: Path, ids: Iterable[int]) -> list[Path]:
    """Delete what is known of deleted files' places; the places, for `remove_managed_files` once that is committed."""
    wanted = ids_parameter(ids)
    where = "file IN (SELECT value FROM json_each(?))"
    places = [managed_folder(folder) / row[0] for row in tx.all(f"SELECT place FROM managed WHERE {where}", (wanted,))]
    tx.execute(f"DELETE FROM managed WHERE {where}", (wanted,))
    return places


def remove_managed_files(places: Iterable[Path]) -> None:
    """Remove deleted files from the disk, folders that belong to nothing else as well."""
    for place in sorted(places, key=lambda p: len(p.parts), reverse=True):
        if place.is_dir():
            if not any(place.iterdir()):
                place.rmdir()
        else:
            place.unlink(missing_ok=True)
