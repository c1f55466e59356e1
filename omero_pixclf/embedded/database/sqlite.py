"""The SQLite database: concurrent readers, one writer at a time, one transaction per request."""

from __future__ import annotations

import json
import queue
import sqlite3
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from omero_pixclf.embedded.database.schema import create_statements, migration_statements
from omero_pixclf.embedded.server.fault_injection import FaultInjection

__all__ = ["SCHEMA_VERSION", "Database", "Transaction", "ids_parameter", "now_ms"]

SCHEMA_VERSION = 4
_WRITER_WAIT_S = 60.0
_LAST_WAIT_S = 5.0


def ids_parameter(ids: Iterable[int]) -> str:
    """Return ids as one SQL parameter for ``in (select value from json_each(?))``."""
    return json.dumps(list(ids))


class Transaction:
    """One request's transaction; changes are committed when its block ends without an exception."""

    def __init__(self, connection: sqlite3.Connection, writable: bool, faults: FaultInjection) -> None:
        self._connection = connection
        self.writable = writable
        self.shuffle = faults.shuffle
        self.unique_names: set[str] = set()  # names of inserted rows that must be unique
        self.was_inserted_meanwhile: Callable[[str], bool] = lambda name: (
            False
        )  # by another one, since this one was asked for
        self._next: dict[str, int] = {}
        self.after_commit: list[Callable[[], None]] = []
        self.cache: dict[Any, Any] = {}

    def execute(self, sql: str, values: Sequence[Any] | dict[str, Any] = ()) -> sqlite3.Cursor:
        """Run a statement; return a cursor on its rows."""
        return self._connection.execute(sql, values)

    def executemany(self, sql: str, rows: Iterable[Sequence[Any]]) -> None:
        """Run a statement once per row of values."""
        self._connection.executemany(sql, rows)

    def all(self, sql: str, values: Sequence[Any] | dict[str, Any] = ()) -> list[Any]:
        """Run a statement and return all rows."""
        return self._connection.execute(sql, values).fetchall()

    def one(self, sql: str, values: Sequence[Any] | dict[str, Any] = ()) -> Any:
        """Run a statement and return the first row, or None."""
        return self._connection.execute(sql, values).fetchone()

    def new_id(self, table: str) -> int:
        """Return the next id of a table; ids are never reused."""
        return self.new_ids(table, 1)

    def new_ids(self, table: str, count: int) -> int:
        """Reserve ``count`` consecutive ids and return the first."""
        if table not in self._next:
            row = self.one("SELECT next FROM sequence WHERE name = ?", (table,))
            self._next[table] = row[0] if row else 1
        self._next[table] += count
        return self._next[table] - count

    def _store_ids(self) -> None:
        rows = list(self._next.items())
        self.executemany(
            "INSERT INTO sequence VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET next = excluded.next", rows
        )


class Database:
    """The server's database file."""

    def __init__(self, path: Path, faults: FaultInjection | None = None) -> None:
        self.path = path
        self._faults = faults or FaultInjection()
        self._idle: queue.SimpleQueue[sqlite3.Connection] = queue.SimpleQueue()
        self._writer_lock = threading.Lock()
        self._committed: dict[str, float] = {}  # commit times of unique names since the start
        self._writer = self._connect()
        self._all = [self._writer]
        version = self._writer.execute("PRAGMA user_version").fetchone()[0]
        if version < SCHEMA_VERSION:
            self._migrate(create_statements() if version == 0 else migration_statements(version))

    def _connect(self) -> sqlite3.Connection:
        made = sqlite3.connect(
            self.path, isolation_level=None, check_same_thread=False, cached_statements=512, timeout=_WRITER_WAIT_S
        )
        made.execute("PRAGMA journal_mode = WAL")
        made.execute("PRAGMA synchronous = NORMAL")
        made.execute("PRAGMA case_sensitive_like = ON")
        made.execute("PRAGMA cache_size = -32000")
        made.create_function("lower", 1, _lower, deterministic=True)
        made.create_function("upper", 1, _upper, deterministic=True)
        return made

    def _migrate(self, changes: Iterable[str]) -> None:
        """Create missing tables and indexes in one transaction."""
        self._writer.execute("BEGIN IMMEDIATE")
        for statement in changes:
            self._writer.execute(statement)
        self._writer.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
        self._writer.execute("COMMIT")

    @contextmanager
    def reading(self) -> Iterator[Transaction]:
        """Open a read-only transaction with a consistent view."""
        try:
            connection = self._idle.get_nowait()
        except queue.Empty:
            connection = self._connect()
            self._all.append(connection)
        try:
            connection.execute("BEGIN")
            try:
                yield Transaction(connection, writable=False, faults=self._faults)
            finally:
                connection.execute("ROLLBACK")
        finally:
            self._idle.put(connection)

    @contextmanager
    def writing(self, wait_s: float = _WRITER_WAIT_S, asked_at: float | None = None) -> Iterator[Transaction]:
        """Open a transaction that can write; committed at the end, rolled back after an exception.

        ``asked_at`` is the monotonic time at which the request arrived, by default now. Raises TimeoutError if another
        request writes for longer than ``wait_s``.
        """
        begun = time.monotonic() if asked_at is None else asked_at
        if not self._writer_lock.acquire(timeout=wait_s):
            raise TimeoutError(f"another request has been writing to the database for {wait_s:g} s; try again later")
        try:
            self._writer.execute("BEGIN IMMEDIATE")
            transaction = Transaction(self._writer, writable=True, faults=self._faults)
            transaction.was_inserted_meanwhile = lambda name: self._committed.get(name, begun) > begun
            try:
                yield transaction
                transaction._store_ids()
                self._writer.execute("COMMIT")
                self._committed.update(dict.fromkeys(transaction.unique_names, time.monotonic()))
            except BaseException:
                if self._writer.in_transaction:
                    self._writer.execute("ROLLBACK")
                raise
        finally:
            self._writer_lock.release()
        for action in transaction.after_commit:
            action()

    def close(self) -> None:
        """Close all connections; waits a few seconds for the writer, whose uncommitted changes are lost."""
        held = self._writer_lock.acquire(timeout=_LAST_WAIT_S)
        try:
            for connection in self._all:
                connection.close()
        finally:
            if held:
                self._writer_lock.release()


def now_ms() -> int:
    """Return the milliseconds since 1970."""
    return int(time.time() * 1000)


def _lower(value: Any) -> Any:
    return value.lower() if isinstance(value, str) else value


def _upper(value: Any) -> Any:
    return value.upper() if isinstance(value, str) else value
