"""Attach a container's tables where OMERO.web and OMERO.parade look for them.

Both list all attachments of type OMERO.tables of a container, of any namespace, in an order that changes from call to
call, and OMERO.parade uses the first. Therefore only one table of a user is attached to a container itself: the
summary of the recipe that was applied last. Object tables, and the summaries of earlier recipes, are attached to the
images that have rows in them; the image's panel lists them and opens them with their links to ROIs.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from omero_pixclf.connector.hierarchy import parse_key
from omero_pixclf.connector.paging import split_into_pages
from omero_pixclf.connector.results.annotations import make_link, make_reference
from omero_pixclf.connector.results.delete import delete_objects
from omero_pixclf.connector.sessions.exceptions import make_missing_error
from omero_pixclf.connector.sessions.session import Session
from omero_pixclf.text import pluralize

__all__ = [
    "WEB_HOST",
    "attach_to_container",
    "attach_to_images",
    "describe_table_location",
    "find_attached",
    "log",
    "warn_of_other_tables",
]

log = logging.getLogger(__name__)

WEB_HOST = "omero.client.web.host"
"""Server setting with the address of OMERO.web; often not set."""


def attach_to_images(session: Session, annotation: int, images: Iterable[int], *, group: int) -> None:
    """Link an annotation to those images that exist and are not linked to it yet."""
    for page in split_into_pages(sorted(set(images))):

        def save(factory: Any, page: Sequence[int] = page) -> None:
            links = [
                make_link(f"Image:{image}", make_reference("FileAnnotation", annotation))
                for image in _find_unlinked_images(session, annotation, page)
            ]
            if links:
                factory.getUpdateService().saveArray(links)

        session.write(
            f"FileAnnotation:{annotation}: attaching it to {pluralize(len(page), 'image')}", save, group=group
        )


def _find_unlinked_images(session: Session, annotation: int, images: Sequence[int]) -> list[int]:
    there = session.query_ids("select i.id from Image i where i.id in (:ids)", ids=images)
    linked = session.query_ids(
        "select l.parent.id from ImageAnnotationLink l where l.child.id = :annotation and l.parent.id in (:ids)",
        annotation=annotation,
        ids=images,
    )
    return sorted(set(there) - set(linked))


def attach_to_container(
    session: Session, container: str, annotation: int, others: Sequence[int], *, group: int
) -> None:
    """Attach a table to its container and detach this user's other tables, which must have other links."""
    kind, ident = parse_key(container)

    def save(factory: Any) -> None:
        # Checked in each attempt: another process, or an attempt whose answer was lost, may have attached it.
        if not find_attached(session, container, [annotation]):
            factory.getUpdateService().saveObject(make_link(container, make_reference("FileAnnotation", annotation)))

    session.write(f"{container}: attaching FileAnnotation:{annotation}", save, group=group)
    going = [number for number, _ in _find_links(session, kind, ident, others)] if others else []
    delete_objects(session, f"{kind}AnnotationLink", going, group=group)


def _find_links(session: Session, kind: str, ident: int, annotations: Sequence[int]) -> Iterator[tuple[int, int]]:
    hql = f"select l.id, l.child.id from {kind}AnnotationLink l where l.parent.id = :id and l.child.id in (:ids)"
    yield from ((int(a), int(b)) for a, b in session.query_rows(hql, id=ident, ids=list(annotations)))


def find_attached(session: Session, container: str, annotations: Sequence[int]) -> list[int]:
    """Return which of these annotations are attached to a container itself."""
    kind, ident = parse_key(container)
    return sorted({child for _, child in _find_links(session, kind, ident, annotations)}) if annotations else []


def warn_of_other_tables(session: Session, container: str, known: Sequence[int]) -> None:
    """Log tables of other users or programs on a container: OMERO.parade may show one of them instead."""
    kind, ident = parse_key(container)
    rows = session.query_rows(
        f"select a.id, f.name from FileAnnotation a join a.file f where f.mimetype = 'OMERO.tables' and a.id in "
        f"(select l.child.id from {kind}AnnotationLink l where l.parent.id = :id) order by a.id",
        id=ident,
    )
    others = [f"FileAnnotation:{number} ({name})" for number, name in rows if number not in known]
    if others:
        log.warning(
            "%s: also has %s of other users or programs (%s); OMERO.parade shows only one table, and not always the "
            "same one. To see this run's table, remove the others from the container",
            container,
            pluralize(len(others), "table"),
            ", ".join(others),
        )


def describe_table_location(session: Session, annotation: int) -> str:
    """Where OMERO.web shows a table, as an address if the server says where OMERO.web is, else in words.

    Raises
    ------
    MissingError
        Where there is no such annotation, or it is not visible.
    """
    files = session.query_ids("select a.file.id from FileAnnotation a where a.id = :id", id=annotation)
    if not files:
        raise make_missing_error("FileAnnotation", annotation)
    said = session.read("client settings", lambda sf: sf.getConfigService().getClientConfigValues())
    host = str(said.get(WEB_HOST) or "").rstrip("/")
    if host.startswith(("http://", "https://")):
        return f"{host}/webclient/omero_table/{files[0]}/"
    return f"FileAnnotation:{annotation}, among the attachments of each image"
