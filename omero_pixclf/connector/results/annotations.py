"""What hangs on a container: how annotations are linked, and how a run's own are told from others."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import omero.clients  # first: the other modules of omero are complete only after it
import omero.model
from omero.rtypes import rstring

from omero_pixclf.connector.hierarchy import parse_key
from omero_pixclf.connector.sessions.exceptions import missing
from omero_pixclf.connector.sessions.session import Session
from omero_pixclf.errors import UsageError

__all__ = ["file_annotation", "files_of_entry", "group_of", "link", "marked_files", "unloaded"]

ANNOTATED = ("Image", "Dataset", "Project", "Plate", "Screen", "Well")


def unloaded(kind: str, ident: int) -> Any:
    """A reference to a stored object."""
    return getattr(omero.model, f"{kind}I")(ident, False)


def link(key: str, annotation: Any) -> Any:
    """A link, not saved, from the object ``"Dataset:7"`` to an annotation, which is saved with it if it is new.

    Raises
    ------
    UsageError
        For a kind of object that has no annotations here.
    """
    kind, ident = parse_key(key)
    if kind not in ANNOTATED:
        raise UsageError(f"{key}: expected one of {', '.join(ANNOTATED)}")
    made = getattr(omero.model, f"{kind}AnnotationLinkI")()
    made.parent, made.child = unloaded(kind, ident), annotation
    return made


def group_of(session: Session, key: str) -> int:
    """The group that an object belongs to.

    Raises
    ------
    MissingError
        Where it is not there or not visible.
    """
    kind, ident = parse_key(key)
    found = session.ids(f"select x.details.group.id from {kind} x where x.id = :id", id=ident)
    if not found:
        raise missing(kind, ident)
    return found[0]


def file_annotation(namespace: str, description: str, file: Any) -> Any:
    """A FileAnnotation, not saved."""
    annotation = omero.model.FileAnnotationI()
    annotation.ns, annotation.description = rstring(namespace), rstring(description)
    annotation.file = file
    return annotation


def marked_files(session: Session, key: str, mark: str) -> list[int]:
    """This user's FileAnnotations on an object that carry a run's mark."""
    kind, ident = parse_key(key)
    return _of_files(
        session,
        session.ids(
            f"select a.id from {kind}AnnotationLink l join l.child a where l.parent.id = :parent "
            "and a.description = :mark and a.details.owner.id = :owner order by a.id",
            parent=ident,
            mark=mark,
            owner=session.user_id,
        ),
    )


def files_of_entry(session: Session, mark: str) -> list[int]:
    """This user's FileAnnotations that carry a run's mark, wherever they are attached, or to nothing any more."""
    return session.ids(
        "select a.id from FileAnnotation a where a.description = :mark and a.details.owner.id = :owner order by a.id",
        mark=mark,
        owner=session.user_id,
    )


def _of_files(session: Session, annotations: Sequence[int]) -> list[int]:
    if not annotations:
        return []
    return session.ids("select f.id from FileAnnotation f where f.id in (:ids) order by f.id", ids=list(annotations))
