"""Leases by beats instead of clocks, failures that hold for one version, runs that are gone on with, heartbeat."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from omero_pixclf.config import ClassifierSettings, Recipe
from omero_pixclf.errors import OutputError, UsageError
from omero_pixclf.runs.run import ContainerOutcome, RunFinished, RunPlanned
from omero_pixclf.watch.backoff import Backoff, FailureTable
from omero_pixclf.watch.heartbeats import Heartbeat, list_watchers
from omero_pixclf.watch.installation import installation_id
from omero_pixclf.watch.leases import EXPIRY_S, Leases
from omero_pixclf.watch.protocols import CandidateImage, ContainerImages, WatchTarget
from omero_pixclf.watch.run_table import RunTable
from omero_pixclf.watch.state import WatcherProcess, open_state

ORDER = WatchTarget("Dataset:1", Recipe(classifier=ClassifierSettings(project="n.ilp")), "watch")
PART = ContainerImages("Dataset:1", "d", "hash", (CandidateImage("Image:1", "one", "v1", False),))


class Steady:
    """A clock that is turned by hand."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_lease_is_held_by_one_and_free_again_when_released() -> None:
    engine, steady = open_state("sqlite://"), Steady()
    one = Leases(engine, WatcherProcess("a", "here", 1), steady, lambda pid: True)
    two = Leases(engine, WatcherProcess("b", "here", 2), steady, lambda pid: True)
    assert one.acquire("Dataset:1") and not two.acquire("Dataset:1") and two.acquire("Dataset:2")
    one.release("Dataset:1")
    assert two.acquire("Dataset:1") and not one.renew("Dataset:1")


def test_a_lease_of_a_process_that_is_gone_from_this_place_is_taken_at_once() -> None:
    engine, steady = open_state("sqlite://"), Steady()
    assert Leases(engine, WatcherProcess("a", "here", 1), steady).acquire("Dataset:1")
    assert not Leases(engine, WatcherProcess("b", "there", 2), steady, lambda pid: False).acquire("Dataset:1")
    assert Leases(engine, WatcherProcess("c", "here", 3), steady, lambda pid: False).acquire("Dataset:1")
    assert Leases(engine, WatcherProcess("d", "here", 3), steady, lambda pid: True).acquire(
        "Dataset:1"
    )  # its own number


def test_a_lease_from_elsewhere_is_taken_only_after_it_has_stood_still() -> None:
    engine, steady = open_state("sqlite://"), Steady()
    one, two = (
        Leases(engine, WatcherProcess("a", "here", 1), steady),
        Leases(engine, WatcherProcess("b", "there", 2), steady),
    )
    assert one.acquire("Dataset:1") and not two.acquire("Dataset:1")
    for _ in range(5):
        steady.now += EXPIRY_S - 1
        assert one.renew("Dataset:1") and not two.acquire("Dataset:1")
    steady.now += EXPIRY_S
    assert two.acquire("Dataset:1") and not one.renew("Dataset:1")


def test_failures_hold_for_one_version_of_image_and_recipe() -> None:
    failures = FailureTable(open_state("sqlite://"), Backoff(), lambda: 0.0)
    failures.record_failure(PART, PART.images[0], "n", "failed", "bad")
    assert set(failures.find(PART, "n")) == {"Image:1"} and failures.find(PART, "other") == {}
    changed = ContainerImages("Dataset:1", "d", "other hash", PART.images)
    assert failures.find(changed, "n") == {} and failures.list_all() == []


def test_what_the_plan_refuses_is_never_set_aside() -> None:
    failures = FailureTable(open_state("sqlite://"), Backoff(attempts=2, longest=100), lambda: 0.0)
    for _ in range(10):
        failure = failures.record_failure(PART, PART.images[0], "n", "refused", "may not annotate")
    assert failure.kind == "refused" and failure.retry_at == 100


def test_refusals_are_not_counted_among_the_attempts_of_the_work() -> None:
    failures = FailureTable(open_state("sqlite://"), Backoff(attempts=2), lambda: 0.0)
    for _ in range(5):
        failures.record_failure(PART, PART.images[0], "n", "refused", "may not annotate")
    ends = []
    for _ in range(2):
        failures.record_attempt(PART, PART.images[0], "n")
        ends.append(failures.record_failure(PART, PART.images[0], "n", "failed", "bad"))
    assert [(f.kind, f.attempts) for f in ends] == [("failed", 1), ("aside", 2)]


