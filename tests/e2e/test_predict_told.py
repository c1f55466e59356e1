"""What ``predict`` and ``run`` decide without being asked is said, and hints name what really helps."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import numpy as np
import pytest
import tifffile

from omero_pixclf.demo import images
from tests.e2e.predicting import DEMO, PLATE, PROGRAM, corner, predict
from tests.properties.ilp_fuzz import edited, replaced

RAW = "Input Data/infos/lane0000/Raw Data"


@pytest.fixture
def volume() -> np.ndarray:
    return images.z_stack(3).pixels[0, :24, :40, :44, 0]


@pytest.fixture
def deep(tmp_path: Path) -> Path:
    """A project whose training image has the axes zyx."""
    tags = json.dumps({"axes": [{"key": axis} for axis in "zyx"]}).encode()

    def edit(file: object) -> None:
        replaced(f"{RAW}/axistags", data=tags)(file)  # type: ignore[arg-type]
        replaced(f"{RAW}/shape", data=np.array([24, 52, 52]))(file)  # type: ignore[arg-type]

    path = tmp_path / "deep.ilp"
    path.write_bytes(edited((DEMO / "stack.ilp").read_bytes(), edit))
    return path


@pytest.mark.parametrize(
    ("own", "how"),
    [
        ("tyx", {"imagej": True, "metadata": {"axes": "TYX", "finterval": 2.0}}),
        ("tyx", {"ome": True, "metadata": {"axes": "TYX"}}),
        ("zyx", {"imagej": True, "metadata": {"axes": "ZYX"}}),
        ("", {}),
    ],
)
def test_axes_that_the_project_overrules_are_told(
    tmp_path: Path, deep: Path, volume: np.ndarray, own: str, how: dict[str, object]
) -> None:
    tifffile.imwrite(tmp_path / "a.tif", volume, **how)  # type: ignore[arg-type]
    done = predict("--project", deep, "--json", "a.tif", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    notes = json.loads(done.stdout.splitlines()[0])["notes"]
    expected = f"its axes are {own} in the file, but taken as zyx, those of the project's training image"
    assert [expected in note for note in notes] == ([True] if own == "tyx" else [])
    quiet = predict("--project", deep, "--input_axes", "zyx", "a.tif", cwd=tmp_path)
    assert "in the file, but taken as" not in quiet.stdout


def test_numbers_without_leading_zeros_are_told(tmp_path: Path, deep: Path, volume: np.ndarray) -> None:
    for z, plane in enumerate(volume):
        np.save(tmp_path / f"f_{z + 1}.npy", plane)
        np.save(tmp_path / f"g_{z + 1:02}.npy", plane)
    given = ["--project", deep, "--output_format", "numpy", "--json"]
    told = predict(*given, "f_*.npy", cwd=tmp_path)
    assert told.returncode == 0, told.stderr
    [note] = json.loads(told.stdout.splitlines()[0])["notes"]
    assert note.startswith("stacked in alphabetical order, as ilastik does: f_10.npy comes before f_2.npy;")
    right = predict(*given, "g_*.npy", cwd=tmp_path)
    assert json.loads(right.stdout.splitlines()[0])["notes"] == []
    assert not np.array_equal(np.load(tmp_path / "f__Probabilities.npy"), np.load(tmp_path / "g__Probabilities.npy"))


def test_two_images_of_one_name_are_told_which_field_helps(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        np.save(tmp_path / name / "img.npy", corner()[:40, :44])
    given = [*PLATE, "--output_filename_format"]
    done = predict(*given, "out/{nickname}", "a/img.npy", "b/img.npy", cwd=tmp_path)
    assert done.returncode == 1
    assert "both have the same name: use {dataset_dir}, the image's folder" in done.stderr
    assert predict(*given, "{dataset_dir}/{nickname}_p", "a/img.npy", "b/img.npy", cwd=tmp_path).returncode == 0
    assert predict(*given, "a/x", "a/img.npy", cwd=tmp_path).returncode == 0
    other = predict(*given, "out/x", "a/img.npy", "a/x.h5", cwd=tmp_path)
    assert "use {nickname} in --output_filename_format" in other.stderr


def test_planes_that_may_be_channels_are_told_with_the_option_that_helps(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "pages.tif", corner()[:60, :70].transpose(2, 0, 1), photometric="minisblack")
    command = [str(PROGRAM), "run", "pages.tif", *PLATE, "--out", "r", "--no-contact-sheet"]
    told = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert told.returncode != 0
    assert "along z are channels, say so with --axes cyx" in told.stdout + told.stderr
    done = subprocess.run([*command, "--axes", "cyx"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
