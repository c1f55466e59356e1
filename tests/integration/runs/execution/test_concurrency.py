"""Limits of the stages between processes: a process that dies lets go."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from omero_pixclf.runs.execution.concurrency import RunStopped, make_server_limits

HOLD = """
import sys, threading, time
from pathlib import Path
from omero_pixclf.runs.execution.concurrency import make_server_limits
with make_server_limits(Path(sys.argv[1]), "s", threading.Event()).writing():
    print("held", flush=True)
    time.sleep(60)
"""


def test_another_process_holds_the_gate_until_it_dies(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None and holder.stdout.readline() == "held\n"
        stopping = threading.Event()
        threading.Timer(0.3, stopping.set).start()
        with pytest.raises(RunStopped), make_server_limits(tmp_path, "s", stopping).writing():
            pass
        with make_server_limits(tmp_path, "other", threading.Event()).writing():
            pass
        os.kill(holder.pid, signal.SIGKILL)
        with make_server_limits(tmp_path, "s", threading.Event()).writing():
            pass
