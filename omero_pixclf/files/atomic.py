"""Atomic writes: a file or folder gets its final name only when it is complete."""

from __future__ import annotations

import hashlib
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from omero_pixclf.errors import OutputError

__all__ = ["check_file_name", "hidden_name", "remove_path", "temporary_path", "write_atomically", "write_bytes"]

_LONGEST = 255  # bytes of a name, on all usual file systems


def hidden_name(name: str, ending: str) -> str:
    """Return a hidden name for a helper file of a file, shortened to the 255 bytes that file systems allow."""
    long = f".{name}{ending}"
    if len(os.fsencode(long)) <= _LONGEST:
        return long
    return f".{hashlib.sha256(os.fsencode(name)).hexdigest()[:32]}{ending}"


def check_file_name(path: Path) -> None:
    """Refuse a file name that is longer than file systems allow.

    Raises
    ------
    OutputError
        The message gives both lengths.
    """
    size = len(os.fsencode(path.name))
    if size > _LONGEST:
        raise OutputError(f"{path}: the name has {size} bytes, file systems allow {_LONGEST}; choose a shorter one")


def temporary_path(path: Path, suffix: str = "") -> Path:
    """Return a new, unique and hidden name in the folder of ``path`` for a file that is not complete yet."""
    return path.with_name(hidden_name(path.name, f".{os.getpid()}-{secrets.token_hex(4)}.part{suffix}"))


@contextmanager
def write_atomically(path: Path, suffix: str = "") -> Iterator[Path]:
    """Yield a temporary path; rename it to ``path`` at the end of the context, or remove it after an exception.

    The caller writes a file or a folder to it. A file replaces an existing file. For a folder, ``path`` must not exist.

    Raises
    ------
    OutputError
        If the disk is full, the folder read-only, or the name too long or that of an existing folder.
    """
    part = temporary_path(path, suffix)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        check_file_name(path)
        yield part
        part.replace(path)
    except OSError as error:
        raise OutputError(f"{path}: could not be written: {error.strerror or error}") from error
    finally:
        remove_path(part)


def remove_path(path: Path) -> None:
    """Remove a file, or a folder with its content. Do nothing if it does not exist."""
    if os.path.isdir(path) and not os.path.islink(path):  # noqa: PTH112, PTH114 - Path's raise for impossible names
        shutil.rmtree(path)
    elif os.path.lexists(path):
        path.unlink(missing_ok=True)


def write_bytes(path: Path, content: bytes | bytearray) -> None:
    """Write a small file atomically.

    Raises
    ------
    OutputError
        If it cannot be written.
    """
    with write_atomically(path) as part:
        part.write_bytes(content)
