"""The front doors as a user meets them: commands in processes of their own, against a server started by command."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

# Runs in the environment of OMERO.web, with Playwright, which this one has not; pytest would import it for doctests.
collect_ignore = ["omero_web_browser.py"]

PROGRAM = Path(sys.executable).with_name("omero-pixclf")
PASSWORD = "e2e-root-password"


@dataclass(frozen=True)
class Omero:
    """A server that runs, and how commands find it."""

    host: str
    port: int
    environment: dict[str, str]

    def command(self, *arguments: str, code: int = 0) -> subprocess.CompletedProcess[str]:
        """Run ``omero-pixclf`` as root of this server; fails the test where it ends with another code."""
        done = subprocess.run(
            [str(PROGRAM), *arguments], env=self.environment, capture_output=True, text=True, timeout=300, check=False
        )
        assert done.returncode == code, f"{arguments}: exit {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done


def start_server(folder: Path, environment: dict[str, str]) -> tuple[subprocess.Popen[str], str, int]:
    """Start a server by its command and wait for its ready line."""
    server = subprocess.Popen(
        [str(PROGRAM), "embedded", "start", "--folder", str(folder), "--port", "0"],
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert server.stdout is not None
    for line in server.stdout:
        found = re.match(r"ready on (\S+):(\d+)", line)
        if found:
            return server, found[1], int(found[2])
    raise AssertionError(f"the server ended with {server.wait()} before it was ready")


@pytest.fixture(scope="session")
def omero(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Omero]:
    """An embedded OMERO in a process of its own, for the whole session; tests use names of their own in it."""
    home = tmp_path_factory.mktemp("home")
    environment = {
        **os.environ,
        "OMERO_PASSWORD": PASSWORD,
        "OMERO_USERDIR": str(home / "omero"),
        "OMERO_PIXCLF_STATE": str(home / "runs"),
        "HOME": str(home),
    }
    server, host, port = start_server(home / "server", environment)
    try:
        yield Omero(host, port, {**environment, "OMERO_HOST": host, "OMERO_PORT": str(port), "OMERO_USER": "root"})
    finally:
        server.send_signal(signal.SIGINT)
        assert server.wait(20) == 0


@pytest.fixture
def second_client(omero: Omero) -> Iterator[object]:
    """A plain BlitzGateway of its own, to see what others see."""
    from omero.gateway import BlitzGateway

    conn = BlitzGateway("root", PASSWORD, host=omero.host, port=omero.port, secure=True)
    assert conn.connect(), conn.getLastError()
    try:
        yield conn
    finally:
        conn.close()
