"""Annotations of containers: link them, and tell those of this program from others."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import omero.clients  # must be imported before other modules of omero
import omero.model
from omero.rtypes import rstring

from omero_pixclf.connector.hierarchy import parse_key
from omero_pixclf.connector.sessions.exceptions import make_missing_error
from omero_pixclf.connector.sessions.session import Session
from omero_pixclf.errors import UsageError

__all__ = [
    "ANNOTATABLE",
    "find_entry_files",
    "find_group",
    "find_marked_files",
    "make_file_annotation",
    "make_link",
    "make_reference",
]

ANNOTATABLE = ("Image", "Dataset", "Project", "Plate", "Screen", "Well")


def make_reference(kind: str, ident: int) -> Any:
    """Return an unloaded reference to a stored object."""
    return getattr(omero.model, f"{kind}I")(ident, False)


def make_link(key: str, annotation: Any) -> Any:
    """Return an unsaved link from the object ``"Dataset:7"`` to an annotation; saving it saves a new annotation, too.

    Raises
    ------
    UsageError
        The kind of object cannot be annotated here.
    """
    kind, ident = parse_key(key)
    if kind not in ANNOTATABLE:
        raise UsageError(f"{key}: expected one of {', '.join(ANNOTATABLE)}")
    made = getattr(omero.model, f"{kind}AnnotationLinkI")()
    made.parent, made.child = make_reference(kind, ident), annotation
    return made


def find_group(session: Session, key: str) -> int:
    """Return the id of an object's group.

    Raises
    ------
    MissingError
        The object does not exist or is not visible.
    """
    kind, ident = parse_key(key)
    found = session.query_ids(f"select x.details.group.id from {kind} x where x.id = :id", id=ident)
    if not found:
        raise make_missing_error(kind, ident)
    return found[0]


def make_file_annotation(namespace: str, description: str, file: Any) -> Any:
    """Return an unsaved FileAnnotation."""
    annotation = omero.model.FileAnnotationI()
    annotation.ns, annotation.description = rstring(namespace), rstring(description)
    annotation.file = file
    return annotation


def find_marked_files(session: Session, key: str, mark: str) -> list[int]:
    """Return this user's FileAnnotations on an object that carry a run's mark."""
    kind, ident = parse_key(key)
    return _keep_file_annotations(
        session,
        session.query_ids(
            f"select a.id from {kind}AnnotationLink l join l.child a where l.parent.id = :parent "
            "and a.description = :mark and a.details.owner.id = :owner order by a.id",
            parent=ident,
            mark=mark,
            owner=session.user_id,
        ),
    )


def find_entry_files(session: Session, mark: str) -> list[int]:
    """Return this user's FileAnnotations that carry a run's mark, attached to any object or to none."""
    return session.query_ids(
        "select a.id from FileAnnotation a where a.description = :mark and a.details.owner.id = :owner order by a.id",
        mark=mark,
        owner=session.user_id,
    )


def _keep_file_annotations(session: Session, annotations: Sequence[int]) -> list[int]:
    if not annotations:
        return []
    return session.query_ids(
        "select f.id from FileAnnotation f where f.id in (:ids) order by f.id", ids=list(annotations)
    )
