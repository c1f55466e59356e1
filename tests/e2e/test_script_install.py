"""The script put onto a server as the documentation says, the server's folder named as people name it: relative."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.conftest import PROGRAM

PASSWORD = "script-root-password"


@pytest.fixture
def environment(tmp_path: Path) -> Iterator[dict[str, str]]:
    """How commands find a server that was started in the folder ``my-omero``."""
    words = [str(PROGRAM), "embedded", "start", "--folder", "my-omero", "--port", "0"]
    home = {**os.environ, "OMERO_PASSWORD": PASSWORD, "OMERO_USERDIR": str(tmp_path / "user")}
    with subprocess.Popen(words, cwd=tmp_path, env=home, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        found = re.match(r"ready on (\S+):(\d+)", server.stdout.readline())
        assert found
        yield {**home, "OMERO_HOST": found[1], "OMERO_PORT": found[2], "OMERO_USER": "root"}
        server.send_signal(signal.SIGINT)


def test_the_script_is_installed_and_shows_its_form(environment: dict[str, str]) -> None:
    def script(*words: str) -> list[dict[str, object]]:
        command = [str(PROGRAM), "script", *words, "--json"]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
        assert done.returncode == 0, done.stderr
        return [json.loads(line) for line in done.stdout.splitlines()]

    (installed,) = script("install")
    assert installed["change"] == "installed"
    first, *parameters = script("show")
    assert first["same"] is True
    assert {"Data_Type", "IDs", "Classifier", "Threshold", "Run"} <= {p["parameter"] for p in parameters}
    assert script("install")[0]["change"] == "unchanged"
