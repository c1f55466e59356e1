"""What the watcher must remember, in a database that several watchers may share: failures, runs, pauses, leases.

What is due is not here: OMERO's ledger knows that.
"""

from __future__ import annotations

import os
import socket
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import (
    Boolean,
    Column,
    Connection,
    Engine,
    Float,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    create_engine,
    event,
    make_url,
)
from sqlalchemy.exc import SQLAlchemyError

from omero_pixclf.errors import OutputError, UsageError

__all__ = ["Holder", "failures", "leases", "open_state", "paused", "runs", "transaction", "watchers"]

_WAITS_S = (0.1, 0.5)  # "create if missing" of two at once fails for one of them
_metadata = MetaData()

leases = Table(
    "lease",
    _metadata,
    Column("container", String(200), primary_key=True),
    Column("holder", String(32), nullable=False),
    Column("place", String(200), nullable=False),
    Column("pid", Integer, nullable=False),
    Column("beat", Integer, nullable=False),
)
failures = Table(
    "failure",
    _metadata,
    Column("container", String(200), primary_key=True),
    Column("image", String(200), primary_key=True),
    Column("recipe", String(200), primary_key=True),
    Column("version", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("kind", String(10), nullable=False),
    Column("reason", Text, nullable=False),
    Column("retry_at", Float, nullable=False),
)
runs = Table(
    "run",
    _metadata,
    Column("run_id", String(40), primary_key=True),
    Column("container", String(200), nullable=False, index=True),
    Column("name", Text, nullable=False),
    Column("recipe", String(200), nullable=False),
    Column("recipe_hash", String(64), nullable=False),
    Column("origin", Text, nullable=False),
    Column("place", String(200), nullable=False),
    Column("folder", Text, nullable=False),
    Column("state", String(12), nullable=False),
    Column("started", Float, nullable=False),
    Column("ended", Float),
    Column("images", Integer, nullable=False),
    Column("done", Integer, nullable=False),
    Column("failed", Integer, nullable=False),
    Column("message", Text, nullable=False),
    Column("sheet", Text, nullable=False),
)
paused = Table("pause", _metadata, Column("container", String(200), primary_key=True))
watchers = Table(
    "watcher",
    _metadata,
    Column("holder", String(32), primary_key=True),
    Column("place", String(200), nullable=False),
    Column("pid", Integer, nullable=False),
    Column("beaten", Float, nullable=False),
    Column("passes", Integer, nullable=False),
    Column("healthy", Boolean, nullable=False),
    Column("message", Text, nullable=False),
)


@dataclass(frozen=True)
class Holder:
    """One watcher process.

    Attributes
    ----------
    name
        Unique, also among processes that have the same number after each other.
    place
        The host and its space of process numbers: within one place, whether a process lives can be asked.
    site
        The installation that the process belongs to (`omero_pixclf.watch.installation`), which has the run folders;
        "" where the database serves a single one.
    """

    name: str
    place: str
    pid: int
    site: str = ""

    @classmethod
    def this_process(cls, site: str = "") -> Holder:
        """The process that calls."""
        try:
            space = Path("/proc/self/ns/pid").readlink().name  # containers may share a host name, not this
        except OSError:
            space = ""
        return cls(uuid.uuid4().hex, f"{socket.gethostname()} {space}".strip(), os.getpid(), site)


def open_state(url: str) -> Engine:
    """The database at an SQLAlchemy URL, with its tables; made where it is missing.

    Raises
    ------
    UsageError
        Where the URL cannot be understood or its driver is not installed.
    OutputError
        Where the database cannot be reached or written.
    """
    try:
        address = make_url(url)
        shown = address.render_as_string(hide_password=True)
        lite = address.get_backend_name() == "sqlite"
        if lite and address.database:
            Path(address.database).parent.mkdir(parents=True, exist_ok=True)
        engine = create_engine(address, connect_args={"timeout": 30} if lite else {}, pool_pre_ping=not lite)
    except (SQLAlchemyError, ImportError) as error:
        raise UsageError(
            f"state database: {str(error).splitlines()[0]}; write sqlite:////path or postgresql+psycopg://…"
        ) from error
    except OSError as error:
        raise OutputError(f"{url}: the folder cannot be made: {error.strerror}") from error
    if lite:
        event.listen(engine, "connect", _write_ahead)
    try:
        engine.connect().close()  # one that cannot be reached is told at once
        _make_tables(engine)
    except SQLAlchemyError as error:
        raise OutputError(f"{shown}: the state database cannot be opened: {_first_line(error)}") from error
    return engine


def _make_tables(engine: Engine) -> None:
    """Make the tables that are missing; where another watcher makes them at the same time, these are found then."""
    for wait in (*_WAITS_S, None):
        try:
            _metadata.create_all(engine)
        except SQLAlchemyError:
            if wait is None:
                raise
            time.sleep(wait)
        else:
            return


def _write_ahead(connection: object, _: object) -> None:
    cursor = connection.cursor()  # type: ignore[attr-defined]
    cursor.execute("pragma journal_mode = wal")
    cursor.close()


@contextmanager
def transaction(engine: Engine) -> Iterator[Connection]:
    """One transaction, whole or not at all.

    Raises
    ------
    OutputError
        Where the database fails.
    """
    try:
        with engine.begin() as connection:
            yield connection
    except SQLAlchemyError as error:
        raise OutputError(f"state database: {_first_line(error)}") from error


def _first_line(error: SQLAlchemyError) -> str:
    return str(error).splitlines()[0]
