"""Find and remove results without a ledger entry, by their own marks.

A server still executes the request of a client that has died, possibly after the next run has looked for unfinished
results. Marks are saved together with the objects. So results without an entry, or under an entry of a dead process,
are found later: before an image is completed, when its container is completed, and when a run is undone.
"""

from __future__ import annotations

import logging
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence

from omero_pixclf.connector.hierarchy import parse_key
from omero_pixclf.connector.paging import split_into_pages
from omero_pixclf.connector.query_patterns import prefix_pattern, substring_pattern
from omero_pixclf.connector.results.delete import delete_objects, filter_own
from omero_pixclf.connector.results.ledger import (
    RUN_NS,
    TABLES_NS,
    LedgerEntry,
    find_unfinished_entries,
    is_written_elsewhere,
    parse_mark,
)
from omero_pixclf.connector.sessions.session import Session
from omero_pixclf.connector.upload import RESULTS_MARK

__all__ = [
    "count_roi_marks",
    "find_abandoned_entries",
    "find_orphan_marks",
    "list_container_images",
    "log",
    "remove_orphans",
    "remove_orphans_of_run",
]

log = logging.getLogger(__name__)


_MEMBERS = {
    "Dataset": "select l.child.id from DatasetImageLink l where l.parent.id = :id order by l.child.id",
    "Plate": "select s.image.id from WellSample s where s.well.plate.id = :id order by s.image.id",
}


def list_container_images(session: Session, container: str) -> list[int]:
    """Return the ids of the images in a container that gets tables: a dataset, a plate, or the image itself."""
    kind, ident = parse_key(container)
    return session.query_ids(_MEMBERS[kind], id=ident) if kind in _MEMBERS else [ident] if kind == "Image" else []


def count_roi_marks(session: Session, images: Sequence[int]) -> Counter[str]:
    """Count this user's ROIs on some images by their mark."""
    found: Counter[str] = Counter()
    for page in split_into_pages(images):
        hql = (
            "select r.description, count(r.id) from Roi r where r.image.id in (:ids) and r.details.owner.id = :owner "
            "and r.description like :marked group by r.description"
        )
        for mark, count in session.query_rows(hql, ids=page, owner=session.user_id, marked=prefix_pattern(RUN_NS)):
            found[mark] += int(count)
    return found


def find_orphan_marks(session: Session, marks: Iterable[str]) -> list[str]:
    """Return which of these texts are marks of entries that no longer exist."""
    parsed = {text: mark for text in set(marks) if (mark := parse_mark(text)) is not None}
    if not parsed:
        return []
    standing = set(filter_own(session, "MapAnnotation", [mark.annotation for mark in parsed.values()]))
    return sorted(text for text, mark in parsed.items() if mark.annotation not in standing)


def find_abandoned_entries(session: Session, images: Sequence[int], recipe: str) -> list[LedgerEntry]:
    """Return the incomplete entries of a recipe on images that no running process writes."""
    return [
        e
        for e in find_unfinished_entries(session, images)
        if e.record.recipe == recipe and not is_written_elsewhere(session, e)
    ]


def remove_orphans(session: Session, container: str, images: Sequence[int], *, group: int) -> Counter[str]:
    """Remove results without an entry from a container and its images; return counts by kind."""
    gone: Counter[str] = Counter()
    if lost := find_orphan_marks(session, count_roi_marks(session, images)):
        rois = [i for page in split_into_pages(images) for i in _find_rois_with_marks(session, page, lost)]
        gone["Roi"] = delete_objects(session, "Roi", rois, group=group)
    files = _find_image_files(session, images) | _find_container_files(session)
    lost = find_orphan_marks(session, files.values())
    gone["FileAnnotation"] = delete_objects(
        session, "FileAnnotation", [i for i, m in files.items() if m in lost], group=group
    )
    gone["Image"] = delete_objects(session, "Image", _find_empty_images(session, container), group=group)
    for of_group, tables in _find_orphan_tables(session).items():
        gone["OriginalFile"] += delete_objects(session, "OriginalFile", tables, group=of_group)
    _log_removed(container, gone)
    return +gone


def _log_removed(place: str, gone: Mapping[str, int]) -> None:
    listed = ", ".join(f"{count} of {kind}" for kind, count in gone.items() if count)
    if listed:
        log.warning("%s: removed results that the server stored after their run was killed: %s", place, listed)


def _find_rois_with_marks(session: Session, images: Sequence[int], marks: Sequence[str]) -> list[int]:
    hql = "select r.id from Roi r where r.image.id in (:ids) and r.description in (:marks) and r.details.owner.id = :me"
    return session.query_ids(hql, ids=list(images), marks=list(marks), me=session.user_id)


def _find_container_files(session: Session) -> dict[int, str]:
    """Return this user's tables and pictures of containers with their marks, including unattached ones."""
    rows = session.query_rows(
        "select a.id, a.description from FileAnnotation a where a.details.owner.id = :owner "
        "and a.description like :marked",
        owner=session.user_id,
        marked=prefix_pattern(f"{TABLES_NS} "),
    )
    return {int(ident): text for ident, text in rows}