def test_an_attempt_counts_before_it_is_made_and_not_where_the_server_went() -> None:
    failures = FailureTable(open_state("sqlite://"), Backoff(attempts=2), lambda: 0.0)
    for _ in range(3):
        failures.record_attempt(PART, PART.images[0], "n")
        failures.uncount_attempts("Dataset:1", "n")
    assert failures.list_all() == []
    for kind in ("failed", "aside"):
        failures.record_attempt(PART, PART.images[0], "n")
        failures.record_crash("Dataset:1", "n")
        assert [f.kind for f in failures.list_all()] == [kind]


def test_only_the_newest_runs_are_kept_with_their_folders(tmp_path: Path) -> None:
    times = iter(range(100))
    log = RunTable(open_state("sqlite://"), WatcherProcess("a", "here x", 1), lambda: float(next(times)), keep=2)
    made = [f"20261121T00000{n}-ab12cd" for n in range(4)]
    for run_id in made:
        (tmp_path / run_id).mkdir()
        (tmp_path / run_id / "manifest.sqlite").touch()
        log.record_plan(ORDER, PART, RunPlanned(run_id, tmp_path / run_id, ()))
        log.record_end(run_id, RunFinished(run_id, (), ()))
    assert [r.run_id for r in log.list_recent()] == [made[3], made[2]]
    assert sorted(p.name for p in tmp_path.iterdir()) == made[2:]


def test_a_run_without_its_tables_is_gone_on_with_where_its_folder_is(tmp_path: Path) -> None:
    engine = open_state("sqlite://")
    log, elsewhere = (
        RunTable(engine, WatcherProcess("a", "here x", 1, site), lambda: 0.0) for site in ("one", "other")
    )
    run_id = "20261121T000000-ab12cd"
    log.record_plan(ORDER, PART, RunPlanned(run_id, tmp_path, ()))
    log.record_end(run_id, RunFinished(run_id, (), (ContainerOutcome("Dataset:1", "", reason="disk full"),)))
    assert log.find_unfinished(PART, "n") == run_id and elsewhere.find_unfinished(PART, "n") is None
    log.record_end(run_id, RunFinished(run_id, (), ()))
    assert log.find_unfinished(PART, "n") is None


def test_a_watcher_under_a_new_host_name_resumes_its_runs(tmp_path: Path) -> None:
    engine = open_state("sqlite://")
    before, after = (
        RunTable(engine, WatcherProcess(name * 32, f"{host} pid:1", 1, installation_id(tmp_path)), lambda: 0.0, keep=1)
        for name, host in (("a", "3f2a9c1d"), ("b", "77ab01ee"))
    )
    before.record_plan(ORDER, PART, RunPlanned("20261121T053000-000001", tmp_path, ()))
    assert after.find_unfinished(PART, "n") == "20261121T053000-000001"


def test_an_installation_keeps_its_id_and_another_has_another(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        ids = set(pool.map(installation_id, [tmp_path / "runs"] * 8))
    assert len(ids) == 1 and ids != {installation_id(tmp_path / "others")}
    assert sorted(p.name for p in (tmp_path / "runs").iterdir()) == [".installation-id"]
    (tmp_path / "runs" / ".installation-id").write_text("torn")
    with pytest.raises(OutputError, match="not a watcher's id"):
        installation_id(tmp_path / "runs")


def test_watchers_say_how_they_are_until_they_leave_or_are_gone() -> None:
    engine, here = open_state("sqlite://"), WatcherProcess("a", "here", 1)
    heartbeat = Heartbeat(engine, here, lambda: 1000.0)
    heartbeat.beat(False, "no connection", 3)
    (found,) = list_watchers(engine, here, lambda: 1010.0, lambda pid: True)
    assert found.is_running and not found.is_healthy and found.message == "no connection"
    heartbeat.beat(True, "", 4)
    assert list_watchers(engine, here, lambda: 1010.0, lambda pid: True)[0].is_healthy
    assert not list_watchers(engine, here, lambda: 2000.0, lambda pid: True)[0].is_running
    assert list_watchers(engine, here, lambda: 1010.0, lambda pid: True) == []
    heartbeat.beat(True, "", 5)
    heartbeat.stop()
    assert list_watchers(engine, here, lambda: 1010.0) == []


@pytest.mark.parametrize("url", ["nonsense", "oracle://x/y"])
def test_a_wrong_address_of_the_state_is_wrong_usage(url: str) -> None:
    with pytest.raises(UsageError):
        open_state(url)
