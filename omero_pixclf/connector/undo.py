"""Taking back exactly what a run wrote."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from omero_pixclf.connector.attachments import marked_files
from omero_pixclf.connector.hierarchy import parse_key
from omero_pixclf.connector.ledger import RUN_NS, TABLES_NS, Entry, entries_of, table_prefix
from omero_pixclf.connector.removal import remove
from omero_pixclf.connector.rois import rois_marked
from omero_pixclf.connector.session import Session
from omero_pixclf.connector.standing import forget_images
from omero_pixclf.connector.tables import remove_tables
from omero_pixclf.connector.upload import RESULTS_MARK
from omero_pixclf.errors import MissingError

__all__ = ["made_images", "remove_results", "undo"]


def made_images(session: Session, entry: Entry) -> list[int]:
    """The images that a run made from another one; they are linked to its entry."""
    return session.ids(
        "select i.id from ImageAnnotationLink l join l.parent i where l.child.id = :entry and i.id <> :source "
        "and i.details.owner.id = :owner order by i.id",
        entry=entry.annotation,
        source=parse_key(entry.record.image)[1] if entry.record.image.startswith("Image:") else 0,
        owner=session.user_id,
    )


def remove_results(session: Session, entry: Entry) -> Counter[str]:
    """Remove what an entry's run wrote on its object and, last, the entry; returns counts by kind of object."""
    kind, ident = parse_key(entry.record.image)
    gone: Counter[str] = Counter()
    gone["Image"], gone["Dataset"] = _remove_images(session, entry)  # first: others' drawings on them may forbid it
    if kind == "Image":
        gone["Roi"] = remove(session, "Roi", rois_marked(session, ident, entry.mark), group=entry.group)
    files = marked_files(session, entry.record.image, entry.mark)
    gone["FileAnnotation"] = remove(session, "FileAnnotation", files, group=entry.group)
    if entry.namespace == TABLES_NS:
        remove_tables(session, table_prefix(entry), group=entry.group)
    gone["MapAnnotation"] = remove(session, "MapAnnotation", [entry.annotation], group=entry.group)
    return +gone


def _remove_images(session: Session, entry: Entry) -> tuple[int, int]:
    """Remove what `made_images` lists, and the datasets that were made for such images and are empty now."""
    images = made_images(session, entry)
    if not images:
        return 0, 0
    made = session.ids(
        "select d.id from DatasetImageLink l join l.parent d where l.child.id in (:images) "
        "and d.description like :mark",
        images=images,
        mark=f"{RESULTS_MARK}%",
    )
    gone = remove(session, "Image", images, group=entry.group)
    still = (
        session.ids("select l.parent.id from DatasetImageLink l where l.parent.id in (:ids)", ids=made) if made else []
    )
    return gone, remove(session, "Dataset", sorted(set(made) - set(still)), group=entry.group)


def undo(session: Session, run_id: str) -> Mapping[str, int]:
    """Remove everything that one of this user's runs wrote, and nothing else; returns counts by kind of object.

    Tables that also hold rows of other runs' images lose only the rows of the images undone.

    Raises
    ------
    MissingError
        Where this user has no run of that id.
    NotAllowedError
        Where others drew on an image that the run made; what else belongs to that image's entry stays, too.
    """
    entries = entries_of(session, run_id)
    if not entries:
        raise MissingError(f"run {run_id}: nothing of it by {session.user_name} is on the server")
    gone: Counter[str] = Counter()
    images = [e for e in entries if e.namespace == RUN_NS]
    for entry in images:
        gone += remove_results(session, entry)
    undone = {parse_key(e.record.image)[1] for e in images}
    for recipe in sorted({e.record.recipe for e in entries}):
        forget_images(session, recipe, undone, run_id=run_id)
    for entry in entries:
        if entry.namespace == TABLES_NS:
            gone += remove_results(session, entry)
    return dict(gone)
