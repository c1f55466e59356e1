"""Ctrl-C and polite kills of a run: the work is abandoned cleanly, and people are told how to go on."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from omero_pixclf.demo import images
from omero_pixclf.files.export.image_writer import save_image
from omero_pixclf.folder.ledger import LEDGER

PROJECT = Path(images.__file__).parent / "plate.ilp"
PROGRAM = [sys.executable, "-m", "omero_pixclf"]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """More images than are done before somebody interrupts."""
    folder = tmp_path_factory.mktemp("data")
    pixels = images.plate_field("B3", 4).pixels[:, :, :400, :400]
    for number in range(8):
        save_image(folder / f"{number:02}.tif", pixels, channels=("nuclei", "cyto"))
    return folder


def default_signals() -> None:
    """What a terminal's commands start with, also where the tests run under nohup or behind an ``&``."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


def start(*words: str | Path, before: Callable[[], object] = default_signals) -> subprocess.Popen[str]:
    """A command in a process group of its own, as a terminal or a batch system starts it."""
    return subprocess.Popen(
        [*PROGRAM, *map(str, words)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=before,
    )


def run(data: Path, out: Path, *more: str) -> subprocess.Popen[str]:
    return start("run", data, "--out", out, "--project", PROJECT, "--label", "Nucleus", *more)


def until_first_is_done(process: subprocess.Popen[str], out: Path) -> None:
    deadline = time.monotonic() + 120
    while not any('"complete"' in p.read_text() for p in out.glob(f"plate/*/*/{LEDGER}")):
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.05)


def states(out: Path) -> list[str]:
    return [json.loads(p.read_text())["state"] for p in out.glob(f"*/*/*/{LEDGER}")]


@pytest.mark.parametrize(
    ("number", "whole_group", "workers"),
    [("TERM", False, "1"), ("TERM", True, "2"), ("INT", True, "2"), ("HUP", False, "1")],
)
def test_an_interrupted_run_leaves_nothing_half_written_and_says_how_to_go_on(
    data: Path, tmp_path: Path, number: str, whole_group: bool, workers: str
) -> None:
    out = tmp_path / "out put"
    process = run(data, out, "--workers", workers)
    until_first_is_done(process, out)
    (os.killpg if whole_group else os.kill)(process.pid, getattr(signal, f"SIG{number}"))
    _, told = process.communicate(timeout=120)
    assert process.returncode == 130, told
    assert "Traceback" not in told
    assert set(states(out)) == {"complete"}
    command = re.search(r"continue with: omero-pixclf (run --resume \S+) --out '([^']+)'$", told.strip())
    assert command is not None and command[2] == str(out), told
    done = start(*command[1].split(), "--out", out)
    _, told = done.communicate(timeout=240)
    assert done.returncode == 0, told
    assert len(list(out.glob(f"plate/[0-9]*/*/{LEDGER}"))) == 8


@pytest.mark.parametrize("delay", [0.2, 0.7, 1.2, 2.0, 3.0])
def test_an_interruption_in_the_first_seconds_shows_no_tracebacks(data: Path, tmp_path: Path, delay: float) -> None:
    process = run(data, tmp_path / "out", "--workers", "2")
    time.sleep(delay)
    os.killpg(process.pid, signal.SIGINT)
    _, told = process.communicate(timeout=120)
    if "init_import_site" in told:
        return  # on a busy machine: Python itself was still starting, and knew nothing of the program
    assert process.returncode in (130, -signal.SIGINT), told
    if process.returncode == 130:
        assert "Traceback" not in told
        assert "interrupted; " in told


def test_a_run_under_nohup_goes_on_when_the_terminal_closes(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    words = ("run", data, "--out", out, "--project", PROJECT, "--label", "Nucleus", "--workers", "1")
    process = start(*words, before=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN))
    until_first_is_done(process, out)
    process.send_signal(signal.SIGHUP)
    _, told = process.communicate(timeout=240)
    assert process.returncode == 0, told
    assert states(out) == ["complete"] * 9  # eight images, and their tables


def test_machines_are_told_how_to_go_on(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    process = run(data, out, "--workers", "1", "--json")
    until_first_is_done(process, out)
    process.terminate()
    said, _ = process.communicate(timeout=120)
    last = json.loads(said.splitlines()[-1])
    assert last["event"] == "interrupted"
    assert last["resume"] == f"omero-pixclf run --resume {last['run']} --out {out}"


def test_a_run_over_files_says_how_to_take_it_back(tmp_path: Path) -> None:
    save_image(tmp_path / "in" / "a.tif", np.asarray(images.plate_field("B3", 4).pixels[:, :, :80, :80]))
    out = tmp_path / "out"
    done = run(tmp_path / "in", out, "--workers", "1")
    said, told = done.communicate(timeout=120)
    command = re.search(r"omero-pixclf (undo .*)$", said.strip())
    assert command is not None, said + told
    undone = start(*command[1].split(), "--yes")
    assert "1 images" in undone.communicate(timeout=60)[0]
