"""Taking back exactly what a run wrote, but for images on which others have drawn: their drawings would go, too."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence
from functools import partial

from omero_pixclf.connector.hierarchy import parse_key
from omero_pixclf.connector.query_patterns import prefix_pattern
from omero_pixclf.connector.results.annotations import find_entry_files, find_marked_files
from omero_pixclf.connector.results.container_tables import attach_latest_summary_only, remove_images_from_tables
from omero_pixclf.connector.results.delete import delete_objects, filter_own, find_images_with_foreign_rois
from omero_pixclf.connector.results.ledger import RUN_NS, TABLES_NS, LedgerEntry, find_entries, is_table_of
from omero_pixclf.connector.results.orphans import remove_orphans_of_run
from omero_pixclf.connector.results.result_images import find_original_entries
from omero_pixclf.connector.results.rois import find_marked_rois
from omero_pixclf.connector.results.tables import remove_tables
from omero_pixclf.connector.sessions.session import Session
from omero_pixclf.connector.upload import RESULTS_MARK
from omero_pixclf.errors import MissingError
from omero_pixclf.provenance import UndoResult

__all__ = ["find_made_images", "remove_results", "undo"]

log = logging.getLogger(__name__)


def find_made_images(session: Session, entry: LedgerEntry) -> list[int]:
    """The images that a run made from another one: linked to its entry, with its mark in their description.

    Neither alone proves it. People link a run's key-values to images of their own, and OMERO's Duplicate copies both
    the key-values and the description, but links the copy of an image to the copy of its key-values.
    """
    return [image for image, description in _find_linked_images(session, entry) if _has_mark(description, entry.mark)]


def _find_linked_images(session: Session, entry: LedgerEntry) -> list[tuple[int, str]]:
    """This user's images, other than its own one, that are linked to an entry, with their descriptions."""
    rows = session.query_rows(
        "select i.id, i.description from ImageAnnotationLink l join l.parent i where l.child.id = :entry "
        "and i.id <> :source and i.details.owner.id = :owner order by i.id",
        entry=entry.annotation,
        source=parse_key(entry.record.image)[1] if entry.record.image.startswith("Image:") else 0,
        owner=session.user_id,
    )
    return [(int(image), description or "") for image, description in rows]


def _has_mark(description: str, mark: str) -> bool:
    """Whether a description begins with a mark; ``#12`` is not the beginning of ``#123``."""
    return description.startswith(mark) and not description[len(mark) : len(mark) + 1].isdigit()


def remove_results(session: Session, entry: LedgerEntry) -> Counter[str]:
    """Remove what an entry's run wrote on its object and, last, the entry; returns counts by kind of object.

    Made images on which others drew stay, as images of this user's; their descriptions still say which run made them.
    """
    kind, ident = parse_key(entry.record.image)
    gone: Counter[str] = Counter()
    gone += _remove_images(session, find_made_images(session, entry), entry.group)
    if kind == "Image":
        gone["Roi"] = delete_objects(session, "Roi", find_marked_rois(session, ident, entry.mark), group=entry.group)
    tables = entry.namespace == TABLES_NS  # their attachments hang on images, too
    files = (
        find_entry_files(session, entry.mark) if tables else find_marked_files(session, entry.record.image, entry.mark)
    )
    gone["FileAnnotation"] = delete_objects(session, "FileAnnotation", files, group=entry.group)
    if tables:
        remove_tables(session, partial(is_table_of, entry), part=entry.record.run_id, group=entry.group)
    gone["MapAnnotation"] = delete_objects(session, "MapAnnotation", [entry.annotation], group=entry.group)
    return +gone


def _remove_images(session: Session, images: Sequence[int], group: int) -> Counter[str]:
    """Remove images that a run made, and the datasets that were made for such images and are empty now."""
    kept = find_images_with_foreign_rois(session, images)
    for image in kept:
        log.warning("Image:%d: stays, since others drew ROIs on it", image)
    going = [i for i in images if i not in kept]
    if not going:
        return Counter()
    made = session.query_ids(
        "select d.id from DatasetImageLink l join l.parent d where l.child.id in (:images) "
        "and d.description like :mark",
        images=going,
        mark=prefix_pattern(RESULTS_MARK),
    )
    gone = delete_objects(session, "Image", going, group=group)
    still = (
        session.query_ids("select l.parent.id from DatasetImageLink l where l.parent.id in (:ids)", ids=made)
        if made
        else []
    )
    empty = sorted(set(made) - set(still))
    return +Counter({"Image": gone, "Dataset": delete_objects(session, "Dataset", empty, group=group)})


