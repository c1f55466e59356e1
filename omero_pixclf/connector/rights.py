"""Whether this user may write results somewhere, asked before any work."""

from __future__ import annotations

from typing import Any

from omero_pixclf.connector.hierarchy import parse_key
from omero_pixclf.connector.session import ALL_GROUPS, Session
from omero_pixclf.errors import MissingError, NotAllowedError, ServerError, UnreachableError
from omero_pixclf.image import ImageInfo

__all__ = ["refusal"]

_LEVELS = {
    "rw----": "private",
    "rwr---": "read-only",
    "rwra--": "read-annotate",
    "rwrw--": "read-write",
}


def refusal(session: Session, image: ImageInfo, *, links: bool = False) -> str | None:
    """Why this user may not write results for an image, or None.

    Asks the image, the container that will get its tables, and, with ``links``, whether images may be put into its
    dataset.
    """
    for key in dict.fromkeys((image.key, image.place.container)):
        try:
            stored = _get(session, key)
        except UnreachableError:
            raise
        except (MissingError, NotAllowedError, ServerError) as error:
            return f"{key}: not visible to {session.user_name} ({error})"
        rights = stored.details.permissions
        if not rights.canAnnotate():
            return _because(session, key, "annotate")
        if links and key.startswith("Dataset:") and not rights.canLink():
            return _because(session, key, "put images into")
    return None


def _get(session: Session, key: str) -> Any:
    kind, ident = parse_key(key)
    return session.read(key, lambda sf: sf.getQueryService().get(kind, ident, session.context(ALL_GROUPS)))


def _because(session: Session, key: str, verb: str) -> str:
    kind, ident = parse_key(key)
    hql = f"select o.omeName, g.name, g.id from {kind} x join x.details.owner o join x.details.group g where x.id = :id"
    owner, group, number = session.rows(hql, id=ident)[0]
    stored = session.read(f"group {group}", lambda sf: sf.getAdminService().getGroup(number).details.permissions)
    level = _LEVELS.get(str(stored), str(stored))
    return f"{key}: {session.user_name} may not {verb} what belongs to {owner} in the {level} group {group}"
