"""The tables of a container: store them with their ledger entry, attach, read, and remove rows of undone images."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

import numpy as np

from omero_pixclf.connector.results.annotations import find_entry_files
from omero_pixclf.connector.results.delete import delete_objects
from omero_pixclf.connector.results.ledger import (
    RUN_NS,
    TABLES_NS,
    LedgerEntry,
    close_entry,
    find_entries,
    find_entries_on,
    format_table_name,
    open_entry,
)
from omero_pixclf.connector.results.table_links import (
    attach_to_container,
    attach_to_images,
    describe_table_location,
    find_attached,
    warn_of_other_tables,
)
from omero_pixclf.connector.results.tables import BULK_NS, OBJECTS_NS, read_table, write_table
from omero_pixclf.connector.sessions.session import Session
from omero_pixclf.provenance import RunRecord
from omero_pixclf.table import Column, Table

__all__ = [
    "OBJECT_TABLE",
    "attach_latest_summary_only",
    "close_table_entry",
    "drop_empty_columns",
    "find_stored_tables",
    "load_tables",
    "remove_images_from_tables",
    "store_tables",
]

_NAMESPACES = {"summary": BULK_NS, "objects": OBJECTS_NS}
_NAMES = {namespace: name for name, namespace in _NAMESPACES.items()}
OBJECT_TABLE = "Object table"
"""Key of a container's ledger entry with the location of its object table."""


def store_tables(
    session: Session, entry: LedgerEntry, tables: Mapping[str, Table], *, replaced: Mapping[str, int] | None = None
) -> dict[str, int]:
    """Store and attach a container's ``"summary"`` and ``"objects"`` tables; return their FileAnnotations' ids.

    The summary is attached to the container, the object table to its images (`connector.results.table_links`).
    ``replaced``: FileAnnotations of tables under the same entry that these tables will replace.
    """
    written: dict[str, int] = {}
    container, images = entry.record.image, _list_image_ids(tables)
    for name, table in tables.items():
        # An image without a container has both tables itself: OMERO.parade does not look there.
        beside = name != "summary" and not container.startswith("Image:")
        written[name] = write_table(
            session,
            container,
            drop_empty_columns(table),
            group=entry.group,
            name=format_table_name(entry, name, str((replaced or {}).get(name, ""))),
            namespace=_NAMESPACES.get(name, OBJECTS_NS),
            description=entry.mark,
            attach=not beside,
        )
        if beside:
            attach_to_images(session, written[name], images, group=entry.group)
    return written


def _list_image_ids(tables: Mapping[str, Table]) -> set[int]:
    """Return the ids of all images that have rows in the tables."""
    columns = [c for table in tables.values() for c in table.columns if c.name == "Image"]
    return {int(i) for column in columns for i in np.unique(column.values).tolist()}


def close_table_entry(
    session: Session, entry: LedgerEntry, record: RunRecord, written: Mapping[str, int]
) -> LedgerEntry:
    """Mark a container's entry as complete and add the location of its object table."""
    more = [(OBJECT_TABLE, describe_table_location(session, written["objects"]))] if "objects" in written else []
    return close_entry(session, entry, record, more)


def attach_latest_summary_only(session: Session, container: str) -> None:
    """Of all this user's tables, attach only the latest summary to the container itself.

    The others, including those that earlier versions attached there, are attached to the images that have rows in
    them. Tables of other users stay and are logged, because OMERO.parade may show one of them instead.
    """
    if container.startswith("Image:"):
        return
    complete = [e for e in find_entries_on(session, TABLES_NS, container) if e.record.state == "complete"]
    # Ordered by run, not by entry: the rest of an older run's tables is stored under a new entry.
    entries = sorted(complete, key=lambda e: (e.record.started, e.annotation), reverse=True)
    tables = [(entry, find_stored_tables(session, entry)) for entry in entries]
    offered = next((stored["summary"] for _, stored in tables if "summary" in stored), None)
    if offered is None:
        return
    others = [annotation for _, stored in tables for annotation in stored.values() if annotation != offered]
    standing = find_attached(session, container, others)
    for entry, stored in tables:
        for annotation in (a for a in stored.values() if a in standing):
            attach_to_images(session, annotation, _read_image_ids(session, entry), group=entry.group)
    attach_to_container(session, container, offered, others, group=entries[0].group)
    warn_of_other_tables(session, container, [offered, *others])


