"""Rows of annotation namespaces, as a trigger of OMERO's database inserts them."""

from __future__ import annotations

from collections.abc import Iterable

from omero_pixclf.embedded.database.sqlite import Transaction
from omero_pixclf.embedded.server.exceptions import validation_error

__all__ = ["insert_namespaces"]


def insert_namespaces(tx: Transaction, names: Iterable[str | None]) -> None:
    """Insert the rows of new namespaces of annotations that are saved.

    Raises
    ------
    omero.ValidationException
        Another session has inserted a namespace while this request was waiting. On a real server both find no row,
        and the second insert fails; clients save again.
    """
    for name in {name for name in names if name is not None} - tx.unique_names:
        if tx.one("SELECT 1 FROM namespace WHERE name = ?", (name,)) is None:
            tx.execute("INSERT INTO namespace (id, name) VALUES (?, ?)", (tx.new_id("namespace"), name))
            tx.unique_names.add(name)
        elif tx.was_inserted_meanwhile(name):
            raise validation_error(
                f"could not insert: [ome.model.annotations.Annotation]; constraint [namespace_name]: {name!r} was made "
                "by another session at the same time"
            )
