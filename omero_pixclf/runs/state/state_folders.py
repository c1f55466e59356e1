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
    """Where runs are kept: ``OMERO_PIXCLF_STATE``, else below the user's XDG state folder."""
    return Path(os.environ[_VARIABLE]) if os.environ.get(_VARIABLE) else _default_folder()


def _default_folder() -> Path:
    return Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state") / "omero_pixclf" / "runs"


def suggest_other_folder(folder: Path) -> str:
    """How people name another place for the state that goes into a folder, as the end of a message."""
    if folder.name == IN_RESULTS:
        return "name another folder for results with --out"
    if folder == state_folder():
        return f"name another folder with the environment variable {_VARIABLE}"
    return "name another folder for runs"


def create_private_folder(folder: Path) -> None:
    """Make the folder that runs are kept in, if it is missing; nobody else can look into what is made.

    One that is there is tightened where it is known to hold nothing else; a results folder that a group writes to
    stays open to the group.
    """
    if not folder.exists():
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if _is_shared_folder(folder):
            folder.chmod(stat.S_IMODE(folder.parent.stat().st_mode))
    elif folder == _default_folder() or (folder.name == IN_RESULTS and not _is_shared_folder(folder)):
        restrict_permissions(folder)


def _is_shared_folder(folder: Path) -> bool:
    """Whether the results that a folder stands beside belong to a group: more than one person may run there."""
    if folder.name != IN_RESULTS or not folder.parent.is_dir():
        return False
    mode = folder.parent.stat().st_mode
    return bool(mode & stat.S_IWGRP) and not mode & stat.S_ISVTX


def restrict_permissions(folder: Path) -> None:
    """Take a folder of this user's out of everybody else's sight."""
    with suppress(OSError):  # on a file system without such rights there is nothing to take
        found = folder.stat()
        if found.st_uid == os.geteuid() and found.st_mode & 0o077:
            folder.chmod(stat.S_IMODE(found.st_mode) & 0o700)
