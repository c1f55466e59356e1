"""The connector's own tests once more, against a server that is late, shuffled and forgetful."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from omero_pixclf.embedded.server.fault_injection import FAULTS_VARIABLE

ROOT = Path(__file__).parents[3]
FAULTS = "late=1,late_share=0.1,shuffled,forgetful=0.004,agent=omero_pixclf"


@pytest.mark.skipif("OMERO_HOST" in os.environ, reason="a real server takes no orders")
def test_the_connector_works_with_a_late_shuffled_and_forgetful_server() -> None:
    modules = [
        f"tests/integration/connector/{name}.py"
        for name in ("test_group_contexts", "test_pixels", "results/test_rois", "results/test_tables")
    ]
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", *modules]
    given = {k: v for k, v in os.environ.items() if not k.startswith("PYTEST_")}
    environment = {**given, FAULTS_VARIABLE: FAULTS}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-4000:]
