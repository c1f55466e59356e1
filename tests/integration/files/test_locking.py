"""The lock beside a file holds between threads and processes, and leaves nothing behind."""

from __future__ import annotations

import errno
import fcntl
import logging
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from omero_pixclf.files.locking import file_lock

HOLD = """
import sys, time
from pathlib import Path
from omero_pixclf.files.locking import file_lock
with file_lock(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(float(sys.argv[2]))
"""
ADD = """
import sys
from pathlib import Path
from omero_pixclf.files.locking import file_lock
path = Path(sys.argv[1])
for _ in range(40):
    with file_lock(path):
        path.write_text(str(int(path.read_text()) + 1))
"""


def test_processes_that_read_change_and_write_lose_nothing(tmp_path: Path) -> None:
    path = tmp_path / "count"
    path.write_text("0")
    running = [subprocess.Popen([sys.executable, "-c", ADD, str(path)]) for _ in range(3)]
    assert [process.wait(60) for process in running] == [0, 0, 0]
    assert path.read_text() == "120"
    assert [p.name for p in tmp_path.iterdir()] == ["count"]


def test_threads_wait_for_each_other(tmp_path: Path) -> None:
    path, inside, most = tmp_path / "f", [], []

    def work() -> None:
        for _ in range(20):
            with file_lock(path):
                inside.append(1)
                most.append(len(inside))
                time.sleep(0.0005)
                inside.pop()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert max(most) == 1


def test_a_lock_of_a_killed_process_holds_nobody_up(tmp_path: Path) -> None:
    command = [sys.executable, "-c", HOLD, str(tmp_path / "f"), "600"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        assert [p.name for p in tmp_path.iterdir()] == [".f.lock"]
        process.kill()
        process.wait()
    started = time.monotonic()
    with file_lock(tmp_path / "f"):
        assert time.monotonic() - started < 60
    assert not list(tmp_path.iterdir())


def test_another_process_is_waited_for(tmp_path: Path) -> None:
    command = [sys.executable, "-c", HOLD, str(tmp_path / "f"), "1.5"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        process.stdout.readline()
        started = time.monotonic()
        with file_lock(tmp_path / "f"):
            assert time.monotonic() - started > 0.5


def test_a_file_system_without_locks_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def none(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", none)
    with caplog.at_level(logging.WARNING), file_lock(tmp_path / "f"):
        pass
    assert "no file locks" in caplog.text
    assert not list(tmp_path.iterdir())


def test_the_longest_names_can_be_locked(tmp_path: Path) -> None:
    with file_lock(tmp_path / ("n" * 255)):
        [lock] = tmp_path.iterdir()
        assert lock.name.endswith(".lock")