def drop_empty_columns(table: Table) -> Table:
    """Return the table without columns that have no value for any image."""
    return Table(tuple(column for column in table.columns if not _is_empty(column)))


def _is_empty(column: Column) -> bool:
    return column.kind == "double" and len(column.values) > 0 and not np.isfinite(column.values).any()


def find_stored_tables(session: Session, entry: LedgerEntry) -> dict[str, int]:
    """Return the names of the tables of a container's entry and their FileAnnotations (the newest of several)."""
    found = find_entry_files(session, entry.mark)
    if not found:
        return {}
    hql = "select a.ns, a.id from FileAnnotation a where a.id in (:ids) order by a.id"
    return {_NAMES[space]: int(ident) for space, ident in session.query_rows(hql, ids=found) if space in _NAMES}


def load_tables(session: Session, entry: LedgerEntry) -> dict[str, Table]:
    """Read the tables of a container's entry; return them by name."""
    return {name: read_table(session, i) for name, i in find_stored_tables(session, entry).items()}


def remove_images_from_tables(
    session: Session, recipe: str, images: Collection[int], *, run_id: str
) -> list[LedgerEntry]:
    """Remove the rows of some images from this user's tables of a recipe, on every container.

    If tables of the run ``run_id`` itself also have rows of other images, these rows are stored under a new entry of
    the run that created the newest of them; the caller removes the entries of ``run_id``. Entries of other runs whose
    tables would become empty (runs that only wrote tables for images of ``run_id``) are returned for removal.
    """
    emptied = []
    everything = find_entries(session)
    makers = {e.record.image: e.record for e in reversed(everything) if _is_complete_entry_of(e, RUN_NS, recipe)}
    for entry in everything:
        if not _is_complete_entry_of(entry, TABLES_NS, recipe):
            continue
        own, listed = entry.record.run_id == run_id, _read_image_ids(session, entry)
        if not (listed - set(images) if own else listed & set(images)):
            continue  # no row remains, or no row is removed
        rest = {name: _drop_images(table, images) for name, table in load_tables(session, entry).items()}
        if own:
            _store_for_newest_run(session, entry, rest, makers)
        elif listed <= set(images):
            emptied.append(entry)
        else:
            _replace_tables(session, entry, rest)
            attach_latest_summary_only(session, entry.record.image)
    return emptied


def _is_complete_entry_of(entry: LedgerEntry, namespace: str, recipe: str) -> bool:
    said = entry.record
    return entry.namespace == namespace and said.recipe == recipe and said.state == "complete"


def _read_image_ids(session: Session, entry: LedgerEntry) -> set[int]:
    """Return the images with rows in a container's summary table, which has a row for each image."""
    standing = find_stored_tables(session, entry)
    return set(read_table(session, standing["summary"])["Image"].tolist()) if "summary" in standing else set()


def _drop_images(table: Table, images: Collection[int]) -> Table:
    return table.take(~np.isin(table["Image"], list(images))) if "Image" in table else table


def _list_image_keys(rest: Mapping[str, Table]) -> list[str]:
    return [f"Image:{i}" for table in rest.values() if "Image" in table for i in np.unique(table["Image"]).tolist()]


def _store_for_newest_run(
    session: Session, entry: LedgerEntry, rest: Mapping[str, Table], makers: Mapping[str, RunRecord]
) -> None:
    """Store the remaining rows of an undone run's tables under an entry of the newest run that created one."""
    left = [
        makers[key] for key in _list_image_keys(rest) if key in makers and makers[key].run_id != entry.record.run_id
    ]
    if not left:
        return
    newest = max(left, key=lambda r: r.started)
    record = replace(newest, image=entry.record.image, state="running", objects={}, uncertainty=None)
    opened = open_entry(session, TABLES_NS, record)
    written = store_tables(session, opened, rest)
    close_table_entry(session, opened, replace(record, state="complete"), written)


def _replace_tables(session: Session, entry: LedgerEntry, rest: Mapping[str, Table]) -> None:
    """Replace an entry's tables by their remaining rows; store the new tables before deleting the old."""
    standing = find_stored_tables(session, entry)
    written = store_tables(session, entry, rest, replaced=standing)
    close_table_entry(session, entry, entry.record, written)
    old: Sequence[int] = list(standing.values())
    delete_objects(session, "FileAnnotation", old, group=entry.group)
