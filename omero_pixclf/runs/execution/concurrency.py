"""Limit how many images are read, computed and written at the same time, also across processes.

The limits of a server are locks on files of one folder: the system releases the locks of a process that dies.
"""

from __future__ import annotations

import fcntl
import hashlib
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from omero_pixclf.errors import OutputError

__all__ = [
    "READERS",
    "UNLIMITED",
    "WRITERS",
    "RunStopped",
    "StageLimit",
    "StageLimits",
    "make_process_limits",
    "make_server_limits",
]

READERS, WRITERS = 3, 1
"""A server with default settings has five threads for its users: so many may read and write at a time."""

_POLL_S = 0.01  # how often somebody who waits looks

StageLimit = Callable[[], AbstractContextManager[object]]
"""Entered before a stage, left after it; waits while the stage is full."""


class RunStopped(Exception):  # noqa: N818 - not an error: the run was told to stop before this image had its turn
    """The run ends; the waiting image was not started."""


@dataclass(frozen=True)
class StageLimits:
    """One limit for each stage of an image."""

    reading: StageLimit = nullcontext
    computing: StageLimit = nullcontext
    writing: StageLimit = nullcontext


UNLIMITED = StageLimits()
"""Nobody waits: for one image after the other."""


def make_process_limits(stopping: threading.Event) -> StageLimits:
    """Return limits for files: one image of the process is computed at a time."""
    turn = threading.Semaphore(1)
    return StageLimits(computing=lambda: _hold_semaphore(turn, stopping))


def make_server_limits(
    folder: Path, server: str, stopping: threading.Event, *, readers: int = READERS, writers: int = WRITERS
) -> StageLimits:
    """Return limits for one of the processes that use a server: one image of the process is computed at a time.

    Parameters
    ----------
    folder
        Where the locks lie, the same for all processes that share the limits; made where it is missing.
    server
        Whose limits these are.
    stopping
        Once set, whoever waits or comes gets `RunStopped`.
    readers, writers
        How many images may be read and written at a time.
    """
    home = folder / hashlib.sha256(server.encode()).hexdigest()[:12]
    try:
        home.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{home}: cannot be made for locks: {error.strerror}; see that it can be written") from error
    reading = [home / f"reader-{n}" for n in range(readers)]
    writing = [home / f"writer-{n}" for n in range(writers)]
    return StageLimits(
        lambda: _hold_lock_file(reading, stopping),
        make_process_limits(stopping).computing,
        lambda: _hold_lock_file(writing, stopping),
    )


@contextmanager
def _hold_semaphore(turn: threading.Semaphore, stopping: threading.Event) -> Iterator[None]:
    while not turn.acquire(timeout=0.1):
        _raise_if_stopping(stopping)
    try:
        _raise_if_stopping(stopping)
        yield
    finally:
        turn.release()


@contextmanager
def _hold_lock_file(places: Sequence[Path], stopping: threading.Event) -> Iterator[None]:
    """Hold a lock on the first free file."""
    held: IO[str] | None = None
    while held is None:
        _raise_if_stopping(stopping)
        held = next((lock for lock in map(_try_lock, places) if lock is not None), None)
        if held is None:
            stopping.wait(_POLL_S)
    with held:
        yield


def _raise_if_stopping(stopping: threading.Event) -> None:
    if stopping.is_set():
        raise RunStopped


def _try_lock(place: Path) -> IO[str] | None:
    """Return the open file, locked; None if another process holds the lock.

    Raises
    ------
    OutputError
        The file system has no locks.
    """
    try:
        file = place.open("a", encoding="ascii")
    except OSError as error:
        raise OutputError(f"{place}: cannot be opened: {error.strerror}; see that it can be written") from error
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        return None
    except OSError as error:
        file.close()
        raise OutputError(
            f"{place}: cannot be locked: {error.strerror}; keep the state of runs on a disk with locks"
        ) from error
    return file
