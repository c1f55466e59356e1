"""A server's data folder: recognised before it is thrown away, locked while a server runs on it."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from typing import IO

from omero_pixclf.errors import UsageError

__all__ = ["is_running", "is_server_folder", "lock"]

DATABASE = "omero.sqlite"


def is_server_folder(folder: Path) -> bool:
    """Whether an embedded OMERO's data lies there."""
    return (folder / DATABASE).is_file()


def is_running(folder: Path) -> bool:
    """Whether a server runs on this folder now."""
    try:
        lock(folder).close()
    except UsageError:
        return True
    return False


def lock(folder: Path) -> IO[str]:
    """Hold a folder for one server; closing the returned file (or the process's end, however it ends) gives it back.

    Raises
    ------
    UsageError
        Where another process holds it.
    """
    held = (folder / "server.lock").open("a+")
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        held.seek(0)
        owner = held.read().strip()
        held.close()
        raise UsageError(f"{folder}: a server runs on it already (process {owner or 'unknown'})") from error
    held.truncate(0)
    held.write(str(os.getpid()))
    held.flush()
    return held
