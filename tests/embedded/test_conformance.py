"""The embedded OMERO against what a real OMERO.server answered (the developers' conformance recording)."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from tests.integration.conftest import ROOT_PASSWORD, EmbeddedProcess

WHOLE = {"sessions", "containers", "pixels", "rois", "annotations", "tables"}
SHARE = 0.95


@pytest.mark.shared
@pytest.mark.timeout(900)
@pytest.mark.parametrize("own_server", [""], indirect=True)  # a recording has one order
def test_every_area_answers_as_the_real_server(shared: Path, own_server: EmbeddedProcess, tmp_path: Path) -> None:
    probe = shared / "conformance"
    mine = tmp_path / "mine.json"
    command = [sys.executable, "-m", "probe", "--host", "127.0.0.1", "--port", str(own_server.port)]
    command += ["--password", ROOT_PASSWORD, "-j", "2", "--timeout-scale", "3", "check", str(probe / "recorded.json")]
    environment = {**os.environ, "PYTHONPATH": str(probe), "PYTHONWARNINGS": "ignore"}
    done = subprocess.run([*command, "--dump", str(mine)], env=environment, capture_output=True, text=True, check=False)
    assert mine.exists(), done.stderr[-2000:]
    cases = json.loads(mine.read_text())["cases"]
    failed = {line.split()[1] for line in done.stdout.splitlines() if line.startswith("FAILED ")}
    total = Counter(name.split(".")[0] for name in cases)
    passed = Counter(name.split(".")[0] for name in cases if name not in failed)
    short = {area: passed[area] / total[area] for area in total if passed[area] < total[area]}
    below = {area: share for area, share in short.items() if area in WHOLE or share < SHARE}
    assert not below, f"{done.stdout[-6000:]}"
