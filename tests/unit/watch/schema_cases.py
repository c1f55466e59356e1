"""Databases of several schema versions, and what tests of the upgrade look at, for SQLite and PostgreSQL."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sqlalchemy import Column, Connection, Engine, Integer, MetaData, String, Table, inspect, text

from omero_pixclf.watch.migrations import upgrade_schema

__all__ = [
    "MIGRATIONS",
    "TABLES",
    "create_version_1",
    "describe_schema",
    "open_at_once",
    "upgrade_lease",
]

TABLES = MetaData()
"""The tables after `MIGRATIONS`, in place of the program's own."""
Table(
    "lease",
    TABLES,
    Column("container", String(200), primary_key=True),
    Column("holder", String(32), nullable=False),
    Column("place", String(200), nullable=False),
    Column("pid", Integer, nullable=False),
    Column("renewals", Integer, nullable=False),
    Column("priority", Integer, nullable=False, server_default="5"),
)


def upgrade_lease(connection: Connection) -> None:
    """Add a column: fails if it is called twice."""
    connection.execute(text("alter table lease add column priority integer default 5 not null"))


def _rename_beat(connection: Connection) -> None:
    connection.execute(text("alter table lease rename column beat to renewals"))


MIGRATIONS = (upgrade_lease, _rename_beat)


def create_version_1(engine: Engine) -> None:
    """Create a database as the program left it before there were schema versions."""
    script = Path(__file__).with_name("version_1.sql").read_text(encoding="utf-8")
    lines = [line for line in script.splitlines() if not line.startswith("--")]
    with engine.begin() as connection:
        for statement in "\n".join(lines).split(";"):
            if statement.strip():
                connection.execute(text(statement))


def describe_schema(engine: Engine) -> dict[str, Any]:
    """Return columns, keys and indexes of all tables."""
    found = inspect(engine)
    return {
        table: (
            sorted((c["name"], repr(c["type"]), c["nullable"]) for c in found.get_columns(table)),
            found.get_pk_constraint(table)["constrained_columns"],
            sorted((i["name"], i["column_names"], bool(i["unique"])) for i in found.get_indexes(table)),
        )
        for table in found.get_table_names()
    }


def open_at_once(count: int, make_engine: Callable[[], Engine], **options: Any) -> list[Exception]:
    """Let several threads upgrade a database at the same moment, each with an engine of its own; returns the errors."""
    start, errors = threading.Barrier(count), []

    def upgrade() -> None:
        engine = make_engine()
        start.wait()
        try:
            upgrade_schema(engine, name="state", **options)
        except Exception as error:  # noqa: BLE001 - every error is a failure of the test that called
            errors.append(error)
        finally:
            engine.dispose()

    threads = [threading.Thread(target=upgrade) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return errors
