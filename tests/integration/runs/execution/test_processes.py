"""Images over spawned processes: each ends once, whoever dies gives back what it had, and only the parent records."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest

from omero_pixclf.errors import ImageError, LoginError, OutputError, UnreachableError
from omero_pixclf.image import ImageInfo, ImageLocation
from omero_pixclf.runs.execution import processes
from omero_pixclf.runs.execution.processes import ProcessPoolSettings, execute_in_processes
from omero_pixclf.runs.execution.serial import TaskFunction
from omero_pixclf.runs.execution.worker import run_worker
from omero_pixclf.runs.planning.plan import PlanItem
from omero_pixclf.runs.state.manifest import Manifest, ManifestEntry, RunHeader

HEADER = RunHeader("r1", {}, "new", ("Dataset:1",), "", "", "now")


def image(number: int) -> ImageInfo:
    shape = (1, 1, 8, 8, 1)
    return ImageInfo(f"Image:{number}", f"i{number}", shape, "uint8", ("c",), place=ImageLocation("Dataset:1"))


def worked(folder: Path, one: ImageInfo) -> int:
    """Note that somebody worked on an image; how often that has happened."""
    with (folder / one.key).open("a") as notes:
        notes.write(f"{os.getpid()}\n")
    return len((folder / one.key).read_text().split())


@contextmanager
def at_work(folder: Path, bad: str, what: str, key: str, stopping: threading.Event) -> Iterator[TaskFunction]:
    """A worker; what it does with the image ``bad`` depends on what a test wants."""

    def work(one: ImageInfo) -> dict[str, int]:
        times = worked(folder, one)
        if one.key == bad:
            DOINGS[what](times, key)
        return {"Nucleus": int(one.key[6:])}

    yield work


def _die(times: int, key: str) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _die_once(times: int, key: str) -> None:
    if times == 1:
        os.kill(os.getpid(), signal.SIGKILL)


def _hang_once(times: int, key: str) -> None:
    if times == 1:
        os.kill(os.getpid(), signal.SIGSTOP)
        time.sleep(60)  # the signal may reach another thread first


def _fail(times: int, key: str) -> None:
    raise ImageError("bad plane")


def _lose_old_session(times: int, key: str) -> None:
    if key == "old":
        raise LoginError("session expired")


def _lose(times: int, key: str) -> None:
    raise UnreachableError("gone")


DOINGS: dict[str, Callable[[int, str], None]] = {
    f.__name__: f for f in (_die, _die_once, _hang_once, _fail, _lose_old_session, _lose)
}


@pytest.fixture
def manifest(tmp_path: Path) -> Iterator[Manifest]:
    with Manifest.create(tmp_path / "run", HEADER) as made:
        made.add([ManifestEntry(image(n).key, "Dataset:1", f"i{n}", "due") for n in range(6)])
        yield made


def pool(folder: Path, what: str = "_fail", bad: str = "Image:2", **changes: object) -> ProcessPoolSettings:
    opened = partial(at_work, folder, bad, what, "new")
    return replace(ProcessPoolSettings(2, lambda: opened, concurrency=2, heartbeat_s=0.2, timeout_s=30.0), **changes)  # type: ignore[arg-type]


def states(manifest: Manifest) -> dict[str, str]:
    return {e.key: e.state for e in manifest.entries()}


ITEMS = [PlanItem(image(n), "due") for n in range(6)]
ALL_DONE = {f"Image:{n}": "done" for n in range(6)}


def test_a_failed_image_is_recorded_and_every_other_is_done_once(manifest: Manifest, tmp_path: Path) -> None:
    outcomes = list(execute_in_processes(ITEMS, manifest, pool(tmp_path)))
    assert states(manifest) == ALL_DONE | {"Image:2": "failed"}
    assert {o.image.key: o.reason for o in outcomes if o.state == "failed"} == {"Image:2": "bad plane"}
    assert "in work" in manifest.entries()[2].traceback
    assert {o.image.key: dict(o.objects) for o in outcomes if o.state == "done"}["Image:5"] == {"Nucleus": 5}
    workers = [(tmp_path / image(n).key).read_text().split() for n in range(6)]
    assert all(len(notes) == 1 for notes in workers)
    assert str(os.getpid()) not in {notes[0] for notes in workers}


def test_few_images_are_spread_over_all_workers_however_many_one_may_have(manifest: Manifest, tmp_path: Path) -> None:
    list(execute_in_processes(ITEMS[:4], manifest, pool(tmp_path, concurrency=3)))
    by = [(tmp_path / image(n).key).read_text().split()[0] for n in range(4)]
    assert sorted(map(by.count, set(by))) == [2, 2]


def test_what_a_dead_worker_had_is_done_by_another(manifest: Manifest, tmp_path: Path) -> None:
    outcomes = list(execute_in_processes(ITEMS, manifest, pool(tmp_path, "_die_once")))
    assert states(manifest) == ALL_DONE
    assert sorted(o.image.key for o in outcomes) == sorted(ALL_DONE)
    first, second = (tmp_path / "Image:2").read_text().split()
    assert first != second


def test_an_image_that_kills_its_workers_fails_and_takes_no_other_with_it(manifest: Manifest, tmp_path: Path) -> None:
    outcomes = list(execute_in_processes(ITEMS, manifest, pool(tmp_path, "_die")))
    assert states(manifest) == ALL_DONE | {"Image:2": "failed"}
    assert "the worker process died (signal 9), 3 times" in next(o.reason for o in outcomes if o.state == "failed")
    assert len((tmp_path / "Image:2").read_text().split()) in (3, 4)  # once perhaps beside another, three times alone


def test_a_worker_that_falls_silent_is_killed_and_replaced(manifest: Manifest, tmp_path: Path) -> None:
    list(execute_in_processes(ITEMS, manifest, pool(tmp_path, "_hang_once", timeout_s=15.0)))
    assert states(manifest) == ALL_DONE


def test_workers_whose_session_ended_are_replaced_by_ones_with_a_new_one(manifest: Manifest, tmp_path: Path) -> None:
    keys = iter(["old", "old"])

    def renew() -> processes.OpenWork:
        return partial(at_work, tmp_path, "Image:2", "_lose_old_session", next(keys, "new"))

    list(execute_in_processes(ITEMS, manifest, pool(tmp_path, prepare_worker=renew)))
    assert states(manifest) == ALL_DONE


def test_a_server_that_stays_away_ends_the_run_and_leaves_the_rest_due(
    manifest: Manifest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processes, "MAX_LOSSES", 1)
    with pytest.raises(UnreachableError, match="gone"):
        list(execute_in_processes(ITEMS[2:3], manifest, pool(tmp_path, "_lose")))
    assert states(manifest)["Image:2"] == "due"


@contextmanager
def at_large_work(folder: Path, ballast: bytes, stopping: threading.Event) -> Iterator[TaskFunction]:
    with at_work(folder, "", "", "", stopping) as work:
        yield work


def test_a_worker_that_is_killed_while_it_starts_keeps_nobody_waiting(manifest: Manifest, tmp_path: Path) -> None:
    opened = partial(at_large_work, tmp_path, bytes(2**22))  # more than a pipe holds

    def kill_first() -> None:
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            for child in multiprocessing.active_children():
                if child.pid is not None:
                    os.kill(child.pid, signal.SIGKILL)
                    return

    killer = threading.Thread(target=kill_first)
    killer.start()
    list(execute_in_processes(ITEMS, manifest, pool(tmp_path, prepare_worker=lambda: opened)))
    killer.join()
    assert states(manifest) == ALL_DONE


@contextmanager
def unable(stopping: threading.Event) -> Iterator[TaskFunction]:
    raise ImportError("a library is missing")
    yield


def test_workers_that_cannot_even_start_end_the_run(
    manifest: Manifest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processes, "MAX_LOSSES", 1)
    monkeypatch.setattr(processes, "MAX_TRIES", 9)
    with pytest.raises(OutputError, match="died"):
        list(execute_in_processes(ITEMS, manifest, pool(tmp_path, prepare_worker=lambda: unable)))
    assert set(states(manifest).values()) == {"due"}


class NoProcesses:
    """A system that starts none."""

    Pipe = staticmethod(multiprocessing.Pipe)

    class Process:
        def __init__(self, **options: object) -> None:
            pass

        def start(self) -> None:
            raise EOFError

    def __init__(self, modules: object) -> None:
        pass


def test_a_system_that_starts_no_process_ends_the_run_and_leaves_all_due(
    manifest: Manifest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processes, "MAX_LOSSES", 1)
    monkeypatch.setattr(processes, "make_process_context", NoProcesses)
    with pytest.raises(OutputError, match="could not be started"):
        list(execute_in_processes(ITEMS, manifest, pool(tmp_path)))
    assert set(states(manifest).values()) == {"due"}


STARTED = """
import sys, threading
from omero_pixclf.runs.execution.forkserver import start_forkserver, make_process_context

