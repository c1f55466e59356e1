"""Colours and progress bars are for terminals: seen on one, and nowhere else."""

from __future__ import annotations

import json
import os
import pty
import subprocess
from pathlib import Path

import numpy as np
import pytest

from omero_pixclf.demo.images import plate_field
from tests.e2e.conftest import PROGRAM

PROJECT = Path(__file__).resolve().parents[2] / "omero_pixclf" / "demo" / "plate.ilp"
ESCAPE = "\x1b["


def on_a_terminal(words: list[str], folder: Path) -> str:
    """What a terminal is sent."""
    ours, theirs = pty.openpty()
    environment = {**os.environ, "TERM": "xterm-256color"}
    process = subprocess.Popen(
        [str(PROGRAM), *words], cwd=folder, env=environment, stdin=theirs, stdout=theirs, stderr=theirs
    )
    os.close(theirs)
    sent = b""
    while True:
        try:
            part = os.read(ours, 4096)
        except OSError:  # how Linux says that nobody holds the other end any more
            break
        if not part:
            break
        sent += part
    os.close(ours)
    assert process.wait(60) == 0, sent.decode()
    return sent.decode()


def elsewhere(words: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    """What files or other programs are sent."""
    return subprocess.run([str(PROGRAM), *words], cwd=folder, capture_output=True, text=True, timeout=120, check=True)


@pytest.fixture
def image(tmp_path: Path) -> Path:
    np.save(tmp_path / "field.npy", plate_field("A2", 3).pixels[0, 0, :96, :96])
    return tmp_path


WORK = ["run", "field.npy", "--axes", "yxc", "--project", str(PROJECT), "--label", "Nucleus"]


def test_a_run_shows_a_bar_on_a_terminal_and_plain_lines_elsewhere(image: Path) -> None:
    seen = on_a_terminal([*WORK, "--out", "one"], image)
    assert ESCAPE in seen and "━" in seen and "1 done" in seen
    told = elsewhere([*WORK, "--out", "two"], image)
    assert ESCAPE not in told.stdout + told.stderr and "━" not in told.stdout + told.stderr
    assert "1 done" in told.stdout and "field.npy: done" in told.stderr


def test_json_is_json_also_on_a_terminal(image: Path) -> None:
    lines = on_a_terminal([*WORK, "--out", "three", "--json"], image).splitlines()
    assert [json.loads(line)["event"] for line in lines][-1] == "finished"


def test_the_doctor_colours_its_findings_on_a_terminal_only(tmp_path: Path) -> None:
    assert ESCAPE in on_a_terminal(["doctor", "--offline"], tmp_path)
    assert ESCAPE not in elsewhere(["doctor", "--offline"], tmp_path).stdout
