"""Images over dask workers: the same as in this process, also when workers, the scheduler or OMERO's session go."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("distributed", reason="dask.distributed is not installed (extra: dask)")

from omero_pixclf.config import load_recipe
from omero_pixclf.demo import images
from omero_pixclf.errors import LoginError, OutputError
from omero_pixclf.ilastik.project import read_project
from omero_pixclf.image import ImageInfo, ImageLocation
from omero_pixclf.runs.blocks.block_plan import BlockPlan
from omero_pixclf.runs.execution.dask_cluster import DaskSettings, execute_on_dask, read_cluster_capacity
from omero_pixclf.runs.execution.serial import TaskFunction
from omero_pixclf.runs.execution.task import BlockTask, Task
from omero_pixclf.runs.planning.plan import PlanItem
from omero_pixclf.runs.state.manifest import Manifest, ManifestEntry, RunHeader

ROOT = Path(__file__).resolve().parents[4]
PROGRAM = Path(sys.executable).with_name("omero-pixclf")
COUNT = 8
DEATHS = {"die": 1, "die often": 5, "die always": 100}  # how many workers an image kills


def image(number: int) -> ImageInfo:
    shape = (1, 1, 8, 8, 1)
    return ImageInfo(f"Image:{number}", f"i{number}", shape, "uint8", ("c",), place=ImageLocation("Dataset:1"))


@contextmanager
def at_work(folder: Path, what: str, key: str, stopping: threading.Event, threads: int) -> Iterator[TaskFunction]:
    assert threads == 2

    def work(one: ImageInfo) -> dict[str, int]:
        with (folder / one.key).open("a") as notes:
            notes.write(f"{os.getpid()}\n")
        times = len((folder / one.key).read_text().split())
        if one.key == "Image:3" and times <= DEATHS.get(what, 0):
            time.sleep(0.5)  # until the worker has started
            os.kill(os.getpid(), signal.SIGKILL)
        if one.key == "Image:3" and what == "fail":
            raise ValueError("bad plane")
        if what == "session" and key == "1":
            raise LoginError("session expired")
        if what == "slow":
            time.sleep(0.7)
        return {"Nucleus": int(one.key[6:])}

    yield work
    (folder / f"closed {os.getpid()}").touch()


def dask(*arguments: str) -> subprocess.Popen[str]:
    code = "import sys; from dask.__main__ import main; sys.exit(main())"
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "DASK_DISTRIBUTED__WORKER__DAEMON": "True"}
    return subprocess.Popen(
        [sys.executable, "-c", code, *arguments],
        env=environment, cwd=ROOT, text=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip


def scheduler_at(port: int) -> subprocess.Popen[str]:
    return dask("scheduler", "--host", "127.0.0.1", "--port", str(port), "--no-dashboard")


def workers_of(port: int, folder: Path, count: int = 2, memory: str = "auto") -> subprocess.Popen[str]:
    return dask(
        "worker", f"tcp://127.0.0.1:{port}", "--nworkers", str(count), "--nthreads", "2", "--host", "127.0.0.1",
        "--no-dashboard", "--local-directory", str(folder), "--death-timeout", "60", "--memory-limit", memory,
    )  # fmt: skip


def stop(*processes: subprocess.Popen[str]) -> None:
    for process in processes:
        process.send_signal(signal.SIGINT)
    for process in processes:
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


@contextmanager
def started(folder: Path, count: int, memory: str = "auto") -> Iterator[str]:
    """The address of a scheduler with so many workers."""
    port = free_port()
    scheduler = scheduler_at(port)
    workers = workers_of(port, folder, count, memory)
    try:
        yield f"tcp://127.0.0.1:{port}"
    finally:
        stop(workers, scheduler)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with started(tmp_path_factory.mktemp("dask"), 2) as address:
        yield address


@pytest.fixture
def many(tmp_path: Path) -> Iterator[str]:
    """More workers than a test needs: dask replaces none that dies while it starts."""
    with started(tmp_path / "many", 4) as address:
        yield address


def run(address: str, folder: Path, what: str) -> tuple[list[str], dict[str, str], list[str]]:
    keys = iter("123456789")

    def renew() -> partial[object]:
        return partial(at_work, folder, what, next(keys))

    items = [PlanItem(image(n), "due") for n in range(COUNT)]
    with Manifest.create(folder / "run", RunHeader("r1", {}, "new", (), "", "", "now")) as manifest:
        manifest.add([ManifestEntry(i.image.key, "Dataset:1", i.image.name, "due") for i in items])
        outcomes = list(execute_on_dask(items, manifest, DaskSettings(address, renew)))  # type: ignore[arg-type]
        entries = {e.key: e.state for e in manifest.entries()}
    return [o.image.key for o in outcomes], entries, [o.reason for o in outcomes if o.reason]


DONE = {f"Image:{n}": "done" for n in range(COUNT)}


def test_every_image_is_done_once_by_two_workers_and_connections_are_closed(cluster: str, tmp_path: Path) -> None:
    told, states, reasons = run(cluster, tmp_path, "fail")
    assert sorted(told) == sorted(DONE)
    assert states == DONE | {"Image:3": "failed"}
    assert reasons == ["ValueError: bad plane"]
    used = {pid for n in range(COUNT) for pid in (tmp_path / f"Image:{n}").read_text().split()}
    deadline = time.monotonic() + 10
    while len(list(tmp_path.glob("closed *"))) < len(used) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert {p.name.split()[1] for p in tmp_path.glob("closed *")} == used


def test_a_dead_workers_image_is_done_by_another(cluster: str, tmp_path: Path) -> None:
    told, states, _ = run(cluster, tmp_path, "die")
    assert states == DONE and sorted(told) == sorted(DONE)
    assert len((tmp_path / "Image:3").read_text().split()) == 2


def test_an_image_that_dask_gives_up_goes_out_again(many: str, tmp_path: Path) -> None:
    told, states, _ = run(many, tmp_path, "die often")
    assert states == DONE and sorted(told) == sorted(DONE)
    assert len((tmp_path / "Image:3").read_text().split()) == 6


def test_an_image_that_kills_every_worker_fails_alone(
    many: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("omero_pixclf.runs.execution.dask_cluster.MAX_KILLED_WORKERS", 2)
    told, states, reasons = run(many, tmp_path, "die always")
    assert states == DONE | {"Image:3": "failed"} and sorted(told) == sorted(DONE)
    assert len(reasons) == 1 and reasons[0].startswith("Image:3: KilledWorker")


def test_workers_that_lost_their_session_get_another(cluster: str, tmp_path: Path) -> None:
    told, states, _ = run(cluster, tmp_path, "session")
    assert states == DONE and sorted(told) == sorted(DONE)


def test_a_scheduler_that_comes_back_costs_what_was_in_work(tmp_path: Path) -> None:
    port = free_port()
    first, workers = scheduler_at(port), workers_of(port, tmp_path / "dask")
    others: list[subprocess.Popen[str]] = []

    def disturb() -> None:
        deadline = time.monotonic() + 60
        while not list(tmp_path.glob("Image:*")) and time.monotonic() < deadline:
            time.sleep(0.05)
        first.kill()
        workers.kill()
        others.extend([scheduler_at(port), workers_of(port, tmp_path / "dask 2")])

    trouble = threading.Thread(target=disturb)
    trouble.start()
    try:
        told, states, _ = run(f"tcp://127.0.0.1:{port}", tmp_path, "slow")
    finally:
        trouble.join()
        stop(workers, first, *others)
    assert states == DONE and sorted(told) == sorted(DONE)


@contextmanager
def piece_work(folder: Path, threads: int, stopping: threading.Event) -> Iterator[TaskFunction]:
    def work(task: Task) -> dict[str, int]:
        with (folder / f"did {task.key}").open("a") as notes:
            notes.write(f"{os.getpid()}\n")
        first = len((folder / f"did {task.key}").read_text().split()) == 1
        if task.key == "Image:9 maps 1" and first:
            os.kill(os.getpid(), signal.SIGKILL)
        if isinstance(task, BlockTask):
            path = cutting(folder, task.image).result_path(task)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
        return {"Nucleus": 9}

    yield work


def cutting(folder: Path, one: ImageInfo) -> BlockPlan:
    recipe = load_recipe(None, {"classifier.project": "x.ilp"})
    return BlockPlan(one, recipe, read_project(Path(images.__file__).parent / "plate.ilp"), folder / "pieces")


def test_pieces_of_an_image_go_over_all_workers_and_one_that_was_lost_is_done_by_another(
    cluster: str, tmp_path: Path
) -> None:
    large = replace(image(9), shape=(1, 1, 2048, 8000, 2), channels=("a", "b"))
    items = [PlanItem(image(1), "due"), PlanItem(large, "due")]

    def cut(given: list[ImageInfo], workers: int) -> dict[str, BlockPlan]:
        assert given == [i.image for i in items] and workers >= 2
        return {large.key: cutting(tmp_path, large)}

    where = DaskSettings(cluster, lambda: partial(piece_work, tmp_path), cut)
    with Manifest.create(tmp_path / "run", RunHeader("r1", {}, "new", (), "", "", "now")) as manifest:
        manifest.add([ManifestEntry(i.image.key, "Dataset:1", i.image.name, "due") for i in items])
        outcomes = list(execute_on_dask(items, manifest, where))
        assert {e.key: e.state for e in manifest.entries()} == {"Image:1": "done", "Image:9": "done"}
    assert sorted(o.image.key for o in outcomes) == ["Image:1", "Image:9"]
    times = {p.name: len(p.read_text().split()) for p in tmp_path.glob("did *")}
    assert len(times) == 1 + 4 + 4 + 1 + 4 + 1
    assert times["did Image:9 maps 1"] == 2 and times["did Image:9 store 0"] == 1


def test_the_plan_asks_which_workers_there_are_and_says_where_there_are_none(
    cluster: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    deadline = time.monotonic() + 60
    while (there := read_cluster_capacity(cluster)).workers < 2 and time.monotonic() < deadline:
        time.sleep(0.5)  # one was killed by the test before, and is on its way again
    assert (there.workers, there.threads) == (2, 2)
    port = free_port()
    alone = scheduler_at(port)
    try:
        deadline = time.monotonic() + 60
        while "no workers" not in caplog.text and time.monotonic() < deadline:
            with suppress(OutputError):  # it is not there yet
                assert read_cluster_capacity(f"tcp://127.0.0.1:{port}").workers == 0
    finally:
        stop(alone)
    assert "no workers" in caplog.text and str(port) in caplog.text


@pytest.mark.parametrize("more", [(), ("--dry-run",)])
def test_workers_with_too_little_memory_are_refused_before_they_work(more: tuple[str, ...], tmp_path: Path) -> None:
    np.save(tmp_path / "field.npy", images.plate_field("A1", 1).pixels)
    project = str(Path(images.__file__).parent / "plate.ilp")
    to = ("--project", project, "--axes", "tzyxc", "--out", str(tmp_path / "out"))
    with started(tmp_path / "dask", 1, "300MiB") as address:
        deadline = time.monotonic() + 60
        while not _workers(address) and time.monotonic() < deadline:
            time.sleep(0.2)
        command = [str(PROGRAM), "run", str(tmp_path / "field.npy"), *to, "--dask", address, *more]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 2, done.stderr
    assert "needs 512 MiB, and may take 300 MiB" in done.stderr
    assert not list((tmp_path / "out").rglob("*.csv"))


def _workers(address: str) -> int:
    with suppress(OutputError):
        return read_cluster_capacity(address).workers
    return 0


def test_no_scheduler_is_said_with_its_address(tmp_path: Path) -> None:
    port = free_port()
    items = [PlanItem(image(1), "due")]
    where = DaskSettings(f"tcp://127.0.0.1:{port}", lambda: None, waits_s=())  # type: ignore[arg-type, return-value]
    with Manifest.create(tmp_path / "run", RunHeader("r1", {}, "new", (), "", "", "now")) as manifest:
        manifest.add([ManifestEntry("Image:1", "Dataset:1", "i1", "due")])
        with pytest.raises(OutputError, match=str(port)):
            list(execute_on_dask(items, manifest, where))
        assert manifest.entries()[0].state == "due"
