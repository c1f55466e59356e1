"""Limits of the stages: how many images may be in one at a time, and that stages overlap."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from omero_pixclf.image import ImageInfo, ImageLocation
from omero_pixclf.runs.execution.concurrency import StageLimit, make_process_limits, make_server_limits
from omero_pixclf.runs.execution.serial import execute_in_process
from omero_pixclf.runs.planning.plan import PlanItem
from omero_pixclf.runs.state.manifest import Manifest, ManifestEntry, RunHeader


def most_at_a_time(gate: StageLimit, threads: int) -> int:
    """How many of some threads were behind a gate at the same time."""
    lock, inside, most = threading.Lock(), 0, 0

    def enter() -> None:
        nonlocal inside, most
        with gate():
            with lock:
                inside += 1
                most = max(most, inside)
            time.sleep(0.05)
            with lock:
                inside -= 1

    crowd = [threading.Thread(target=enter) for _ in range(threads)]
    for one in crowd:
        one.start()
    for one in crowd:
        one.join()
    return most


def test_each_stage_takes_as_many_as_it_is_said(tmp_path: Path) -> None:
    gates = make_server_limits(tmp_path, "server:4064", threading.Event(), readers=3, writers=1)
    assert most_at_a_time(gates.reading, 8) == 3
    assert most_at_a_time(gates.writing, 4) == 1
    assert most_at_a_time(gates.computing, 4) == 1
    assert most_at_a_time(make_process_limits(threading.Event()).computing, 4) == 1
    assert most_at_a_time(make_process_limits(threading.Event()).writing, 4) == 4


def image(number: int) -> ImageInfo:
    shape = (1, 1, 8, 8, 1)
    return ImageInfo(f"Image:{number}", f"i{number}", shape, "uint8", ("c",), place=ImageLocation("Dataset:1"))


@contextmanager
def manifest_of(folder: Path, count: int) -> Iterator[tuple[Manifest, list[PlanItem]]]:
    with Manifest.create(folder / "run", RunHeader("r1", {}, "new", (), "", "", "now")) as manifest:
        manifest.add([ManifestEntry(image(n).key, "Dataset:1", f"i{n}", "due") for n in range(count)])
        yield manifest, [PlanItem(image(n), "due") for n in range(count)]


def test_the_next_image_is_read_and_the_former_written_while_one_is_computed(tmp_path: Path) -> None:
    gates = make_server_limits(tmp_path, "s", threading.Event())
    began = {(stage, n): threading.Event() for stage in ("read", "write") for n in range(3)}

    def work(one: ImageInfo) -> dict[str, int]:
        n = int(one.key[6:])
        with gates.reading():
            began["read", n].set()
        with gates.computing():
            if n < 2:
                assert began["read", n + 1].wait(10), "the next image is not read meanwhile"
        with gates.writing():
            began["write", n].set()
        return {}

    with manifest_of(tmp_path, 3) as (manifest, items):
        outcomes = list(execute_in_process(items, manifest, work, concurrency=3))
        assert [o.reason for o in outcomes] == ["", "", ""]
        assert {e.state for e in manifest.entries()} == {"done"}


def test_an_interrupt_lets_the_stage_end_and_leaves_what_waited_due(tmp_path: Path) -> None:
    stopping = threading.Event()
    gates = make_process_limits(stopping)

    def work(one: ImageInfo) -> dict[str, int]:
        with gates.computing():
            time.sleep(0.1)
        if one.key == "Image:0":
            raise KeyboardInterrupt
        return {}

    with manifest_of(tmp_path, 6) as (manifest, items):
        with pytest.raises(KeyboardInterrupt):
            list(execute_in_process(items, manifest, work, concurrency=3, stopping=stopping))
        states = [e.state for e in manifest.entries()]
    assert states[0] == "due" and "running" not in states and states.count("due") >= 4
