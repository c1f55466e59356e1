"""Results appear under their names whole or not at all."""

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
    """A hidden name for something that belongs to a file; shortened to what file systems take."""
    long = f".{name}{ending}"
    if len(os.fsencode(long)) <= _LONGEST:
        return long
    return f".{hashlib.sha256(os.fsencode(name)).hexdigest()[:32]}{ending}"


def check_file_name(path: Path) -> None:
    """Refuse a name that file systems do not take.

    Raises
    ------
    OutputError
        The message says how long it is and may be.
    """
    size = len(os.fsencode(path.name))
    if size > _LONGEST:
        raise OutputError(f"{path}: the name has {size} bytes, file systems take {_LONGEST}; choose a shorter one")


def temporary_path(path: Path, suffix: str = "") -> Path:
    """A new name beside ``path`` for a result under way: hidden, plainly a part, and nobody else's."""
    return path.with_name(hidden_name(path.name, f".{os.getpid()}-{secrets.token_hex(4)}.part{suffix}"))


@contextmanager
def write_atomically(path: Path, suffix: str = "") -> Iterator[Path]:
    """A path to write to, which takes the name ``path`` when the block ends well and is removed when it does not.

    The block writes a file or a folder. A file replaces what stood there; a folder needs the name to be free.

    Raises
    ------
    OutputError
        Where the disk is full, the place read-only, the name too long or taken by a folder.
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
    """Remove a file or a folder, if it is there."""
    if os.path.isdir(path) and not os.path.islink(path):  # noqa: PTH112, PTH114 - Path's raise for impossible names
        shutil.rmtree(path)
    elif os.path.lexists(path):
        path.unlink(missing_ok=True)


def write_bytes(path: Path, content: bytes | bytearray) -> None:
    """Write a small file whole.

    Raises
    ------
    OutputError
        Where it cannot be written.
    """
    with write_atomically(path) as part:
        part.write_bytes(content)
