"""``omero-pixclf predict --engine``: ilastik itself, or what stands in for it here, is given the work."""

from __future__ import annotations

import json
import stat
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest

from tests.e2e.predicting import DEMO, PLATE, PROGRAM, content, corner, predict

FAKE = '''\
#!{python}
"""Not ilastik: a stand-in that notes its command line and lets omero_pixclf compute, then changes one pixel."""
import subprocess, sys, json, h5py
json.dump(sys.argv[1:], open({note!r}, "a")); open({note!r}, "a").write("\\n")
if "--fail" in open({mode!r}).read():
    print("a line of a log"); sys.exit(1)
code = subprocess.call([{program!r}, "predict", *sys.argv[1:]])
made = next(a for a in sys.argv if a.startswith("--output_filename_format=")).partition("=")[2] + ".h5"
with h5py.File(made, "r+") as file:
    file["exported_data"][0, 0, 0] += 0.25
sys.exit(code)
'''


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    with h5py.File(tmp_path / "raw.h5", "w") as file:
        file["data"] = corner()
    return tmp_path


@pytest.fixture
def fake(folder: Path) -> Path:
    tools = folder / "tools"
    tools.mkdir()
    program = tools / "stand_in_that_is_not_ilastik.py"
    facts = {
        "python": sys.executable,
        "note": str(tools / "calls"),
        "mode": str(tools / "mode"),
        "program": str(PROGRAM),
    }
    program.write_text(FAKE.format(**facts))
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    (tools / "mode").write_text("")
    return program


def test_another_engine_is_given_ilastiks_own_command_line(folder: Path, fake: Path) -> None:
    done = predict(
        *PLATE,
        *("--engine", f"ilastik={fake}", "--export_source", "probabilities", "--output_format", "hdf5"),
        *("--export_dtype", "float64", "--cutout_subregion", "[(0,0,0),(90,None,3)]", "--input_axes", "yxc"),
        "raw.h5/data",
        cwd=folder,
    )
    assert done.returncode == 0, done.stderr
    [call] = [json.loads(line) for line in (fake.parent / "calls").read_text().splitlines()]
    template = next(a for a in call if a.startswith("--output_filename_format="))
    assert Path(template).name == "raw-data_Probabilities"
    assert [a for a in call if a != template] == [
        "--headless",
        "--readonly",
        f"--project={DEMO / 'plate.ilp'}",
        "--export_source=Probabilities",
        "--output_format=hdf5",
        "--output_internal_path=exported_data",
        "--export_dtype=float64",
        "--cutout_subregion=[(0,0,0),(90,None,3)]",
        "--input_axes=yxc,yxc",
        "--raw_data",
        "raw.h5/data",
    ]
    assert content(folder / "raw-data_Probabilities.h5").shape == (90, 150, 3)
    assert {p.name for p in folder.iterdir()} == {"raw.h5", "tools", "raw-data_Probabilities.h5"}


def test_a_comparison_writes_ours_and_tells_what_differs(folder: Path, fake: Path) -> None:
    done = predict(*PLATE, "--engine", f"ilastik={fake}", "--compare", "--json", "raw.h5/data", cwd=folder)
    assert done.returncode == 0, done.stderr
    notes = json.loads(done.stdout.splitlines()[0])["notes"]
    assert notes == ["pixels: 1 of 58500 values differ, by 0.25 at most"]
    assert predict(*PLATE, "--output_filename_format=own", "raw.h5/data", cwd=folder).returncode == 0
    assert np.array_equal(content(folder / "raw-data_Probabilities.h5"), content(folder / "own.h5"))


def test_an_engine_that_fails_is_a_failed_image_with_its_last_words(folder: Path, fake: Path) -> None:
    (fake.parent / "mode").write_text("--fail")
    done = predict(*PLATE, "--engine", f"ilastik={fake}", "raw.h5/data", cwd=folder)
    assert done.returncode == 1
    assert "ilastik ended with exit code 1" in done.stderr
    assert "a line of a log" in done.stderr
    assert {p.name for p in folder.iterdir()} == {"raw.h5", "tools"}