def look(connection):
    connection.send(("colorsys" in sys.modules, threading.active_count()))

if __name__ == "__main__":
    start_forkserver(["colorsys"])
    context = make_process_context(["colorsys"])
    for _ in range(2):
        ours, theirs = context.Pipe()
        process = context.Process(target=look, args=(theirs,))
        process.start()
        print(*ours.recv(), "colorsys" in sys.modules)
        process.join()
"""


@pytest.mark.skipif(sys.platform != "linux", reason="workers are spawned elsewhere")
def test_workers_find_imported_what_was_named_and_their_parent_imports_nothing(tmp_path: Path) -> None:
    (tmp_path / "started.py").write_text(STARTED)
    done = subprocess.run(
        [sys.executable, "started.py"], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.split() == ["True", "1", "False"] * 2


def test_what_the_plan_has_decided_starts_no_worker(manifest: Manifest, tmp_path: Path) -> None:
    def renew() -> processes.OpenWork:
        raise AssertionError("nobody is needed")

    items = [PlanItem(image(1), "done", "same"), PlanItem(image(2), "refused", "no")]
    outcomes = list(execute_in_processes(items, manifest, pool(tmp_path, prepare_worker=renew)))
    assert [o.state for o in outcomes] == ["skipped", "refused"]
    assert states(manifest)["Image:2"] == "refused"


def test_a_run_that_is_left_early_leaves_no_process_and_nothing_half_known(manifest: Manifest, tmp_path: Path) -> None:
    events = execute_in_processes(ITEMS, manifest, pool(tmp_path))
    next(events)
    events.close()  # type: ignore[attr-defined]
    noted = {int(pid) for path in tmp_path.glob("Image:*") for pid in path.read_text().split()}
    assert noted and not [pid for pid in noted if Path(f"/proc/{pid}").exists()]
    assert "running" not in states(manifest).values()


def _interrupt(number: int, frame: object) -> None:
    raise KeyboardInterrupt


@pytest.mark.skipif(not hasattr(signal, "pthread_sigmask"), reason="interrupts are not held back there")
@pytest.mark.parametrize("held", [True, False], ids=["where the start ends", "within the start"])
def test_an_interrupt_while_a_worker_starts_leaves_no_process(
    manifest: Manifest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, held: bool
) -> None:
    """Within the start: another thread has taken the signal. Python waits at its end for every process it knows."""
    start = BaseProcess.start

    def interrupted(process: BaseProcess) -> None:
        start(process)
        if not held:
            raise KeyboardInterrupt
        signal.raise_signal(signal.SIGTERM)

    monkeypatch.setattr(BaseProcess, "start", interrupted)
    before = signal.signal(signal.SIGTERM, _interrupt)
    try:
        with pytest.raises(KeyboardInterrupt) as kept:  # with its frames, as whoever handles an interrupt keeps them
            list(execute_in_processes(ITEMS, manifest, pool(tmp_path)))
        assert kept.value and not multiprocessing.active_children()
    finally:
        signal.signal(signal.SIGTERM, before)
        for process in multiprocessing.active_children():
            process.kill()
    assert set(states(manifest).values()) == {"due"}


def test_a_worker_that_is_told_to_stop_before_all_else_ends_well() -> None:
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(target=run_worker, args=(theirs, 1, 0.2, 30))
    process.start()
    ours.send("stop")
    process.join(60)
    assert process.exitcode == 0
