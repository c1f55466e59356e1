"""The watcher's state in PostgreSQL: one of the tests' own, or what ``OMERO_PIXCLF_TEST_POSTGRES`` names."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator

import pytest
from sqlalchemy import Engine

from omero_pixclf.watch.backoff import Backoff, FailureTable
from omero_pixclf.watch.heartbeats import Heartbeat, list_watchers
from omero_pixclf.watch.leases import EXPIRY_S, Leases
from omero_pixclf.watch.protocols import CandidateImage, ContainerImages
from omero_pixclf.watch.run_table import PauseTable
from omero_pixclf.watch.state import WatcherProcess, leases, open_state, transaction
from tests.integration.postgres import MISSING, PROGRAMS, postgres

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
