"""``predict``, given ilastik's own command lines, writes the files that ilastik wrote."""

from __future__ import annotations

from pathlib import Path

import pytest

from omero_pixclf.errors import ProjectError
from tests.conftest import SHARED
from tests.golden.files_diff import REFUSED, Run, compare, execute, runs

RUNS = list(runs()) if SHARED.is_dir() else []
BARS = {"Features": 5e-6, "Simple Segmentation": 0.0}


@pytest.mark.shared
def test_the_goldens_are_there(shared: Path) -> None:
    assert len({r.case for r in RUNS}) >= 20, shared


@pytest.mark.shared
@pytest.mark.parametrize("run", [r for r in RUNS if r.case not in REFUSED], ids=lambda r: r.name)
def test_same_file_as_ilastik(run: Run, tmp_path: Path) -> None:
    """Names, shape, type, axes and attributes are equal; pixels within the goldens' bars."""
    code, ours = execute(run, tmp_path)
    assert code == 0
    found = compare(run, ours)
    assert found.facts == []
    assert found.largest <= BARS.get(run.source.partition(" Stage ")[0], 1e-6)


@pytest.mark.shared
@pytest.mark.parametrize("run", [r for r in RUNS if r.case in REFUSED], ids=lambda r: r.name)
def test_a_pickled_classifier_is_refused_and_nothing_is_written(run: Run, tmp_path: Path) -> None:
    with pytest.raises(ProjectError, match="pickle"):
        execute(run, tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["project.ilp"]
