"""Undo a run: remove exactly what it wrote, except new images on which others have drawn ROIs."""

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

__all__ = ["find_made_images", "log", "remove_results", "undo"]

log = logging.getLogger(__name__)


def find_made_images(session: Session, entry: LedgerEntry) -> list[int]:
    """Return the images that a run created: linked to its entry, with its mark in their description.

    Neither alone is enough. People link a run's key-value pairs to their own images. OMERO's Duplicate copies both the
    pairs and the description, but links the copy of an image to the copy of the pairs.
    """
    return [image for image, description in _find_linked_images(session, entry) if _has_mark(description, entry.mark)]


def _find_linked_images(session: Session, entry: LedgerEntry) -> list[tuple[int, str]]:
    """Return this user's images that are linked to an entry, except its source image, with their descriptions."""
    rows = session.query_rows(
        "select i.id, i.description from ImageAnnotationLink l join l.parent i where l.child.id = :entry "
        "and i.id <> :source and i.details.owner.id = :owner order by i.id",
        entry=entry.annotation,
        source=parse_key(entry.record.image)[1] if entry.record.image.startswith("Image:") else 0,
        owner=session.user_id,
    )
    return [(int(image), description or "") for image, description in rows]


def _has_mark(description: str, mark: str) -> bool:
    """Whether a description starts with a mark; ``#123`` does not start with the mark ``#12``."""
    return description.startswith(mark) and not description[len(mark) : len(mark) + 1].isdigit()


def remove_results(session: Session, entry: LedgerEntry) -> Counter[str]:
    """Remove what an entry's run wrote on its object and finally the entry; return counts by kind of object.

    Result images on which other users drew are kept; their descriptions still name the run that created them.
    """
    kind, ident = parse_key(entry.record.image)
    gone: Counter[str] = Counter()
    gone += _remove_images(session, find_made_images(session, entry), entry.group)
    if kind == "Image":
        gone["Roi"] = delete_objects(session, "Roi", find_marked_rois(session, ident, entry.mark), group=entry.group)
    tables = entry.namespace == TABLES_NS  # their files are also attached to images
    files = (
        find_entry_files(session, entry.mark) if tables else find_marked_files(session, entry.record.image, entry.mark)
    )
    gone["FileAnnotation"] = delete_objects(session, "FileAnnotation", files, group=entry.group)
    if tables:
        remove_tables(session, partial(is_table_of, entry), part=entry.record.run_id, group=entry.group)
    gone["MapAnnotation"] = delete_objects(session, "MapAnnotation", [entry.annotation], group=entry.group)
    return +gone


def _remove_images(session: Session, images: Sequence[int], group: int) -> Counter[str]:
    """Remove images that a run created, and datasets that were created for such images and are now empty."""
    kept = find_images_with_foreign_rois(session, images)
    for image in kept:
        log.warning("Image:%d: kept, because other users drew ROIs on it", image)
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

    Tables that also have rows of other runs' images lose only the rows of the undone images. Result images on which
    other users have drawn are kept; after those ROIs are deleted, undoing the run again removes the images.

    Raises
    ------
    MissingError
        This user has no run of that id.
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
    for group, of_group in marked.items():  # kept by an earlier undo
        gone += _remove_images(session, filter_own(session, "Image", of_group), group)
    gone += remove_orphans_of_run(session, run_id)
    for entry in _find_own_entries(session, run_id):  # stored late by the server, for a killed run
        gone += remove_results(session, entry)
    if not entries and not marked and not gone:
        raise MissingError(
            f"run {run_id}: the server has no results of it by {session.user_name}; `omero-pixclf runs list` shows "
            "your runs"
        )
    kept = [f"Image:{i}: other users drew ROIs on it" for i in filter_own(session, "Image", made)]
    kept += [f"Image:{i}: its description does not name the run" for i in filter_own(session, "Image", linked)]
    return UndoResult(dict(gone), tuple(kept))


def _find_own_entries(session: Session, run_id: str) -> list[LedgerEntry]:
    """Return the entries that a run wrote, without copies that were made together with copies of its images."""
    entries = find_entries(session, run_id)
    genuine = find_original_entries(session, {e.annotation: e.record.image for e in entries if e.namespace == RUN_NS})
    return [e for e in entries if e.namespace != RUN_NS or e.annotation in genuine]


def _find_images_by_description(session: Session, run_id: str) -> dict[int, list[int]]:
    """Return the images that a run created, by group, found by descriptions, which remain when entries are removed.

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
    """Return the ledger entries, and copies of entries, that are linked to each image."""
    if not images:
        return {}
    hql = (
        "select l.parent.id, a.id from ImageAnnotationLink l join l.child a where l.parent.id in (:ids) and a.ns = :ns"
    )
    found: dict[int, set[int]] = {}
    for image, entry in session.query_rows(hql, ids=list(images), ns=RUN_NS):
        found.setdefault(int(image), set()).add(int(entry))
    return found
