"""Runs in the state database: which are resumed, which are kept."""

from __future__ import annotations

from pathlib import Path

from omero_pixclf.config import ClassifierSettings, Recipe
from omero_pixclf.runs.run import ContainerOutcome, RunFinished, RunPlanned
from omero_pixclf.watch.installation import installation_id
from omero_pixclf.watch.protocols import CandidateImage, ContainerImages, WatchTarget
from omero_pixclf.watch.run_table import RunTable
from omero_pixclf.watch.state import WatcherProcess, open_state

TARGET = WatchTarget("Dataset:1", Recipe(classifier=ClassifierSettings(project="n.ilp")), "watch")
CONTAINER = ContainerImages("Dataset:1", "d", "hash", (CandidateImage("Image:1", "one", "v1", False),))


def test_only_the_newest_runs_are_kept_with_their_folders(tmp_path: Path) -> None:
    times = iter(range(100))
    log = RunTable(open_state("sqlite://"), WatcherProcess("a", "here x", 1), lambda: float(next(times)), keep=2)
    made = [f"20261121T00000{n}-ab12cd" for n in range(4)]
    for run_id in made:
        (tmp_path / run_id).mkdir()
        (tmp_path / run_id / "manifest.sqlite").touch()
        log.record_plan(TARGET, CONTAINER, RunPlanned(run_id, tmp_path / run_id, ()))
        log.record_end(run_id, RunFinished(run_id, (), ()))
    assert [r.run_id for r in log.list_recent()] == [made[3], made[2]]
    assert sorted(p.name for p in tmp_path.iterdir()) == made[2:]


def test_a_run_without_its_tables_is_gone_on_with_where_its_folder_is(tmp_path: Path) -> None:
    engine = open_state("sqlite://")
    log, elsewhere = (
        RunTable(engine, WatcherProcess("a", "here x", 1, site), lambda: 0.0) for site in ("one", "other")
    )
    run_id = "20261121T000000-ab12cd"
    log.record_plan(TARGET, CONTAINER, RunPlanned(run_id, tmp_path, ()))
    log.record_end(run_id, RunFinished(run_id, (), (ContainerOutcome("Dataset:1", "", reason="disk full"),)))
    assert log.find_unfinished(CONTAINER, "n") == run_id and elsewhere.find_unfinished(CONTAINER, "n") is None
    log.record_end(run_id, RunFinished(run_id, (), ()))
    assert log.find_unfinished(CONTAINER, "n") is None


def test_a_watcher_under_a_new_host_name_resumes_its_runs(tmp_path: Path) -> None:
    engine = open_state("sqlite://")
    before, after = (
        RunTable(engine, WatcherProcess(name * 32, f"{host} pid:1", 1, installation_id(tmp_path)), lambda: 0.0, keep=1)
        for name, host in (("a", "3f2a9c1d"), ("b", "77ab01ee"))
    )
    before.record_plan(TARGET, CONTAINER, RunPlanned("20261121T053000-000001", tmp_path, ()))
    assert after.find_unfinished(CONTAINER, "n") == "20261121T053000-000001"
