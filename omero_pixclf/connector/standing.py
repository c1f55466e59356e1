"""The tables that stand on a container: stored under its ledger entry, read back, and freed of images undone."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

import numpy as np

from omero_pixclf.connector.attachments import marked_files
from omero_pixclf.connector.ledger import RUN_NS, TABLES_NS, Entry, close_entry, entries_of, open_entry, table_prefix
from omero_pixclf.connector.removal import remove
from omero_pixclf.connector.session import Session
from omero_pixclf.connector.tables import BULK_NS, OBJECTS_NS, read_table, write_table
from omero_pixclf.record import RunRecord
from omero_pixclf.table import Column, Table

__all__ = ["forget_images", "load_tables", "showable", "store_table", "stored_tables"]

_NAMESPACES = {"summary": BULK_NS, "objects": OBJECTS_NS}


def store_table(session: Session, entry: Entry, name: str, table: Table, *, version: str = "") -> int:
    """Store a container's table of a name such as ``"summary"``; returns the FileAnnotation's id.

    A ``version`` keeps its file apart from that of a table which it replaces under the same entry.
    """
    return write_table(
        session,
        entry.record.image,
        showable(table),
        group=entry.group,
        name=f"{table_prefix(entry)}{name}{version}.h5",
        namespace=_NAMESPACES.get(name, OBJECTS_NS),
        description=entry.mark,
    )


def showable(table: Table) -> Table:
    """The table without the columns that have no value: no image of the container has that number."""
    return Table(tuple(column for column in table.columns if not _is_empty(column)))


def _is_empty(column: Column) -> bool:
    return column.kind == "double" and len(column.values) > 0 and not np.isfinite(column.values).any()


def stored_tables(session: Session, entry: Entry) -> dict[str, int]:
    """The tables of a container's entry: what each is called, and its FileAnnotation (the newest, if two stand)."""
    found = marked_files(session, entry.record.image, entry.mark)
    if not found:
        return {}
    prefix = table_prefix(entry)
    rows = session.rows("select a.file.name, a.id from FileAnnotation a where a.id in (:ids) order by a.id", ids=found)
    return {name.removeprefix(prefix).partition(".")[0]: int(i) for name, i in rows if name.startswith(prefix)}


def load_tables(session: Session, entry: Entry) -> dict[str, Table]:
    """The tables of a container's entry, by what they are called."""
    return {name: read_table(session, i) for name, i in stored_tables(session, entry).items()}


def forget_images(session: Session, recipe: str, images: Collection[int], *, run_id: str) -> None:
    """Take the rows of these images out of this user's tables of a recipe, on every container.

    Where other images' rows remain in tables of the run ``run_id`` itself, they are stored anew under an entry of the
    run that made the newest of them; the run's own entries stay to be removed by the caller.
    """
    everything = entries_of(session)
    makers = {e.record.image: e.record for e in reversed(everything) if _is_of(e, RUN_NS, recipe)}
    for entry in everything:
        if not _is_of(entry, TABLES_NS, recipe):
            continue
        own, listed = entry.record.run_id == run_id, _images_in(session, entry)
        if not (listed - set(images) if own else listed & set(images)):
            continue  # nothing remains, or nothing goes
        rest = {name: _without(table, images) for name, table in load_tables(session, entry).items()}
        if own:
            _hand_over(session, entry, rest, makers)
        else:
            _store_anew(session, entry, rest)


def _is_of(entry: Entry, namespace: str, recipe: str) -> bool:
    said = entry.record
    return entry.namespace == namespace and said.recipe == recipe and said.state == "complete"


def _images_in(session: Session, entry: Entry) -> set[int]:
    """The images with rows in a container's summary table (and so in all its tables)."""
    standing = stored_tables(session, entry)
    return set(read_table(session, standing["summary"])["Image"].tolist()) if "summary" in standing else set()


def _without(table: Table, images: Collection[int]) -> Table:
    return table.take(~np.isin(table["Image"], list(images))) if "Image" in table else table


def _remaining(rest: Mapping[str, Table]) -> list[str]:
    return [f"Image:{i}" for table in rest.values() if "Image" in table for i in np.unique(table["Image"]).tolist()]


def _hand_over(session: Session, entry: Entry, rest: Mapping[str, Table], makers: Mapping[str, RunRecord]) -> None:
    """Store what remains of an undone run's tables for the newest run that made a row of it."""
    left = [makers[key] for key in _remaining(rest) if key in makers and makers[key].run_id != entry.record.run_id]
    if not left:
        return
    newest = max(left, key=lambda r: r.started)
    record = replace(newest, image=entry.record.image, state="running", objects={}, uncertainty=None)
    opened = open_entry(session, TABLES_NS, record)
    for name, table in rest.items():
        store_table(session, opened, name, table)
    close_entry(session, opened, replace(record, state="complete"))


def _store_anew(session: Session, entry: Entry, rest: Mapping[str, Table]) -> None:
    """Replace an entry's tables by what remains of them, new before old goes."""
    standing = stored_tables(session, entry)
    for name, table in rest.items():
        store_table(session, entry, name, table, version=f".{standing[name]}")
    old: Sequence[int] = list(standing.values())
    remove(session, "FileAnnotation", old, group=entry.group)
