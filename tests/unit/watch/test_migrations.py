"""Schema versions of the state database in SQLite: created, upgraded as a whole or not at all, refused if newer."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Connection, Engine, create_engine, event, inspect, text
from sqlalchemy.exc import OperationalError

from omero_pixclf.errors import UsageError
from omero_pixclf.watch.backoff import Backoff, FailureTable
from omero_pixclf.watch.heartbeats import list_watchers
from omero_pixclf.watch.leases import Leases
from omero_pixclf.watch.migrations import FIRST_VERSION, MIGRATIONS, schema_version, upgrade_schema
from omero_pixclf.watch.protocols import ContainerImages
from omero_pixclf.watch.run_table import PauseTable, RunTable
from omero_pixclf.watch.state import WatcherProcess, leases, open_state
from tests.unit.watch import schema_cases as cases

NEWEST = FIRST_VERSION + len(MIGRATIONS)
HERE = WatcherProcess("b", "here", 2, "installation")


def connect(url: str) -> Engine:
    """Open a database as the program does, without looking at its schema."""
    engine = create_engine(url, connect_args={"timeout": 30})
    event.listen(engine, "connect", lambda connection, _: connection.execute("pragma journal_mode = wal"))
    return engine


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/watch.sqlite"


@pytest.fixture
def old(url: str) -> Iterator[Engine]:
    """A database of version 1."""
    engine = connect(url)
    cases.create_version_1(engine)
    yield engine
    engine.dispose()


def version_of(engine: Engine) -> int | None:
    with engine.connect() as connection:
        return schema_version(connection)


def test_a_new_database_has_the_newest_version(url: str) -> None:
    engine = open_state(url)
    assert version_of(engine) == NEWEST
    open_state(url).dispose()
    assert version_of(engine) == NEWEST
    engine.dispose()


def test_a_database_without_a_version_is_upgraded_and_keeps_its_rows(url: str, old: Engine) -> None:
    assert version_of(old) is None
    engine = open_state(url)
    assert version_of(engine) == NEWEST
    (failure,) = FailureTable(engine, Backoff(), lambda: 0.0).list_all()
    assert (failure.image, failure.kind, failure.reason) == ("Image:2", "aside", "no such plane")
    runs = RunTable(engine, HERE, lambda: 0.0)
    assert runs.find_unfinished(ContainerImages("Dataset:1", "d", "hash", ()), "nuclei") == "20261121T053000-000001"
    assert [(r.message, r.ended) for r in runs.list_recent()] == [("disk full", None)]
    assert PauseTable(engine).list_all() == {"Plate:3"}
    (watcher,) = list_watchers(engine, HERE, lambda: 1001.0, lambda pid: True)
    assert watcher.is_healthy and watcher.passes == 12
    process_is_alive, process_is_gone = (Leases(engine, HERE, lambda: 0.0, lambda pid, a=a: a) for a in (True, False))
    assert not process_is_alive.acquire("Dataset:1") and process_is_gone.acquire("Dataset:1")
    engine.dispose()


def test_an_upgraded_database_has_the_same_schema_as_a_new_one(url: str, old: Engine, tmp_path: Path) -> None:
    """Fails for a changed column without a migration: existing databases would break at the first pass."""
    upgraded, new = open_state(url), open_state(f"sqlite:///{tmp_path}/new.sqlite")
    assert cases.describe_schema(upgraded) == cases.describe_schema(new)
    assert set(cases.describe_schema(new)) == {*leases.metadata.tables, "schema"}
    upgraded.dispose()
    new.dispose()


def test_migrations_are_applied_in_order_and_once(url: str, old: Engine) -> None:
    upgrade_schema(old, cases.TABLES, "state", cases.MIGRATIONS[:1])
    assert version_of(old) == 2
    for _ in range(2):
        upgrade_schema(old, cases.TABLES, "state", cases.MIGRATIONS)
        assert version_of(old) == 3
    with old.connect() as connection:
        row = connection.execute(text("select container, renewals, priority from lease")).one()
    assert tuple(row) == ("Dataset:1", 7, 5)


def test_a_new_database_needs_no_migration(url: str) -> None:
    engine = connect(url)
    upgrade_schema(engine, cases.TABLES, "state", cases.MIGRATIONS)
    assert version_of(engine) == 3 and "priority" in [c["name"] for c in inspect(engine).get_columns("lease")]
    engine.dispose()


def test_an_upgrade_that_fails_changes_nothing(url: str, old: Engine) -> None:
    def fail(connection: Connection) -> None:
        connection.execute(text("alter table no_such_table add column a integer"))

    before = cases.describe_schema(old)
    with pytest.raises(OperationalError, match="no such table"):
        upgrade_schema(old, cases.TABLES, "state", (cases.upgrade_lease, fail))
    assert cases.describe_schema(old) == before and version_of(old) is None


def test_a_newer_database_is_refused_and_not_changed(url: str, old: Engine) -> None:
    newer = (*MIGRATIONS, cases.upgrade_lease)
    upgrade_schema(old, leases.metadata, "state", newer)
    before = cases.describe_schema(old)
    words = rf"watch\.sqlite: .* schema version {NEWEST + 1}, .* up to {NEWEST}\. Install the newer .* `state`"
    with pytest.raises(UsageError, match=words):
        open_state(url)
    assert cases.describe_schema(old) == before and version_of(old) == NEWEST + 1


@pytest.mark.parametrize("kind", ["missing", "version 1"])
def test_of_many_that_open_a_database_at_once_one_upgrades_it(url: str, kind: str) -> None:
    engine = connect(url)
    if kind == "version 1":
        cases.create_version_1(engine)
    errors = cases.open_at_once(8, lambda: connect(url), tables=cases.TABLES, migrations=cases.MIGRATIONS)
    assert errors == [] and version_of(engine) == 3
    assert {"renewals", "priority"} <= {c["name"] for c in inspect(engine).get_columns("lease")}
    engine.dispose()
