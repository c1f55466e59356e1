"""What is read is never written: images, masks and projects survive every command line of ``predict``."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest
import tifffile

from omero_pixclf.files.export.image_writer import save_image
from tests.e2e.predicting import DEMO, PLATE, PROGRAM, content, corner, predict

SEGMENTATION = ["--export_source", "Simple Segmentation", "--ignore_training_axistags", "--output_format"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    raw = corner()[:60, :70]
    with h5py.File(tmp_path / "in.h5", "w") as file:
        file["data"] = raw
        file["more/data"] = raw
    np.save(tmp_path / "in.npy", raw)
    for name in ("in.tif", "in.tiff", "in.zarr"):
        save_image(tmp_path / name, raw[None, None], axes="yxc")
    (tmp_path / "project.ilp").write_bytes((DEMO / "plate.ilp").read_bytes())
    return tmp_path


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


@pytest.mark.parametrize(
    "arguments",
    [
        ["--output_format", "tif", "--output_filename_format", "{dataset_dir}/{nickname}", "in.tif"],
        ["--output_format", "multipage tiff", "--output_filename_format", "{dataset_dir}/{nickname}", "in.tiff"],
        ["--output_format", "numpy", "--output_filename_format", "{dataset_dir}/{nickname}", "in.npy"],
        ["--output_format", "numpy", "--output_filename_format", "sub/../in", "in.npy"],
        ["--output_format", "numpy", "--output_filename_format", "IN", "./in.npy"],
        ["--output_format", "numpy", "--output_filename_format", "in{x_start}", "in.npy", "in0.npy"],
        ["--output_filename_format", "in.h5", "--output_internal_path", "data", "in.h5/data"],
        ["--output_filename_format", "in.h5", "--output_internal_path", "more", "in.h5/more/data"],
        ["--output_filename_format", "in.zarr/out.h5", "in.zarr"],
        [
            "--output_format",
            "numpy",
            "--output_filename_format",
            "mask",
            "--prediction_mask",
            "mask.npy",
            "--raw_data",
            "in.npy",
        ],
        ["--output_format", "tif sequence", "--output_filename_format", "s_{slice_index}", "s_*.tif"],
    ],
    ids=lambda arguments: " ".join(arguments[-3:]),
)
def test_an_input_is_refused_as_an_output_before_any_work(folder: Path, arguments: list[str]) -> None:
    np.save(folder / "mask.npy", np.ones((60, 70, 1), np.uint8))
    np.save(folder / "in0.npy", corner()[:60, :70])
    for index in range(2):
        tifffile.imwrite(folder / f"s_{index}.tif", corner()[:60, :70, index])
    before = contents(folder)
    done = predict("--project", "project.ilp", "--json", *arguments, cwd=folder)
    assert done.returncode == 2, done.stderr
    assert "would overwrite" in done.stderr
    assert "nothing was computed" in done.stderr
    assert contents(folder) == before


def test_one_such_result_stops_the_whole_batch_before_it_begins(folder: Path) -> None:
    np.save(folder / "other.npy", corner()[:60, :70])
    before = contents(folder)
    done = predict(
        "--project", "project.ilp", "--output_format", "numpy", "--output_filename_format", "{nickname}", "in.h5/data",
        "gone.tif", "other.npy", cwd=folder,
    )  # fmt: skip
    assert done.returncode == 2
    assert "other.npy: its result would overwrite the image itself" in done.stderr
    assert contents(folder) == before


@pytest.mark.parametrize("option", ["--logfile", "--redirect_output"])
@pytest.mark.parametrize("name", ["in.tif", "project.ilp", "in.h5", "in.zarr/0/.zarray"])
def test_log_files_do_not_run_into_inputs(folder: Path, option: str, name: str) -> None:
    before = contents(folder)
    images = ["--raw_data", "in.tif", "in.h5/data", "in.zarr"]
    done = predict("--project", "project.ilp", option, name, *images, cwd=folder)
    assert done.returncode == 2
    assert f"{option}: it would overwrite" in done.stderr
    assert contents(folder) == before


def test_other_arrays_of_the_images_own_file_may_be_written(folder: Path) -> None:
    given = ["--output_filename_format", "in.h5", "--output_internal_path", "more/probabilities"]
    done = predict(*PLATE, *given, "in.h5/more/data", cwd=folder)
    assert done.returncode == 0, done.stderr
    assert content(folder / "in.h5/more/probabilities").shape == (60, 70, 3)
    assert np.array_equal(content(folder / "in.h5/more/data"), corner()[:60, :70])
    assert np.array_equal(content(folder / "in.h5/data"), corner()[:60, :70])


def test_a_group_of_arrays_is_not_replaced_by_one(folder: Path) -> None:
    np.save(folder / "x.npy", corner()[:60, :70])
    before = contents(folder)
    done = predict(*PLATE, "--output_filename_format", "in.h5", "--output_internal_path", "more", "x.npy", cwd=folder)
    assert done.returncode == 1
    assert "'more' is a group that holds data; choose another name with --output_internal_path" in done.stderr
    assert contents(folder) == before


def test_processes_that_write_into_one_file_lose_no_array(folder: Path) -> None:
    with h5py.File(folder / "all.h5", "w") as file:
        file["first"] = np.arange(6)
        file.attrs["from"] = "somebody"
    names = [f"p{n}" for n in range(4)]
    given = ["--output_filename_format", "all.h5", "--threads", "1", "in.npy", "--output_internal_path"]
    commands = [[sys.executable, str(PROGRAM), "predict", *PLATE, *given, name] for name in names]
    running = [subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL) for command in commands]
    assert [process.wait(120) for process in running] == [0] * 4
    with h5py.File(folder / "all.h5") as file:
        assert set(file) == {"first", *names}
        assert file.attrs["from"] == "somebody"
        assert all(np.array_equal(file[name][()], file["p0"][()]) for name in names)
    assert not [p.name for p in folder.iterdir() if p.name.startswith(".")]


def test_an_array_written_while_another_was_computed_stays(tmp_path: Path) -> None:
    from omero_pixclf.files.axes import axes_from_keys
    from omero_pixclf.files.export.output_array import OutputArray
    from omero_pixclf.files.hdf5.hdf5_writer import write_hdf5

    target, whole = OutputArray((4, 5), np.dtype("f4"), axes_from_keys("yx")), (slice(0, 4), slice(0, 5))
    path = tmp_path / "all.h5"
    with write_hdf5(path, "a/slow", target, compress=True) as slow:
        slow(whole, np.ones((4, 5), "f4"))
        with write_hdf5(path, "a/quick", target, compress=False) as quick:
            quick(whole, np.zeros((4, 5), "f4"))
    with h5py.File(path) as file:
        assert {name: float(file["a"][name][()].mean()) for name in file["a"]} == {"slow": 1.0, "quick": 0.0}
        assert file["a/slow"].compression == "gzip"
        assert file["a/slow"].attrs["DIMENSION_LABELS"].tolist() == ["y", "x"]


@pytest.mark.parametrize("out", ["in.zarr", "in.zarr/results", "link/results"])
@pytest.mark.parametrize("command", ["run", "check"])
def test_results_of_runs_are_not_written_into_an_image(folder: Path, out: str, command: str) -> None:
    (folder / "link").symlink_to(folder / "in.zarr")
    before = contents(folder)
    given = [str(PROGRAM), command, "in.zarr", "--out", out, *PLATE]
    done = subprocess.run(given, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "results would be written into the image" in done.stderr
    assert contents(folder) == before
