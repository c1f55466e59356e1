"""The identity of a watcher's installation: a file in its folder of runs, which outlives processes and host names."""

from __future__ import annotations

import os
import uuid
from pathlib import Path

from omero_pixclf.errors import OutputError

__all__ = ["installation_id"]

_FILE = ".installation-id"
_LENGTH = 32


def installation_id(folder: Path) -> str:
    """The id of the installation that keeps its runs in a folder; made on the first call.

    A container gets a new host name with every update, and its volume stays: whoever has the volume can resume the
    runs in it. Of watchers that start at the same moment, all get the same id.

    Raises
    ------
    OutputError
        Where the folder cannot be written, or the file in it is not an id.
    """
    path = folder / _FILE
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        if not path.exists():
            _publish(path, uuid.uuid4().hex)
        found = path.read_text(encoding="ascii", errors="replace").strip()
    except OSError as error:
        raise OutputError(
            f"{path}: the watcher's id cannot be kept: {error.strerror}; make {folder} writable, or name another "
            "folder as `runs` under [service]"
        ) from error
    if len(found) != _LENGTH or not found.isalnum():
        raise OutputError(f"{path}: is not a watcher's id; remove it, and the next start makes a new one")
    return found


def _publish(path: Path, content: str) -> None:
    """Write a file whole, unless another process was first."""
    draft = path.with_name(f"{path.name}.{uuid.uuid4().hex}")
    draft.write_text(content, encoding="ascii")
    try:
        os.link(draft, path)  # fails where it is there: one content for all
    except FileExistsError:
        pass
    except OSError:  # a file system without hard links
        draft.replace(path)
        return
    draft.unlink(missing_ok=True)
