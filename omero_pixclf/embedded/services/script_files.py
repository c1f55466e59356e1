"""Files of scripts: paths, mimetypes, text and checksums, and the selection by owner or group."""

from __future__ import annotations

import hashlib
import posixpath
from typing import Any

import omero.model

from omero_pixclf.embedded.database.sqlite import now_ms
from omero_pixclf.embedded.server.exceptions import validation_error
from omero_pixclf.embedded.server.jobs import Script
from omero_pixclf.embedded.server.request_context import RequestContext
from omero_pixclf.embedded.storage.data_paths import file_path

__all__ = ["digest", "is_accepted", "owner_conditions", "script_mimetype", "split_path", "write_script"]

_TYPES = {".py": "text/x-python", ".jy": "text/x-jython", ".m": "text/x-matlab", ".lut": "text/x-lut"}


def split_path(path: str) -> tuple[str, str]:
    """Return folder (with a final slash) and name of a script's path."""
    folder, name = posixpath.split(posixpath.normpath("/" + path.strip("/")))
    return folder.rstrip("/") + "/", name


def script_mimetype(name: str) -> str:
    """Return the mimetype for a script's file name; text/plain for unknown extensions."""
    return _TYPES.get(posixpath.splitext(name)[1], "text/plain")


def digest(text: str) -> tuple[str, int]:
    """Return SHA-1 and size in bytes of a script's text."""
    data = text.encode()
    return hashlib.sha1(data, usedforsecurity=False).hexdigest(), len(data)


def write_script(call: RequestContext, ident: int, text: str) -> None:
    """Store a script's text, checksum and size."""
    sha1, size = digest(text)
    path = file_path(call.folder, ident)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8", newline="")
    call.tx.execute(
        "UPDATE originalfile SET hash = ?, size = ?, mtime = ?, "
        "hasher = (SELECT id FROM checksumalgorithm WHERE value = 'SHA1-160') WHERE id = ?",
        (sha1, size, now_ms(), ident),
    )


def owner_conditions(accepts: list[Any]) -> tuple[list[str], list[Any]]:
    """Return SQL conditions on the owner or group of files, and their values."""
    conditions, values = [], []
    for found in accepts or []:
        if isinstance(found, omero.model.Experimenter):
            conditions.append("owner_id = ?")
        elif isinstance(found, omero.model.ExperimenterGroup):
            conditions.append("group_id = ?")
        else:
            raise validation_error(f"Unsupported accept-type: {found}")
        values.append(found.id.val)
    return conditions, values


def is_accepted(script: Script, accepts: list[Any]) -> bool:
    """Whether a script belongs to all of the users and groups."""
    owned = {omero.model.ExperimenterI: script.owner, omero.model.ExperimenterGroupI: script.group}
    return all(owned.get(type(a)) == a.id.val for a in accepts)
