"""A lock for changing a file in place, between threads, processes and machines.

It is a lock of the operating system on a separate hidden file. It ends with its process, so a lock file that a killed
process leaves behind blocks nobody. It works between machines if the file system supports it (NFS 3 and later, SMB).
"""

from __future__ import annotations

import errno
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Lock
from weakref import WeakValueDictionary

from omero_pixclf.files.atomic import hidden_name

try:
    import fcntl
except ImportError:  # no such locks on Windows
    fcntl = None  # type: ignore[assignment]

__all__ = ["fcntl", "file_lock", "log"]

log = logging.getLogger(__name__)

_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL)
_threads: WeakValueDictionary[str, Lock] = WeakValueDictionary()
_guard = Lock()


@contextmanager
def file_lock(path: Path) -> Iterator[None]:
    """Hold the lock of a file until the context ends; wait while another thread or process holds it.

    If the file system has no locks, a warning is logged, and only threads of this process wait for each other.

    Raises
    ------
    OSError
        If the folder is not writable.
    """
    real = Path(os.path.realpath(path))
    with _thread_lock(str(real)):
        held = _acquire(real.with_name(hidden_name(real.name, ".lock")), path)
        try:
            yield
        finally:
            if held is not None:
                _release(*held)


def _thread_lock(key: str) -> Lock:
    """Return the lock of this process for a file: on some network file systems, all threads share a file lock."""
    with _guard:
        lock = _threads.get(key)
        if lock is None:
            lock = _threads[key] = Lock()
        return lock


def _acquire(lock: Path, path: Path) -> tuple[int, Path] | None:
    if fcntl is None:
        return None
    while True:
        file = _open(lock)
        try:
            _lock_exclusively(file, path)
            if _is_current(file, lock):
                return file, lock
        except OSError as error:
            os.close(file)
            if error.errno not in _NO_LOCKS:
                raise
            log.warning(
                "%s: this file system has no file locks (%s): write to this file from one process only",
                path,
                error.strerror,
            )
            with suppress(OSError):
                lock.unlink()
            return None
        except BaseException:
            os.close(file)
            raise
        os.close(file)


def _open(lock: Path) -> int:
    flags = os.O_CREAT | os.O_CLOEXEC | getattr(os, "O_NOFOLLOW", 0)
    try:
        return os.open(lock, flags | os.O_RDWR, 0o666)
    except PermissionError:
        return os.open(lock, flags & ~os.O_CREAT | os.O_RDONLY)  # another user's: read access is enough to wait for it


def _lock_exclusively(file: int, path: Path) -> None:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        log.info("%s: waiting for another process that writes to it", path)
        fcntl.flock(file, fcntl.LOCK_EX)


def _is_current(file: int, lock: Path) -> bool:
    """Whether the lock file is still the current one: its last owner removes it."""
    with suppress(FileNotFoundError):
        return os.path.samestat(os.fstat(file), lock.stat())
    return False


def _release(file: int, lock: Path) -> None:
    with suppress(OSError):
        lock.unlink()
    os.close(file)