def _find_image_files(session: Session, images: Sequence[int]) -> dict[int, str]:
    """Return this user's attachments of images that carry a mark, with the mark."""
    found: dict[int, str] = {}
    for page in split_into_pages(images):
        rows = session.query_rows(
            "select a.id, a.description from ImageAnnotationLink l join l.child a where l.parent.id in (:ids) "
            "and a.details.owner.id = :owner and a.description like :marked",
            ids=page,
            owner=session.user_id,
            marked=prefix_pattern(RUN_NS),
        )
        found.update({int(ident): text for ident, text in rows})
    return found


def _find_empty_images(session: Session, container: str) -> list[int]:
    """Return result images of a container that have neither pixel data nor an entry.

    Complete ones may be kept on purpose (`omero_pixclf.connector.results.undo`: other users drew on them).
    """
    kind, ident = parse_key(container)
    where = "l.parent.id = :id" if kind == "Dataset" else "l.parent.description = :text"
    named = {"id": ident} if kind == "Dataset" else {"text": f"{RESULTS_MARK}{container}"}
    rows = session.query_rows(
        "select i.id, i.description from DatasetImageLink l join l.child i join i.pixels p "
        f"where {where} and i.details.owner.id = :owner and i.description like :marked and p.sha1 = 'Pending...'",
        owner=session.user_id,
        marked=prefix_pattern(RUN_NS),
        **named,
    )
    lost = find_orphan_marks(session, [text for _, text in rows])
    return [int(i) for i, text in rows if text in lost]


def remove_orphans_of_run(session: Session, run_id: str) -> Counter[str]:
    """Remove this user's ROIs and files with a mark of a run from all objects; return counts by kind."""
    gone: Counter[str] = Counter()
    for kind in ("Roi", "FileAnnotation"):
        for group, ids in _find_marked_objects(session, kind, run_id).items():
            gone[kind] += delete_objects(session, kind, ids, group=group)
    tables = [(group, ident) for group, ident, run, _ in _list_table_files(session, run_id) if run == run_id]
    for group, ids in _group_ids(tables).items():  # only files without annotations are left: those were removed above
        gone["OriginalFile"] += delete_objects(session, "OriginalFile", ids, group=group)
    return +gone


_TABLE = re.compile(  # `omero_pixclf.connector.results.ledger.format_table_name`, and as version 0.1 named tables
    r"(?:.*_|omero_pixclf_)(?P<run>\d{8}T\d{6}-[0-9a-f]{6})_(?P<annotation>\d+)(?:(?:\.\d+)?\.h5|_.*)", re.DOTALL
)


def _list_table_files(session: Session, part: str) -> Iterator[tuple[int, int, str, int]]:
    """Yield group, file id, run and entry id of this user's tables whose names contain a text."""
    rows = session.query_rows(
        "select f.details.group.id, f.id, f.name from OriginalFile f where f.mimetype = 'OMERO.tables' "
        "and f.name like :named and f.details.owner.id = :owner order by f.id",
        named=substring_pattern(part),
        owner=session.user_id,
    )
    for group, ident, name in rows:
        if found := _TABLE.fullmatch(name):
            yield int(group), int(ident), found["run"], int(found["annotation"])


def _find_orphan_tables(session: Session) -> dict[int, list[int]]:
    """Return table files without entry and annotation, by group: the server stored them too late."""
    found = list(_list_table_files(session, ""))
    standing = set(filter_own(session, "MapAnnotation", [entry for *_, entry in found]))
    lost = [(group, ident) for group, ident, _, entry in found if entry not in standing]
    kept: set[int] = set()
    for page in split_into_pages([ident for _, ident in lost]):
        kept.update(session.query_ids("select a.file.id from FileAnnotation a where a.file.id in (:ids)", ids=page))
    return _group_ids([(group, ident) for group, ident in lost if ident not in kept])


def _group_ids(found: Iterable[tuple[int, int]]) -> dict[int, list[int]]:
    made: dict[int, list[int]] = {}
    for group, ident in found:
        made.setdefault(group, []).append(ident)
    return made


def _find_marked_objects(session: Session, kind: str, run_id: str) -> dict[int, list[int]]:
    found: list[tuple[int, int]] = []
    for namespace in (RUN_NS, TABLES_NS):
        rows = session.query_rows(
            f"select x.details.group.id, x.id, x.description from {kind} x where x.details.owner.id = :owner "
            "and x.description like :marked order by x.id",
            owner=session.user_id,
            marked=prefix_pattern(f"{namespace} {run_id} #"),
        )
        for group, ident, text in rows:
            mark = parse_mark(text)
            if mark is not None and mark.run_id == run_id:
                found.append((int(group), int(ident)))
    return _group_ids(sorted(set(found)))
