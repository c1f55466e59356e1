"""How many scripts work at the same time on the processor's machine; the others wait for their turn."""

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

__all__ = ["AT_ONCE", "slot"]

log = logging.getLogger(__name__)

AT_ONCE = 2
"""Each script takes half of the machine's cores."""

_POLL_S = 2.0


@contextmanager
def slot(
    count: int = AT_ONCE, *, folder: Path | None = None, pause: Callable[[float], None] = time.sleep
) -> Iterator[int]:
    """Wait for one of a number of places among the scripts of this user on this machine, and hold it.

    A place is a lock on a file, so it is free again as soon as its process has ended, however that ended.

    Parameters
    ----------
    count
        How many places there are.
    pause
        How to wait some seconds.
    folder
        Where the files are; by default a folder of this user's in the machine's folder for temporary files.

    Raises
    ------
    OutputError
        Where the folder cannot be made, or is not this user's own.
    """
    place = folder or Path(tempfile.gettempdir()) / f"omero_pixclf-scripts-{os.getuid()}"
    _make_private(place)
    held, told = _take(place, count), False
    while held is None:
        if not told:
            log.info("%d scripts are working on this machine already; waiting for one of them to end", count)
            told = True
        pause(_POLL_S)
        held = _take(place, count)
    number, file = held
    try:
        yield number
    finally:
        file.close()


def _take(folder: Path, count: int) -> tuple[int, BinaryIO] | None:
    for number in range(count):
        file = (folder / f"{number}.lock").open("wb")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.close()
        else:
            return number, file
    return None


def _make_private(folder: Path) -> None:
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        found = folder.lstat()
    except OSError as error:
        raise OutputError(f"{folder}: cannot be made: {error.strerror}; set TMPDIR to a folder for scripts") from error
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
        raise OutputError(f"{folder}: belongs to somebody else; remove it, or set TMPDIR to another folder")