def undo(session: Session, run_id: str) -> UndoResult:
    """Remove everything that one of this user's runs wrote, and nothing else.

    Tables that also hold rows of other runs' images lose only the rows of the images undone. Images that the run made
    and on which others have drawn stay; once those drawings are gone, undoing the run again removes them.

    Raises
    ------
    MissingError
        Where this user has no run of that id.
    """
    entries, marked = _find_own_entries(session, run_id), _find_images_by_description(session, run_id)
    gone: Counter[str] = Counter()
    images = [e for e in entries if e.namespace == RUN_NS]
    made = [i for e in images for i in find_made_images(session, e)] + [i for some in marked.values() for i in some]
    linked = [i for e in images for i, _ in _find_linked_images(session, e) if i not in made]
    for entry in images:
        gone += remove_results(session, entry)
    undone = {parse_key(e.record.image)[1] for e in images}
    tables = [e for e in entries if e.namespace == TABLES_NS]
    for recipe in sorted({e.record.recipe for e in entries}):
        tables += remove_images_from_tables(session, recipe, undone, run_id=run_id)
    for entry in tables:
        gone += remove_results(session, entry)
    for container in sorted({e.record.image for e in tables}):
        attach_latest_summary_only(session, container)
    for group, of_group in marked.items():  # kept by an earlier undoing
        gone += _remove_images(session, filter_own(session, "Image", of_group), group)
    gone += remove_orphans_of_run(session, run_id)
    for entry in _find_own_entries(session, run_id):  # stored late, by a server that a killed run had asked
        gone += remove_results(session, entry)
    if not entries and not marked and not gone:
        raise MissingError(
            f"run {run_id}: nothing of it by {session.user_name} is on the server; `omero-pixclf runs list` shows your "
            "runs"
        )
    kept = [f"Image:{i}: others drew ROIs on it" for i in filter_own(session, "Image", made)]
    kept += [
        f"Image:{i}: its description does not say that the run made it" for i in filter_own(session, "Image", linked)
    ]
    return UndoResult(dict(gone), tuple(kept))


def _find_own_entries(session: Session, run_id: str) -> list[LedgerEntry]:
    """The entries that a run wrote; those that came with copies of its images are the copies' own."""
    entries = find_entries(session, run_id)
    genuine = find_original_entries(session, {e.annotation: e.record.image for e in entries if e.namespace == RUN_NS})
    return [e for e in entries if e.namespace != RUN_NS or e.annotation in genuine]


def _find_images_by_description(session: Session, run_id: str) -> dict[int, list[int]]:
    """The images that a run made, by their descriptions, which last longer than its entries; by group.

    Copies of such images, which are linked to copies of their entry, are left out.
    """
    mark = f"{RUN_NS} {run_id} #"
    rows = session.query_rows(
        "select i.details.group.id, i.id, i.description from Image i where i.description like :mark "
        "and i.details.owner.id = :owner order by i.id",
        mark=prefix_pattern(mark),
        owner=session.user_id,
    )
    made = [(int(group), int(ident), text) for group, ident, text in rows if text.startswith(mark)]
    entries = _find_linked_entries(session, [ident for _, ident, _ in made])
    found: dict[int, list[int]] = {}
    for group, ident, text in made:
        if all(_has_mark(text, f"{mark}{entry}") for entry in entries.get(ident, ())):
            found.setdefault(group, []).append(ident)
    return found


def _find_linked_entries(session: Session, images: Sequence[int]) -> dict[int, set[int]]:
    """The ledger entries, and copies of entries, that are linked to each of some images."""
    if not images:
        return {}
    hql = (
        "select l.parent.id, a.id from ImageAnnotationLink l join l.child a where l.parent.id in (:ids) and a.ns = :ns"
    )
    found: dict[int, set[int]] = {}
    for image, entry in session.query_rows(hql, ids=list(images), ns=RUN_NS):
        found.setdefault(int(image), set()).add(int(entry))
    return found
