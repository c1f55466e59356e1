"""The tables of a container: stored under its ledger entry, attached, read back, and freed of images undone."""

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
"""The key of a container's entry that says where its object table is."""


def store_tables(
    session: Session, entry: LedgerEntry, tables: Mapping[str, Table], *, replaced: Mapping[str, int] | None = None
) -> dict[str, int]:
    """Store and attach a container's ``"summary"`` and ``"objects"`` tables; returns their FileAnnotations' ids.

    The summary is attached to the container, the object table to its images (`connector.results.table_links`).
    ``replaced``: the FileAnnotations of tables under the same entry that these will replace.
    """
    written: dict[str, int] = {}
    container, images = entry.record.image, _list_image_ids(tables)
    for name, table in tables.items():
        # An image without a container has its tables on itself: nobody looks there for the first of several.
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
    """The ids of all images with rows in some tables."""
    columns = [c for table in tables.values() for c in table.columns if c.name == "Image"]
    return {int(i) for column in columns for i in np.unique(column.values).tolist()}


def close_table_entry(
    session: Session, entry: LedgerEntry, record: RunRecord, written: Mapping[str, int]
) -> LedgerEntry:
    """Complete a container's entry, which then says where its object table is."""
    more = [(OBJECT_TABLE, describe_table_location(session, written["objects"]))] if "objects" in written else []
    return close_entry(session, entry, record, more)


def attach_latest_summary_only(session: Session, container: str) -> None:
    """Leave, of all this user's tables, only the summary stored last attached to a container itself.

    Others, also those that earlier versions put there, are attached to the images with rows in them. What belongs to
    other people stays where it is, and is logged: OMERO.parade may show it instead.
    """
    if container.startswith("Image:"):
        return
    complete = [e for e in find_entries_on(session, TABLES_NS, container) if e.record.state == "complete"]
    # By the run, not by the entry: what remains of an older run's tables is stored under a new entry.
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
    """The table without the columns that have no value: no image of the container has that number."""
    return Table(tuple(column for column in table.columns if not _is_empty(column)))


def _is_empty(column: Column) -> bool:
    return column.kind == "double" and len(column.values) > 0 and not np.isfinite(column.values).any()


def find_stored_tables(session: Session, entry: LedgerEntry) -> dict[str, int]:
    """The tables of a container's entry: what each is called, and its FileAnnotation (the newest, if there are two)."""
    found = find_entry_files(session, entry.mark)
    if not found:
        return {}
    hql = "select a.ns, a.id from FileAnnotation a where a.id in (:ids) order by a.id"
    return {_NAMES[space]: int(ident) for space, ident in session.query_rows(hql, ids=found) if space in _NAMES}


def load_tables(session: Session, entry: LedgerEntry) -> dict[str, Table]:
    """The tables of a container's entry, by what they are called."""
    return {name: read_table(session, i) for name, i in find_stored_tables(session, entry).items()}


def remove_images_from_tables(
    session: Session, recipe: str, images: Collection[int], *, run_id: str
) -> list[LedgerEntry]:
    """Take the rows of these images out of this user's tables of a recipe, on every container.

    Where other images' rows remain in tables of the run ``run_id`` itself, they are stored anew under an entry of the
    run that made the newest of them; the run's own entries stay to be removed by the caller. So do those of other runs
    in whose tables nothing would remain (a run that only wrote tables for what this one had done): they are returned.
    """
    emptied = []
    everything = find_entries(session)
    makers = {e.record.image: e.record for e in reversed(everything) if _is_complete_entry_of(e, RUN_NS, recipe)}
    for entry in everything:
        if not _is_complete_entry_of(entry, TABLES_NS, recipe):
            continue
        own, listed = entry.record.run_id == run_id, _read_image_ids(session, entry)
        if not (listed - set(images) if own else listed & set(images)):
            continue  # nothing remains, or nothing goes
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
    """The images with rows in a container's summary table (and so in all its tables)."""
    standing = find_stored_tables(session, entry)
    return set(read_table(session, standing["summary"])["Image"].tolist()) if "summary" in standing else set()


def _drop_images(table: Table, images: Collection[int]) -> Table:
    return table.take(~np.isin(table["Image"], list(images))) if "Image" in table else table


def _list_image_keys(rest: Mapping[str, Table]) -> list[str]:
    return [f"Image:{i}" for table in rest.values() if "Image" in table for i in np.unique(table["Image"]).tolist()]


def _store_for_newest_run(
    session: Session, entry: LedgerEntry, rest: Mapping[str, Table], makers: Mapping[str, RunRecord]
) -> None:
    """Store what remains of an undone run's tables for the newest run that made a row of it."""
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
    """Replace an entry's tables by what remains of them, new before old goes."""
    standing = find_stored_tables(session, entry)
    written = store_tables(session, entry, rest, replaced=standing)
    close_table_entry(session, entry, entry.record, written)
    old: Sequence[int] = list(standing.values())
    delete_objects(session, "FileAnnotation", old, group=entry.group)
