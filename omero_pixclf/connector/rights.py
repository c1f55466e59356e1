"""Whether this user may write results somewhere, asked before any work."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from omero_pixclf.connector.hierarchy import parse_key
from omero_pixclf.connector.session import ALL_GROUPS, Session
from omero_pixclf.errors import NotAllowedError

__all__ = ["refusal"]

_LEVELS = {
    "rw----": "private",
    "rwr---": "read-only",
    "rwra--": "read-annotate",
    "rwrw--": "read-write",
}


def refusal(session: Session, key: str, *, links: bool = False) -> str | None:
    """Why this user may not write results on an object such as ``"Image:51"``, or None.

    With ``links``, whether images may be put into it is asked as well, where it is a dataset.
    """
    found = None
    with suppress(NotAllowedError):
        found = _found(session, key)
    if found is None:
        return f"{key}: not on the server, or not visible to {session.user_name}"
    rights = found.details.permissions
    if not rights.canAnnotate():
        return _because(session, key, "annotate")
    if links and key.startswith("Dataset:") and not rights.canLink():
        return _because(session, key, "put images into")
    return None


def _found(session: Session, key: str) -> Any:
    kind, ident = parse_key(key)
    return session.read(key, lambda sf: sf.getQueryService().find(kind, ident, session.context(ALL_GROUPS)))


def _because(session: Session, key: str, verb: str) -> str:
    kind, ident = parse_key(key)
    hql = f"select o.omeName, g.name, g.id from {kind} x join x.details.owner o join x.details.group g where x.id = :id"
    owner, group, number = session.rows(hql, id=ident)[0]
    stored = session.read(f"group {group}", lambda sf: sf.getAdminService().getGroup(number).details.permissions)
    level = _LEVELS.get(str(stored), str(stored))
    return f"{key}: {session.user_name} may not {verb} what belongs to {owner} in the {level} group {group}"
