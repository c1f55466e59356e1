"""Parity with real ilastik, stage by stage: features, probabilities, segmentation, uncertainty."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from omero_pixclf.errors import ProjectError
from tests.conftest import SHARED
from tests.golden.cases import compared, folders, project_of

CASES = folders(None)
SHARED_NAMES = sorted(
    {path.name for path in folders(SHARED if SHARED.is_dir() else None)} - {path.name for path in CASES}
)
PICKLED = "k07_sklearn_rf"


def _check(folder: Path, memory: int | None, threads: int) -> None:
    found = compared(folder, memory=memory, threads=threads, untiled=memory is None)
    assert found.pixels == 0
    assert found.probabilities <= 1e-6
    assert found.features is None or found.features <= 1e-6
    assert found.uncertainty is None or found.uncertainty <= 1e-6


@pytest.mark.parametrize(("memory", "threads"), [(None, 1), (24_000_000, 2), (6_000_000, 1)])
@pytest.mark.parametrize("folder", [case for case in CASES if case.name != PICKLED], ids=lambda path: path.name)
def test_equals_ilastik_however_the_image_is_cut(folder: Path, memory: int | None, threads: int) -> None:
    _check(folder, memory, threads)


@pytest.mark.shared
@pytest.mark.parametrize("name", SHARED_NAMES or ["none"])
def test_equals_ilastik_on_its_own_projects(shared: Path, name: str) -> None:
    folder = next(path for path in folders(shared) if path.name == name)
    _check(folder, None, 2)
    _check(folder, 24_000_000, 1)


def test_a_pickled_classifier_is_refused_and_said_so() -> None:
    with pytest.raises(ProjectError, match="pickled scikit-learn classifier"):
        project_of(next(case for case in CASES if case.name == PICKLED))


@pytest.mark.parametrize("only", ["k05", "k08", "k09"])
def test_numpy_alone_gives_the_same_numbers(only: str) -> None:
    environment = {**os.environ, "OMERO_PIXCLF_PURE": "1"}
    command = [sys.executable, "-m", "tests.golden.table", "--pure", "--only", only]
    done = subprocess.run(
        command, cwd=Path(__file__).parents[2], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "kernels: numpy" in done.stdout
    assert only in done.stdout
