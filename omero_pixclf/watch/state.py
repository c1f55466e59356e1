"""The watcher's state database, which several watchers can share: failures, runs, pauses, leases.

Several watchers may share a database. Which images are due is not stored here; OMERO's ledger knows that.
"""

from __future__ import annotations

import os
import socket
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
from omero_pixclf.watch.migrations import upgrade_schema

__all__ = ["WatcherProcess", "failures", "leases", "open_state", "paused", "runs", "transaction", "watchers"]

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
class WatcherProcess:
    """A watcher process, as the holder of leases and heartbeats.

    Attributes
    ----------
    name
        Unique text, also among processes that have the same id one after the other.
    place
        Host and process namespace; processes in the same place can ask whether a process id exists.
    pid
        Process id.
    installation
        Id of the installation that owns the run folders (`omero_pixclf.watch.installation`); empty if the database
        serves a single one.
    """

    name: str
    place: str
    pid: int
    installation: str = ""

    @classmethod
    def current(cls, installation: str = "") -> WatcherProcess:
        """Return the calling process."""
        try:
            namespace = Path("/proc/self/ns/pid").readlink().name  # containers may share a host name, but not this
        except OSError:
            namespace = ""
        return cls(uuid.uuid4().hex, f"{socket.gethostname()} {namespace}".strip(), os.getpid(), installation)


def open_state(url: str) -> Engine:
    """Open the database at an SQLAlchemy URL; create it, or upgrade its schema, if necessary.

    Raises
    ------
    UsageError
        If the URL is invalid, its driver is not installed, or a newer version of this program has written the database.
    OutputError
        If the database cannot be reached or written.
    """
    try:
        address = make_url(url)
        shown = address.render_as_string(hide_password=True)
        is_sqlite = address.get_backend_name() == "sqlite"
        if is_sqlite and address.database:
            Path(address.database).parent.mkdir(parents=True, exist_ok=True)
        options = {"timeout": 30} if is_sqlite else {}
        engine = create_engine(address, connect_args=options, pool_pre_ping=not is_sqlite)
    except (SQLAlchemyError, ImportError) as error:
        raise UsageError(
            f"state database: {_first_line(error)}. Expected sqlite:////path or postgresql+psycopg://…"
        ) from error
    except OSError as error:
        raise OutputError(f"{url}: cannot create the folder: {error.strerror}") from error
    if is_sqlite:
        event.listen(engine, "connect", _use_write_ahead_log)
    try:
        engine.connect().close()  # report an unreachable database now
        upgrade_schema(engine, _metadata, shown)
    except SQLAlchemyError as error:
        raise OutputError(f"{shown}: cannot open the state database: {_first_line(error)}") from error
    return engine


def _use_write_ahead_log(connection: object, _: object) -> None:
    cursor = connection.cursor()  # type: ignore[attr-defined]
    cursor.execute("pragma journal_mode = wal")
    cursor.close()


@contextmanager
def transaction(engine: Engine) -> Iterator[Connection]:
    """Open a transaction: it is committed as a whole, or rolled back after an exception.

    Raises
    ------
    OutputError
        If the database reports an error.
    """
    try:
        with engine.begin() as connection:
            yield connection
    except SQLAlchemyError as error:
        raise OutputError(f"state database: {_first_line(error)}") from error


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0]
