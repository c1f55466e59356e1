"""Files of several images, images of several files, and files that are cut, by the commands that users start."""

from __future__ import annotations

import csv
import json
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import tifffile
import zarr

from omero_pixclf.demo import images
from tests.e2e.predicting import DEMO, PLATE, PROGRAM, content, predict

FIELD = images.plate_field("B2", 3).pixels[0, 0, :130, :150].transpose(2, 0, 1)  # c, y, x


def run(*arguments: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    options = ["--project", str(DEMO / "plate.ilp"), "--label", "Nucleus", "--out", "results", "--workers", "1"]
    command = [str(PROGRAM), "run", *map(str, arguments), *options, "--no-contact-sheet"]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=240, check=False)


def attributes(group: Path, content: dict) -> None:
    group.mkdir(parents=True, exist_ok=True)
    (group / ".zgroup").write_text('{"zarr_format": 2}')
    (group / ".zattrs").write_text(json.dumps(content))


def store_image(group: Path) -> None:
    axes = [{"name": name} for name in "cyx"]
    attributes(group, {"multiscales": [{"version": "0.4", "axes": axes, "datasets": [{"path": "0"}]}]})
    more = {"zarr_format": 2} if int(zarr.__version__.split(".")[0]) >= 3 else {}
    array = zarr.open_array(str(group / "0"), mode="w", shape=FIELD.shape, chunks=(1, 64, 64), dtype="uint16", **more)
    array[:] = FIELD


@pytest.fixture
def plate(tmp_path: Path) -> Path:
    store = tmp_path / "plate.zarr"
    wells = [{"path": p, "rowIndex": r, "columnIndex": c} for p, r, c in (("A/1", 0, 0), ("B/2", 1, 1), ("A/2", 0, 1))]
    names = {"rows": [{"name": "A"}, {"name": "B"}], "columns": [{"name": "1"}, {"name": "2"}]}
    attributes(store, {"plate": {**names, "wells": wells}})
    for well in ("A/1", "B/2"):
        attributes(store / well, {"well": {"images": [{"path": "0"}]}})
        store_image(store / well / "0")
    return store


def test_a_plate_runs_with_its_wells_and_says_which_are_missing(plate: Path) -> None:
    done = run("plate.zarr", cwd=plate.parent)
    assert done.returncode == 0, done.stderr
    assert "wells A/2 are listed, but not there" in done.stderr
    (summary,) = (plate.parent / "results").rglob("summary.csv")
    with summary.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["Well_Name"] for row in rows] == ["A1", "B2"]
    again = run("plate.zarr/A/1/0", cwd=plate.parent)
    assert again.returncode == 0, again.stderr
    assert "1 skipped" in again.stdout


def test_predict_names_the_images_of_a_plate_or_reads_the_one_that_is_named(plate: Path) -> None:
    options = ["--ignore_training_axistags", "--output_format", "numpy"]
    refused = predict(*PLATE, *options, "plate.zarr", cwd=plate.parent)
    assert refused.returncode != 0
    assert "an OME-Zarr plate that holds 2 images" in refused.stdout + refused.stderr
    assert "plate.zarr/A/1/0" in refused.stdout + refused.stderr
    done = predict(*PLATE, *options, "plate.zarr/A/1/0", "plate.zarr#1", cwd=plate.parent)
    assert done.returncode == 0, done.stderr
    found = sorted(plate.parent.glob("plate*.npy"))
    assert [path.name for path in found] == ["plate-1_Probabilities.npy", "plate-A-1-0_Probabilities.npy"]
    assert np.array_equal(content(found[0]), content(found[1]))


def test_images_of_one_tiff_file_and_zipped_stores_run(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    with tifffile.TiffWriter(tmp_path / "in/two.ome.tif", ome=True) as writer:
        writer.write(FIELD, metadata={"axes": "CYX"})
        writer.write(FIELD[:, :90], metadata={"axes": "CYX"})
    store_image(tmp_path / "a.zarr")
    shutil.make_archive(str(tmp_path / "in/a.zarr"), "zip", tmp_path / "a.zarr")
    done = run("in", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    for name in ("two.ome.tif#0: done", "two.ome.tif#1: done", "a.zarr.zip: done"):
        assert name in done.stderr


@pytest.mark.parametrize("part", [0.3, 0.7, 0.99])
def test_a_cut_file_is_refused_in_run_and_predict(tmp_path: Path, part: float) -> None:
    stack = np.stack([FIELD[0]] * 8)
    tifffile.imwrite(tmp_path / "full.tif", stack, imagej=True, metadata={"axes": "TYX"}, compression="zlib")
    data = (tmp_path / "full.tif").read_bytes()
    (tmp_path / "cut.tif").write_bytes(data[: int(part * len(data))])
    done = run("cut.tif", cwd=tmp_path)
    assert done.returncode != 0
    assert "cut.tif is incomplete: it declares 8 images, " in done.stdout + done.stderr
    predicted = predict(*PLATE, "cut.tif", cwd=tmp_path)
    assert predicted.returncode != 0
    assert "cut.tif is incomplete: it declares 8 images, " in predicted.stdout + predicted.stderr
    assert not list(tmp_path.glob("*.h5"))
