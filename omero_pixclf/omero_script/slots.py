"""Limit on the number of OMERO scripts that run at the same time on a host: further ones wait for a free slot."""

from __future__ import annotations

import fcntl
import logging
import os
import stat
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from omero_pixclf.errors import OutputError

__all__ = ["DEFAULT_SLOTS", "hold_slot"]

_log = logging.getLogger(__name__)

DEFAULT_SLOTS = 2
"""Each script uses half of the host's cores."""

_POLL_S = 2.0


@contextmanager
def hold_slot(
    count: int = DEFAULT_SLOTS, *, folder: Path | None = None, pause: Callable[[float], None] = time.sleep
) -> Iterator[int]:
    """Wait for a free slot, and hold it until the context ends; yields its number.

    The scripts of one user on one host share the slots. A slot is a lock on a file, so the end of a process frees it,
    also after a crash.

    Parameters
    ----------
    count
        Number of slots.
    folder
        Folder of the lock files; by default a folder of this user in the host's temporary folder.
    pause
        Waits for a number of seconds.

    Raises
    ------
    OutputError
        If the folder cannot be created, or belongs to another user.
    """
    locks = folder or Path(tempfile.gettempdir()) / f"omero_pixclf-scripts-{os.getuid()}"
    _create_private_folder(locks)
    held, logged = _acquire(locks, count), False
    while held is None:
        if not logged:
            _log.info("%d scripts are already running on this host; waiting for one of them to end", count)
            logged = True
        pause(_POLL_S)
        held = _acquire(locks, count)
    number, file = held
    try:
        yield number
    finally:
        file.close()


def _acquire(folder: Path, count: int) -> tuple[int, BinaryIO] | None:
    for number in range(count):
        file = (folder / f"{number}.lock").open("wb")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.close()
        else:
            return number, file
    return None


def _create_private_folder(folder: Path) -> None:
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        found = folder.lstat()
    except OSError as error:
        raise OutputError(
            f"{folder}: cannot create the folder: {error.strerror}. Set TMPDIR to another folder"
        ) from error
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
        raise OutputError(f"{folder}: belongs to another user. Remove it, or set TMPDIR to another folder")
