"""Results appear under their names whole or not at all."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from omero_pixclf.errors import OutputError

__all__ = ["part_path", "remove", "replacing", "write_bytes"]


def part_path(path: Path, suffix: str = "") -> Path:
    """A name beside ``path`` for a result under way: hidden, of this process, plainly a part."""
    return path.with_name(f".{path.name}.{os.getpid()}.part{suffix}")


@contextmanager
def replacing(path: Path, suffix: str = "") -> Iterator[Path]:
    """A path to write to, which takes the name ``path`` when the block ends well and is removed when it does not.

    The block writes a file or a folder. A file replaces what stood there; a folder needs the name to be free.

    Raises
    ------
    OutputError
        Where the disk is full, the place read-only or the name taken by a folder.
    """
    part = part_path(path, suffix)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        remove(part)
        yield part
        part.replace(path)
    except OSError as error:
        raise OutputError(f"{path}: could not be written: {error.strerror or error}") from error
    finally:
        remove(part)


def remove(path: Path) -> None:
    """Remove a file or a folder, if it is there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    elif path.exists() or path.is_symlink():
        path.unlink(missing_ok=True)


def write_bytes(path: Path, content: bytes) -> None:
    """Write a small file whole.

    Raises
    ------
    OutputError
        Where it cannot be written.
    """
    with replacing(path) as part:
        part.write_bytes(content)
