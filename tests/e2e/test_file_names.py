"""Files of any name: bytes that are no UTF-8, the longest ones, a ``~``, and processes of another locale."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest
import tifffile

from omero_pixclf.config import load_recipe
from omero_pixclf.errors import OutputError, ProjectError
from omero_pixclf.files.atomic import write_atomically
from omero_pixclf.files.export.image_writer import save_image
from omero_pixclf.files.export.naming import output_path
from omero_pixclf.files.opening import open_image
from omero_pixclf.files.path_text import path_from_text, path_to_text
from omero_pixclf.ilastik.project import read_project
from tests.e2e.predicting import DEMO, PLATE, PROGRAM, corner, predict

LATIN = os.fsdecode(b"gr\xfcn")
ASCII = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="macOS and Windows have Unicode names only")


@pytest.fixture
def raw() -> np.ndarray:
    return corner()[:60, :70]


def write(folder: Path, name: str, raw: np.ndarray) -> Path:
    path = folder / name
    if name.endswith(".h5"):
        with h5py.File(path, "w") as file:
            file["data"] = raw
    elif name.endswith(".npy"):
        np.save(path, raw)
    else:
        save_image(path, raw[None, None], axes="yxc")
    return path


@pytest.mark.parametrize("extension", ["tif", "h5", "npy", "png", "zarr"])
@pytest.mark.parametrize("environment", [{}, ASCII, {"PYTHONIOENCODING": "utf-8:strict"}])
def test_predict_takes_names_that_are_no_utf8(
    tmp_path: Path, raw: np.ndarray, extension: str, environment: dict[str, str]
) -> None:
    values = (raw >> 4).astype(np.uint8) if extension == "png" else raw
    image = write(tmp_path, f"{LATIN}.{extension}", values)
    given = ["--ignore_training_axistags", "--output_format", "numpy", "--output_filename_format", "{nickname}_ü"]
    command = [str(PROGRAM), "predict", *PLATE, *given, image.name]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, check=False, env={**os.environ, **environment})
    assert (done.returncode, done.stderr) == (0, b"")
    assert os.path.exists(os.fsencode(tmp_path) + b"/gr\xfcn_\xc3\xbc.npy")  # noqa: PTH110 - bytes


@pytest.mark.parametrize("environment", [{}, ASCII])
def test_a_run_over_files_takes_names_that_are_no_utf8(
    tmp_path: Path, raw: np.ndarray, environment: dict[str, str]
) -> None:
    images = tmp_path / os.fsdecode(b"d\xe4ten")
    images.mkdir()
    for name in (f"{LATIN}.tif", "grün.tif"):
        write(images, name, raw)
    (images / os.fsdecode(b"b\xf6se.tif")).write_bytes(b"no image")
    command = [str(PROGRAM), "run", *PLATE, "--out", "r", "--no-contact-sheet", images.name]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, check=False, env={**os.environ, **environment})
    assert done.returncode == 1, done.stderr
    assert b"Traceback" not in done.stderr
    [summary] = (tmp_path / "r").rglob("summary.csv")
    rows = list(csv.DictReader(summary.read_text(encoding="utf-8").splitlines()))
    assert {row["Image_Name"] for row in rows} == {r"gr\xfcn.tif", "grün.tif"}
    assert {path_from_text(row["Image"]) for row in rows} == {str(images / f"{LATIN}.tif"), str(images / "grün.tif")}
    again = subprocess.run(command, cwd=tmp_path, capture_output=True, check=False, env={**os.environ, **environment})
    assert b"2 skipped, 1 refused" in again.stdout


@pytest.mark.parametrize("path", ["/a/b.tif", "/a/grün.tif", "/a/100%.tif", f"/a/{LATIN}.tif", f"/{LATIN}/x y%20.h5/d"])
def test_the_text_of_a_path_leads_back_to_it(path: str) -> None:
    text = path_to_text(path)
    assert path_from_text(text) == path
    text.encode()
    assert text.startswith("file:") == (LATIN in path)


@pytest.mark.parametrize("output_format", ["hdf5", "numpy", "tif", "png", "multipage tiff"])
def test_the_longest_names_are_written_and_longer_ones_refused_at_once(
    tmp_path: Path, raw: np.ndarray, output_format: str
) -> None:
    write(tmp_path, "a.npy", raw)
    given = [*PLATE, "--export_source", "Simple Segmentation", "--output_format", output_format, "a.npy"]
    extension = {"hdf5": "h5", "numpy": "npy", "multipage tiff": "tiff"}.get(output_format, output_format)
    name = "n" * (254 - len(extension))
    done = predict(*given, "--output_filename_format", name, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / f"{name}.{extension}").stat().st_size
    longer = predict(*given, "--output_filename_format", f"ü{name}", cwd=tmp_path)
    assert longer.returncode == 1
    assert "the name has 257 bytes, file systems allow 255; choose a shorter one" in longer.stderr
    assert "Traceback" not in longer.stderr
    assert len(list(tmp_path.iterdir())) == 2


def test_a_name_that_is_too_long_for_its_folder_is_an_output_error(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="256 bytes"), write_atomically(tmp_path / ("n" * 256)):
        pass


def test_a_tilde_is_the_home_folder_also_where_the_shell_leaves_it(
    tmp_path: Path, raw: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "home"
    home.mkdir()
    (home / "plate.ilp").write_bytes((DEMO / "plate.ilp").read_bytes())
    np.save(home / "a.npy", raw)
    given = ["--project=~/plate.ilp", "--output_filename_format=~/o/{nickname}", "--logfile=~/log", "~/a.npy"]
    done = predict(*given, cwd=tmp_path, env={**os.environ, "HOME": str(home)})
    assert done.returncode == 0, done.stderr
    assert sorted(p.name for p in home.iterdir()) == ["a.npy", "log", "o", "plate.ilp"]
    assert [p.name for p in tmp_path.iterdir()] == ["home"]
    monkeypatch.setenv("HOME", str(home))
    (tmp_path / "r.toml").write_text('[classifier]\nproject = "~/plate.ilp"\n', encoding="utf-8")
    assert load_recipe(tmp_path / "r.toml", {}).classifier.project == str(home / "plate.ilp")
    assert load_recipe(None, {"classifier.project": "~/plate.ilp"}).classifier.project == str(home / "plate.ilp")


def test_a_tilde_in_an_images_own_name_is_a_letter(tmp_path: Path, raw: np.ndarray) -> None:
    write(tmp_path, "~nobody.npy", raw)
    done = predict(*PLATE, "--output_filename_format", "{nickname}_x", "~nobody.npy", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert sorted(p.name for p in tmp_path.iterdir()) == ["~nobody.npy", "~nobody_x.h5"]
    assert output_path("{nickname}", {"nickname": "~root"}, "h5", folder=tmp_path) == tmp_path / "~root.h5"


def test_a_project_that_is_not_there_is_told_with_its_folder(tmp_path: Path) -> None:
    with pytest.raises(ProjectError, match=rf"^none\.ilp: is not there \(looked for {tmp_path}/sub/none\.ilp\)"):
        read_project(tmp_path / "sub" / "none.ilp")


def test_a_recipe_with_a_byte_order_mark_is_read(tmp_path: Path) -> None:
    (tmp_path / "bom.toml").write_bytes(b'\xef\xbb\xbf[classifier]\r\nproject = "a.ilp"\r\n')
    assert load_recipe(tmp_path / "bom.toml", {}).classifier.project == "a.ilp"


def test_an_image_of_a_name_in_bytes_is_opened_in_python(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / f"{LATIN}.tif", np.zeros((8, 9), np.uint8))
    with open_image(tmp_path / f"{LATIN}.tif") as image:
        assert image.info.shape == (1, 1, 8, 9, 1)
        assert image.info.fingerprint.startswith("stat:")


@pytest.mark.parametrize("named", ["project", "recipe", "folder"])
def test_projects_recipes_and_folders_of_runs_have_any_name(tmp_path: Path, raw: np.ndarray, named: str) -> None:
    write(tmp_path, "a.npy", raw)
    project = tmp_path / (f"{LATIN}.ilp" if named == "project" else "p.ilp")
    project.write_bytes((DEMO / "plate.ilp").read_bytes())
    out = LATIN if named == "folder" else "r"
    command = [str(PROGRAM), "run", "a.npy", "--axes", "yxc", "--project", project.name, "--out", out]
    command += ["--no-contact-sheet", *(["--name", LATIN] if named == "recipe" else [])]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, check=False)
    assert (done.returncode, b"1 done" in done.stdout) == (0, True), done.stdout + done.stderr
    again = subprocess.run(command, cwd=tmp_path, capture_output=True, check=False)
    assert b"1 skipped" in again.stdout, again.stdout
    command = [
        str(PROGRAM),
        "predict",
        "--project",
        project.name,
        "--output_filename_format",
        f"{LATIN}/{LATIN}",
        "a.npy",
    ]
    assert subprocess.run(command, cwd=tmp_path, capture_output=True, check=False).returncode == 0
    assert (tmp_path / LATIN / f"{LATIN}.h5").is_file()


@pytest.mark.parametrize("environment", [{}, ASCII], ids=["UTF-8", "ASCII"])
def test_names_on_the_command_line_are_text_in_any_locale(
    tmp_path: Path, raw: np.ndarray, environment: dict[str, str]
) -> None:
    write(tmp_path, "a.npy", raw)
    command = [str(PROGRAM), "run", "a.npy", "--axes", "yxc", *PLATE, "--out", "r", "--no-contact-sheet"]
    environment = {**os.environ, **environment}
    given = [*command, "--name", "größe 核"]
    done = subprocess.run(given, cwd=tmp_path, capture_output=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr
    folder = tmp_path / "r" / "größe 核"
    assert {json.loads(f.read_text("utf-8"))["recipe"] for f in folder.rglob("ledger.json")} == {"größe 核"}
    given = [*command, "--label", "Kern-größe"]
    done = subprocess.run(given, cwd=tmp_path, capture_output=True, check=False, env=environment)
    assert done.returncode in (1, 2) and "udc" not in done.stderr.decode(errors="replace"), done.stderr
