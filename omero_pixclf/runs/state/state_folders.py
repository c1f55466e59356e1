"""Folders for the state of runs, readable by this user only, because previews show private pixels."""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from pathlib import Path

__all__ = ["IN_RESULTS", "create_private_folder", "restrict_permissions", "state_folder", "suggest_other_folder"]

IN_RESULTS = ".runs"
"""The name of the folder within a results folder that keeps the state of runs over files."""

_VARIABLE = "OMERO_PIXCLF_STATE"


def state_folder() -> Path:
    """Return where runs are stored: ``OMERO_PIXCLF_STATE``, else in the user's XDG state folder."""
    return Path(os.environ[_VARIABLE]) if os.environ.get(_VARIABLE) else _default_folder()


def _default_folder() -> Path:
    return Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state") / "omero_pixclf" / "runs"


def suggest_other_folder(folder: Path) -> str:
    """Return how to choose another place for the state in a folder, as the end of a message."""
    if folder.name == IN_RESULTS:
        return "name another folder for results with --out"
    if folder == state_folder():
        return f"name another folder with the environment variable {_VARIABLE}"
    return "name another folder for runs"


def create_private_folder(folder: Path) -> None:
    """Create the folder for runs if it is missing, with permissions for its user only.

    The permissions of an existing folder are restricted if it is known to contain only runs; the folder within a
    results folder that a group can write to stays open to the group.
    """
    if not folder.exists():
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if _is_shared_folder(folder):
            folder.chmod(stat.S_IMODE(folder.parent.stat().st_mode))
    elif folder == _default_folder() or (folder.name == IN_RESULTS and not _is_shared_folder(folder)):
        restrict_permissions(folder)


def _is_shared_folder(folder: Path) -> bool:
    """Return whether the results beside a folder belong to a group: several people may run there."""
    if folder.name != IN_RESULTS or not folder.parent.is_dir():
        return False
    mode = folder.parent.stat().st_mode
    return bool(mode & stat.S_IWGRP) and not mode & stat.S_ISVTX


def restrict_permissions(folder: Path) -> None:
    """Remove the permissions of other users on a folder of this user."""
    with suppress(OSError):  # on a file system without such rights there is nothing to take
        found = folder.stat()
        if found.st_uid == os.geteuid() and found.st_mode & 0o077:
            folder.chmod(stat.S_IMODE(found.st_mode) & 0o700)
