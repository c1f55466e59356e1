"""The managed repository's files: imported files below ``USER_ID/YEAR-MONTH/DAY/TIME``, as OMERO stores them."""

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
    """Return the managed repository's folder in a data folder."""
    return folder / MANAGED


def import_folders(user: str, ident: int, now: datetime) -> tuple[str, str, str, str]:
    """Return the folders of an import; the first one belongs to root, the others to the user."""
    time = f"{now:%H-%M-%S}.{now.microsecond // 1000:03d}"
    return f"{_safe_name(user)}_{ident}", f"{now:%Y-%m}", f"{now:%d}", time


def _safe_name(name: str) -> str:
    return name.translate(_SAFE).replace("/", "_")


def safe_path(path: str) -> PurePosixPath:
    """Return a client's path relative to the repository, without characters that some file systems do not allow.

    Raises
    ------
    ValidationException
        The path leads out of its folder, or is empty.
    """
    parts = [_shorten(part) for part in path.translate(_SAFE).split("/") if part not in ("", ".")]
    if not parts or ".." in parts:
        raise validation_error(f"Path contains illegal components: {path!r}")
    return PurePosixPath(*parts)


def _shorten(name: str) -> str:
    """Shorten a file name to the maximum length in bytes; its beginning and extensions are kept."""
    if len(name.encode()) <= _LONGEST_NAME:
        return name
    found = ("".join(PurePosixPath(name).suffixes[-2:]), PurePosixPath(name).suffix)
    end = next((one for one in found if len(one.encode()) <= _LONGEST_END), "")
    end = f"~{hashlib.sha1(name.encode(), usedforsecurity=False).hexdigest()[:8]}{end}"
    room = _LONGEST_NAME - len(end.encode())
    return name.encode()[:room].decode("utf-8", "ignore") + end


def common_folder(paths: Sequence[PurePosixPath]) -> PurePosixPath:
    """Return the deepest folder that contains all files; of a Zarr store's parts the folder of the store."""
    common = PurePosixPath(os.path.commonpath([path.parent for path in paths]))
    store = next((folder for folder in (common, *common.parents) if folder.suffix.lower() == ".zarr"), None)
    return store.parent if store is not None else common


# ---- where a file lies -------------------------------------------------------------------------------------------
def original_file_path(tx: Transaction, folder: Path, ident: int) -> Path:
    """Return the path of an OriginalFile's bytes: in the managed repository if it was imported."""
    row = tx.one("SELECT place FROM managed WHERE file = ?", (ident,))
    return file_path(folder, ident) if row is None else managed_folder(folder) / row[0]


def record_managed_path(tx: Transaction, ident: int, place: PurePosixPath) -> None:
    """Record the path of a file in the managed repository; the server chooses the path."""
    tx.execute("INSERT INTO managed VALUES (?, ?)", (ident, str(place)))


def forget_managed_paths(tx: Transaction, folder: Path, ids: Iterable[int]) -> list[Path]:
    """Delete the recorded paths of deleted files and return them, for `remove_managed_files` after the commit."""
    wanted = ids_parameter(ids)
    where = "file IN (SELECT value FROM json_each(?))"
    places = [managed_folder(folder) / row[0] for row in tx.all(f"SELECT place FROM managed WHERE {where}", (wanted,))]
    tx.execute(f"DELETE FROM managed WHERE {where}", (wanted,))
    return places


def remove_managed_files(places: Iterable[Path]) -> None:
    """Remove deleted files from the disk, and folders that are empty then."""
    for place in sorted(places, key=lambda p: len(p.parts), reverse=True):
        if place.is_dir():
            if not any(place.iterdir()):
                place.rmdir()
        else:
            place.unlink(missing_ok=True)
