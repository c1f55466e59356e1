"""``predict``, given ilastik's own command lines, writes the files that ilastik wrote."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
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


@pytest.mark.shared
def test_all_stages_of_autocontext_are_the_first_and_then_the_second(shared: Path, tmp_path: Path) -> None:
    """ilastik stacks the stages' probabilities along c; the goldens hold each of them."""
    first = next(r for r in RUNS if r.source == "Probabilities Stage 1")
    arguments = [a for a in first.arguments if not a.startswith("--export_source")]
    code, ours = execute(replace(first, arguments=[*arguments, "--export_source=probabilities all stages"]), tmp_path)
    assert code == 0
    with h5py.File(ours) as file:
        both = file["exported_data"][()]
    for number, part in ((1, both[..., :2]), (2, both[..., 2:])):
        with h5py.File(first.folder / f"probabilities_stage{number}.h5") as golden:
            assert np.array_equal(part, golden["exported_data"][()])


@pytest.mark.shared
def test_the_input_of_a_stage_is_the_image(shared: Path, tmp_path: Path) -> None:
    first = next(r for r in RUNS if r.source == "Probabilities Stage 1")
    arguments = [a for a in first.arguments if not a.startswith("--export_source")]
    code, ours = execute(replace(first, arguments=[*arguments, "--export_source=Input Stage 2"]), tmp_path)
    assert code == 0
    with h5py.File(ours) as file, h5py.File(first.folder / "raw.h5") as raw:
        assert np.array_equal(file["exported_data"][()], raw["data"][()])
        assert file["exported_data"].attrs["drange"].tolist() == [0, 255]
