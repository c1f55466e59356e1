"""Check whether this user may write results to an object."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from omero_pixclf.connector.hierarchy import parse_key
from omero_pixclf.connector.paging import split_into_pages
from omero_pixclf.connector.sessions.session import ALL_GROUPS, Session
from omero_pixclf.errors import NotAllowedError

__all__ = ["explain_refusal", "explain_refusals"]

_LEVELS = {
    "rw----": "private",
    "rwr---": "read-only",
    "rwra--": "read-annotate",
    "rwrw--": "read-write",
}


def explain_refusal(session: Session, key: str, *, links: bool = False) -> str | None:
    """Return why this user may not write results to an object such as ``"Image:51"``; None if allowed.

    With ``links``, also check whether images may be linked into it, if it is a dataset.
    """
    found = None
    with suppress(NotAllowedError):
        found = _find_object(session, key)
    return _explain_refusal(session, key, found, links=links)


def _explain_refusal(session: Session, key: str, found: Any, *, links: bool) -> str | None:
    if found is None:
        return (
            f"{key}: not on the server, or not visible to {session.user_name}; check the id, or log in as a user who "
            "can see it"
        )
    rights = found.details.permissions
    if not rights.canAnnotate():
        return _describe_refused_action(session, key, "annotate")
    if links and key.startswith("Dataset:") and not rights.canLink():
        return _describe_refused_action(session, key, "link images into")
    return None


def explain_refusals(session: Session, images: Sequence[str]) -> dict[str, str | None]:
    """Return `explain_refusal` of many images, by key, with one request per 500 images."""
    found: dict[str, Any] = {}
    for ids in split_into_pages([parse_key(key)[1] for key in images]):
        seen = session.query_objects("select i from Image i where i.id in (:ids)", ids=ids)
        found.update({f"Image:{image.id.val}": image for image in seen})
    return {key: _explain_refusal(session, key, found.get(key), links=False) for key in images}


def _find_object(session: Session, key: str) -> Any:
    kind, ident = parse_key(key)
    return session.read(key, lambda sf: sf.getQueryService().find(kind, ident), group=ALL_GROUPS)


def _describe_refused_action(session: Session, key: str, verb: str) -> str:
    kind, ident = parse_key(key)
    hql = f"select o.omeName, g.name, g.id from {kind} x join x.details.owner o join x.details.group g where x.id = :id"
    owner, group, number = session.query_rows(hql, id=ident)[0]
    stored = session.read(f"group {group}", lambda sf: sf.getAdminService().getGroup(number).details.permissions)
    level = _LEVELS.get(str(stored), str(stored))
    return (
        f"{key}: {session.user_name} may not {verb} objects of {owner} in the {level} group {group}; run as {owner}, "
        "or ask the group's owner to change the group's permissions"
    )
