"""Object classification gives what real ilastik gives: objects, features, predictions, tables' columns."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import SHARED
from tests.golden.object_cases import compare_objects, object_folders

CASES = object_folders(None)
SHARED_NAMES = sorted(
    {path.name for path in object_folders(SHARED if SHARED.is_dir() else None)} - {path.name for path in CASES}
)


@pytest.mark.parametrize("block", [None, (1, 32, 48)])
@pytest.mark.parametrize("folder", CASES, ids=lambda path: path.name)
def test_equals_ilastik_however_the_image_is_cut(folder: Path, block: tuple[int, int, int] | None) -> None:
    found = compare_objects(folder, block=block)
    assert found.objects > 10
    assert found.is_equal, found


@pytest.mark.shared
@pytest.mark.parametrize("block", [None, (10, 40, 24)])
@pytest.mark.parametrize("name", SHARED_NAMES or ["none"])
def test_equals_ilastik_on_other_projects(shared: Path, name: str, block: tuple[int, int, int] | None) -> None:
    folder = next(path for path in object_folders(shared) if path.name == name)
    found = compare_objects(folder, block=block)
    assert found.is_equal, found


def test_python_alone_gives_the_same_numbers() -> None:
    environment = {**os.environ, "OMERO_PIXCLF_PURE": "1"}
    command = [sys.executable, "-m", "tests.golden.object_table", "--pure", "--only", "o06_oc_2d_1c_all_features"]
    done = subprocess.run(
        command, cwd=Path(__file__).parents[2], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "kernels: Python" in done.stdout
    assert "o06_oc_2d_1c_all_features" in done.stdout
