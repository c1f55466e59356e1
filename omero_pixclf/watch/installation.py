"""The identity of a watcher's installation: a file in its runs folder."""

from __future__ import annotations

import os
import uuid
from pathlib import Path

from omero_pixclf.errors import OutputError

__all__ = ["installation_id"]

_FILE = ".installation-id"
_LENGTH = 32


def installation_id(folder: Path) -> str:
    """Return the id of the installation that keeps its runs in a folder; the first call creates it.

    A container gets a new host name with every update, but keeps its volume: the watcher that has the volume can
    resume the runs in it. Watchers that start at the same time get the same id.

    Raises
    ------
    OutputError
        If the folder cannot be written, or the file in it does not contain an id.
    """
    path = folder / _FILE
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        if not path.exists():
            _publish(path, uuid.uuid4().hex)
        found = path.read_text(encoding="ascii", errors="replace").strip()
    except OSError as error:
        raise OutputError(
            f"{path}: the watcher's id cannot be written: {error.strerror}. Make {folder} writable, or set `runs` "
            "under [service] to another folder"
        ) from error
    if len(found) != _LENGTH or not found.isalnum():
        raise OutputError(
            f"{path}: not a watcher's id (expected {_LENGTH} letters and digits). Remove the file; the next start "
            "creates a new one"
        )
    return found


def _publish(path: Path, content: str) -> None:
    """Create a file with its whole content, unless another process was first."""
    draft = path.with_name(f"{path.name}.{uuid.uuid4().hex}")
    draft.write_text(content, encoding="ascii")
    try:
        os.link(draft, path)  # fails if the file exists, so all processes read the same content
    except FileExistsError:
        pass
    except OSError:  # a file system without hard links
        draft.replace(path)
        return
    draft.unlink(missing_ok=True)
