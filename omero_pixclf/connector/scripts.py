"""Scripts on a server: install, replace, find, read the parameters."""

from __future__ import annotations

import posixpath
from dataclasses import dataclass
from typing import Any

from omero.model import OriginalFileI
from omero.rtypes import unwrap

from omero_pixclf.connector.sessions.session import Session
from omero_pixclf.errors import NotAllowedError

__all__ = ["InstalledScript", "ScriptParameter", "find_script", "install_script", "script_parameters"]


@dataclass(frozen=True)
class InstalledScript:
    """A script on the server.

    Attributes
    ----------
    change
        ``installed``, ``updated`` or ``unchanged``; empty if it was only looked up.
    """

    ident: int
    path: str
    text: str
    change: str = ""


@dataclass(frozen=True)
class ScriptParameter:
    """A parameter of a script as plain Python values."""

    name: str
    default: Any
    values: tuple[Any, ...]
    description: str


def find_script(session: Session, path: str, *, official: bool = True) -> InstalledScript | None:
    """Return the official script at a path such as ``"omero_pixclf/Pixel_Classification.py"``, or this user's own."""
    folder, name = posixpath.split(path)
    files = session.read("listing scripts", lambda sf: _list_scripts(sf, session, official))
    ids = [int(f.id.val) for f in files if f.name.val == name and f.path.val.strip("/") == folder.strip("/")]
    if not ids:
        return None
    newest = max(ids)  # the list is not ordered
    text = session.read(f"{path}: reading", lambda sf: sf.getScriptService().getScriptText(newest))
    return InstalledScript(newest, path, text)


def _list_scripts(factory: Any, session: Session, official: bool) -> Any:
    service = factory.getScriptService()
    if official:
        return service.getScripts()
    from omero.model import ExperimenterI

    return service.getUserScripts([ExperimenterI(session.user_id, False)])


def install_script(session: Session, path: str, text: str, *, official: bool = True) -> InstalledScript:
    """Install a script for all users (official) or for this user; one at the same path is replaced.

    Raises
    ------
    NotAllowedError
        The user is no administrator and wants to install for all users.
    """
    if official and not session.is_admin:
        raise NotAllowedError(
            f"{session.user_name} is no administrator; only administrators can install scripts for all users. Ask one, "
            "or install it for yourself: omero-pixclf script install --own"
        )
    standing = find_script(session, path, official=official)
    if standing is None:
        return InstalledScript(_upload_script(session, path, text, official), path, text, "installed")
    if standing.text == text:
        return InstalledScript(standing.ident, path, text, "unchanged")
    file = OriginalFileI(standing.ident, False)
    session.write(f"{path}: replacing", lambda sf: sf.getScriptService().editScript(file, text), group=session.group_id)
    return InstalledScript(standing.ident, path, text, "updated")


def _upload_script(session: Session, path: str, text: str, official: bool) -> int:
    def upload(factory: Any) -> int:
        service = factory.getScriptService()
        return int((service.uploadOfficialScript if official else service.uploadScript)(path, text))

    return session.write_once(f"{path}: uploading", upload, group=session.group_id)


def script_parameters(session: Session, ident: int) -> list[ScriptParameter]:
    """Return the parameters of a script as the server reports them, in the order of the form."""
    found = session.read("script parameters", lambda sf: sf.getScriptService().getParams(ident))
    ordered = sorted(found.inputs.items(), key=lambda item: (item[1].grouping, item[0]))
    return [
        ScriptParameter(
            name,
            unwrap(p.prototype) if p.useDefault else None,
            tuple(unwrap(p.values) or ()),
            p.description or "",
        )
        for name, p in ordered
    ]
