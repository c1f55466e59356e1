"""The server's data folder: recognize it, lock it while a server runs, and delete it."""

from __future__ import annotations

import fcntl
import os
import shutil
from pathlib import Path
from typing import IO

from omero_pixclf.errors import UsageError

__all__ = [
    "DATABASE_NAME",
    "OWN_NAMES",
    "check_removable",
    "is_running",
    "is_server_folder",
    "lock_folder",
    "remove_server_folder",
]

DATABASE_NAME = "omero.sqlite"
OWN_NAMES = frozenset(
    {"server.lock", "server.p12", "Pixels", "Files", "ManagedRepository", "Thumbnails", "tmp", "processor"}
)


def is_server_folder(folder: Path) -> bool:
    """Whether the folder is the data folder of an embedded OMERO."""
    return (folder / DATABASE_NAME).is_file()


def check_removable(folder: Path) -> None:
    """Check that a folder may be deleted with all its content.

    Raises
    ------
    UsageError
        It is not the folder of an embedded OMERO, it contains other files, or its server is running.
    """
    if not is_server_folder(folder):
        raise UsageError(f"{folder}: not the folder of an embedded OMERO; nothing is deleted")
    foreign = sorted(
        p.name for p in folder.iterdir() if p.name not in OWN_NAMES and not p.name.startswith(DATABASE_NAME)
    )
    if foreign:
        raise UsageError(
            f"{folder}: also contains {', '.join(foreign[:3])}, which the server did not create; nothing is deleted: "
            "move these files away first"
        )
    if is_running(folder):
        raise UsageError(f"{folder}: its server is running; stop it first")


def remove_server_folder(folder: Path) -> None:
    """Delete a server's folder with all its content.

    Raises
    ------
    UsageError
        See `check_removable`; nothing is deleted then.
    """
    check_removable(folder)
    shutil.rmtree(folder)


def is_running(folder: Path) -> bool:
    """Whether a server is running on this folder."""
    try:
        lock_folder(folder).close()
    except UsageError:
        return True
    return False


def lock_folder(folder: Path) -> IO[str]:
    """Lock a folder for one server; closing the returned file, or the end of the process, unlocks it.

    Raises
    ------
    UsageError
        Another process has locked it.
    """
    held = (folder / "server.lock").open("a+")
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        held.seek(0)
        owner = held.read().strip()
        held.close()
        raise UsageError(f"{folder}: a server is already running on it (process {owner or 'unknown'})") from error
    held.truncate(0)
    held.write(str(os.getpid()))
    held.flush()
    return held
