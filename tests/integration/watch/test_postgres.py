"""The watcher's state in PostgreSQL: one of the tests' own, or what ``OMERO_PIXCLF_TEST_POSTGRES`` names."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator

import pytest
from sqlalchemy import Connection, Engine, create_engine, text
from sqlalchemy.exc import ProgrammingError

from omero_pixclf.errors import UsageError
from omero_pixclf.watch.backoff import Backoff, FailureTable
from omero_pixclf.watch.heartbeats import Heartbeat, list_watchers
from omero_pixclf.watch.leases import EXPIRY_S, Leases
from omero_pixclf.watch.migrations import FIRST_VERSION, MIGRATIONS, schema_version, upgrade_schema
from omero_pixclf.watch.protocols import CandidateImage, ContainerImages
from omero_pixclf.watch.run_table import PauseTable
from omero_pixclf.watch.state import WatcherProcess, leases, open_state, transaction
from tests.integration.postgres import MISSING, PROGRAMS, postgres
from tests.unit.watch import schema_cases as cases

pytestmark = pytest.mark.skipif(not (PROGRAMS or os.environ.get("OMERO_PIXCLF_TEST_POSTGRES")), reason=MISSING)
PART = ContainerImages("Dataset:1", "d", "hash", (CandidateImage("Image:1", "one", "v1", False),))


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with postgres() as made:
        yield made


@pytest.fixture
def engine(url: str) -> Iterator[Engine]:
    made = open_state(url)
    yield made
    with transaction(made) as db:
        for table in reversed(leases.metadata.sorted_tables):
            db.execute(table.delete())
    made.dispose()


def test_many_watchers_that_start_at_once_on_an_empty_database_all_find_its_tables(engine: Engine, url: str) -> None:
    for _ in range(5):
        leases.metadata.drop_all(engine)
        made: list[Engine] = []
        start = threading.Barrier(8)

        def begin(start: threading.Barrier = start, made: list[Engine] = made) -> None:
            start.wait()
            made.append(open_state(url))

        threads = [threading.Thread(target=begin) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for one in made:
            with transaction(one) as db:
                assert db.execute(leases.select()).all() == []
            one.dispose()
        assert len(made) == 8


@pytest.fixture
def empty(url: str) -> Iterator[Engine]:
    """A connection to the database, without any tables before and after the test."""
    engine = create_engine(url)
    with engine.begin() as db:
        db.execute(text("drop schema public cascade"))
        db.execute(text("create schema public"))
    yield engine
    with engine.begin() as db:
        db.execute(text("drop schema public cascade"))
        db.execute(text("create schema public"))
    engine.dispose()


def version_of(engine: Engine) -> int | None:
    with engine.connect() as connection:
        return schema_version(connection)


def test_a_database_without_a_version_is_upgraded_to_the_schema_of_a_new_one(empty: Engine, url: str) -> None:
    open_state(url).dispose()
    new = cases.describe_schema(empty)
    with empty.begin() as db:
        db.execute(text("drop schema public cascade"))
        db.execute(text("create schema public"))
    cases.create_version_1(empty)
    upgraded = open_state(url)
    assert cases.describe_schema(upgraded) == new and version_of(upgraded) == FIRST_VERSION + len(MIGRATIONS)
    (failure,) = FailureTable(upgraded, Backoff(), lambda: 0.0).list_all()
    assert (failure.image, failure.kind) == ("Image:2", "aside") and PauseTable(upgraded).list_all() == {"Plate:3"}
    upgraded.dispose()


def test_an_upgrade_that_fails_changes_nothing(empty: Engine) -> None:
    def fail(connection: Connection) -> None:
        connection.execute(text("alter table no_such_table add column a integer"))

    cases.create_version_1(empty)
    before = cases.describe_schema(empty)
    with pytest.raises(ProgrammingError, match="no_such_table"):
        upgrade_schema(empty, cases.TABLES, "state", (cases.upgrade_lease, fail))
    assert cases.describe_schema(empty) == before and version_of(empty) is None


def test_a_newer_database_is_refused(empty: Engine, url: str) -> None:
    cases.create_version_1(empty)
    upgrade_schema(empty, leases.metadata, "state", (*MIGRATIONS, cases.upgrade_lease))
    with pytest.raises(UsageError, match="schema version"):
        open_state(url)


@pytest.mark.parametrize("kind", ["empty", "version 1"])
def test_of_many_that_open_a_database_at_once_one_upgrades_it(empty: Engine, url: str, kind: str) -> None:
    if kind == "version 1":
        cases.create_version_1(empty)
    errors = cases.open_at_once(8, lambda: create_engine(url), tables=cases.TABLES, migrations=cases.MIGRATIONS)
    assert errors == [] and version_of(empty) == 3
    assert {"renewals", "priority"} <= {name for name, *_ in cases.describe_schema(empty)["lease"][0]}


def test_of_many_that_reach_for_a_lease_at_once_one_gets_it(engine: Engine) -> None:
    holders = [Leases(engine, WatcherProcess(str(n), "here", n), lambda: 0.0, lambda pid: True) for n in range(12)]
    got: list[bool] = []
    start = threading.Barrier(len(holders))

    def reach(one: Leases) -> None:
        start.wait()
        got.append(one.acquire("Dataset:1"))

    threads = [threading.Thread(target=reach, args=(one,)) for one in holders]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(got) == [False] * 11 + [True]


def test_of_many_that_take_over_a_dead_lease_one_gets_it(engine: Engine) -> None:
    now = [0.0]
    assert Leases(engine, WatcherProcess("dead", "there", 1), lambda: 0.0).acquire("Dataset:1")
    others = [Leases(engine, WatcherProcess(str(n), "here", n), lambda: now[0], lambda pid: True) for n in range(8)]
    assert not any(one.acquire("Dataset:1") for one in others)
    now[0] = EXPIRY_S
    assert sum(one.acquire("Dataset:1") for one in others) == 1


def test_failures_pauses_and_presence_are_kept(engine: Engine) -> None:
    failures, pauses = FailureTable(engine, Backoff(attempts=2), lambda: 0.0), PauseTable(engine)
    for _ in range(2):
        failures.record_attempt(PART, PART.images[0], "n")
        failures.record_failure(PART, PART.images[0], "n", "failed", "bad")
    failures.uncount_attempts("Dataset:1", "n")
    assert [(f.kind, f.attempts) for f in failures.list_all()] == [("aside", 2)]
    pauses.set_paused("Dataset:1", True)
    pauses.set_paused("Dataset:1", True)
    assert pauses.list_all() == {"Dataset:1"}
    here = WatcherProcess("a", "here", 1)
    Heartbeat(engine, here, lambda: 0.0).beat(True, "well", 1)
    assert list_watchers(engine, here, lambda: 1.0, lambda pid: True)[0].is_healthy
