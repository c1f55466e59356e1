"""``omero-pixclf predict`` as a user starts it: a process, real files, the shipped projects."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import h5py
import numpy as np
import pytest
import tifffile

from omero_pixclf.demo import images
from omero_pixclf.files.export.image_writer import save_image
from tests.e2e.predicting import DEMO, PLATE, PROGRAM, content, corner, predict


@pytest.fixture(scope="module")
def raw() -> np.ndarray:
    return corner()


@pytest.fixture
def folder(tmp_path: Path, raw: np.ndarray) -> Path:
    with h5py.File(tmp_path / "raw.h5", "w") as file:
        file["data"] = raw
    return tmp_path


def test_all_formats_hold_the_same_pixels(folder: Path) -> None:
    expected = None
    for output_format, address in [
        ("hdf5", "out.h5/exported_data"),
        ("compressed hdf5", "out.h5/exported_data"),
        ("numpy", "out.npy"),
        ("multipage tiff", "out.tiff"),
        ("single-scale OME-Zarr", "out.zarr"),
    ]:
        done = predict(
            *PLATE, "--output_format", output_format, "--output_filename_format", "out", "raw.h5/data", cwd=folder
        )
        assert (done.returncode, done.stderr) == (0, "")
        pixels = content(folder / address)
        if output_format == "multipage tiff":
            pixels = pixels.transpose(1, 2, 0)
        if output_format == "single-scale OME-Zarr":
            pixels = pixels[0, :, 0].transpose(1, 2, 0)
        expected = pixels if expected is None else expected
        assert np.array_equal(pixels, expected)
    assert expected is not None
    assert expected.shape == (130, 150, 3)
    assert expected.sum(axis=2) == pytest.approx(1, abs=1e-5)


def test_pictures_are_the_segmentation(folder: Path) -> None:
    from PIL import Image

    for output_format in ("png", "tiff", "tif", "numpy"):
        done = predict(
            *PLATE,
            *("--export_source", "simple segmentation", "--output_format", output_format),
            *("--output_filename_format", "{nickname}_{result_type}", "raw.h5/data"),
            cwd=folder,
        )
        assert done.returncode == 0, done.stderr
    expected = np.load(folder / "raw-data_Simple Segmentation.npy")[..., 0]
    assert set(np.unique(expected)) <= {1, 2, 3}
    assert np.array_equal(np.asarray(Image.open(folder / "raw-data_Simple Segmentation.png")), expected)
    assert np.array_equal(tifffile.imread(folder / "raw-data_Simple Segmentation.tiff"), expected)
    assert np.array_equal(tifffile.imread(folder / "raw-data_Simple Segmentation.tif"), expected)


def test_ranges_types_axes_and_cuts_are_those_of_the_whole(folder: Path) -> None:
    assert predict(*PLATE, "--output_filename_format", "whole.h5", "raw.h5/data", cwd=folder).returncode == 0
    done = predict(
        *PLATE,
        *("--export_dtype", "uint8", "--pipeline_result_drange", "(0.0,1.0)", "--export_drange", "(0,255)"),
        *("--output_axis_order", "cyx", "--cutout_subregion", "[(20,30,1),(90,None,3)]"),
        *("--output_filename_format", "{nickname}_{y_start}-{y_stop}_c{c_start}.h5"),
        *("--output_internal_path", "volume/prediction", "raw.h5/data"),
        cwd=folder,
    )
    assert done.returncode == 0, done.stderr
    whole = content(folder / "whole.h5/exported_data")
    part = content(folder / "raw-data_20-90_c1.h5/volume/prediction")
    assert np.array_equal(part, np.rint(255 * whole[20:90, 30:, 1:3]).astype(np.uint8).transpose(2, 0, 1))
    with h5py.File(folder / "raw-data_20-90_c1.h5") as file:
        assert file["volume/prediction"].attrs["drange"].tolist() == [0, 255]


def test_uncertainty_features_and_labels_have_ilastiks_shapes_and_types(folder: Path) -> None:
    expected = {"Uncertainty": (1, "float32"), "Features": (38, "float32"), "Labels": (1, "uint8")}
    for source, (channels, dtype) in expected.items():
        done = predict(*PLATE, "--export_source", source, "raw.h5/data", cwd=folder)
        assert done.returncode == 0, done.stderr
        with h5py.File(folder / f"raw-data_{source}.h5") as file:
            item = file["exported_data"]
            assert (item.shape, item.dtype.name) == ((130, 150, channels), dtype)
            assert item.attrs["display_mode"] == ("default" if source == "Labels" else "grayscale")
            assert ("drange" in item.attrs) == (source != "Features")


def test_a_mask_gives_zero_where_it_is_zero(folder: Path, raw: np.ndarray) -> None:
    mask = np.zeros((*raw.shape[:2], 1), np.uint8)
    mask[40:80, 50:100] = 7
    np.save(folder / "mask.npy", mask)
    done = predict(*PLATE, "--raw_data", "raw.h5/data", "--prediction_mask", "mask.npy", cwd=folder)
    assert done.returncode == 0, done.stderr
    masked = content(folder / "raw-data_Probabilities.h5/exported_data")
    assert not masked[mask[..., 0] == 0].any()
    assert masked[mask[..., 0] > 0].sum(axis=1) == pytest.approx(1, abs=1e-5)


def test_results_do_not_depend_on_the_inputs_format_memory_or_threads(folder: Path, raw: np.ndarray) -> None:
    five = raw[None, None]
    for name in ("a.tif", "a.npy", "a.zarr"):
        save_image(folder / name, five, axes="yxc")
    given = ["--output_format", "numpy", "--memory", "20M", "--threads", "1", "--input_axes"]
    for name, axes in (("a.npy", "yxc"), ("a.tif", "cyx"), ("a.zarr", "tczyx"), ("raw.h5/data", "yxc")):
        template = f"out_{name.split('.')[1][:2]}"
        done = predict(*PLATE, *given, axes, "--output_filename_format", template, name, cwd=folder)
        assert done.returncode == 0, done.stderr
    expected = np.load(folder / "out_h5.npy")
    assert np.array_equal(np.load(folder / "out_np.npy"), expected)
    assert np.array_equal(np.load(folder / "out_ti.npy").transpose(1, 2, 0), expected)
    assert np.array_equal(np.load(folder / "out_za.npy")[0, :, 0].transpose(1, 2, 0), expected)


def test_the_files_own_axes_count_only_when_asked_for(folder: Path, raw: np.ndarray) -> None:
    with h5py.File(folder / "cyx.h5", "w") as file:
        file["data"] = raw.transpose(2, 0, 1)
        tags = [{"key": k, "typeFlags": 2, "resolution": 0, "description": ""} for k in "cyx"]
        file["data"].attrs["axistags"] = json.dumps({"axes": tags})
    wrong = predict(*PLATE, "cyx.h5/data", cwd=folder)
    assert wrong.returncode == 2
    assert "trained on 2 channels, cyx.h5/data has 150" in wrong.stderr.replace(f"{folder}/", "")
    assert "with its own axes, cyx, it has 2 channels: --ignore_training_axistags uses those" in wrong.stderr
    right = predict(*PLATE, "--ignore_training_axistags", "cyx.h5/data", cwd=folder)
    assert right.returncode == 0, right.stderr
    assert content(folder / "cyx-data_Probabilities.h5").shape == (3, 130, 150)


# The peak of a command, in KiB. Linux counts what the parent held at the fork for the child, too: so a small parent.
PEAK = """
import os, subprocess, sys
child = subprocess.Popen(sys.argv[1:], stdout=subprocess.DEVNULL)
_, status, usage = os.wait4(child.pid, 0)
print(usage.ru_maxrss)
sys.exit(os.waitstatus_to_exitcode(status))
"""


@pytest.mark.parametrize("output_format", ["compressed hdf5", "single-scale OME-Zarr"])
def test_the_memory_that_is_allowed_is_kept(tmp_path: Path, output_format: str) -> None:
    """A compressed TIFF of 1536 x 8000 pixels: without a limit its prediction takes more than 270 MB."""
    row = np.tile(images.plate_field("A1", 1).pixels[0, 0], (1, 16, 1))[:, :8000]
    tifffile.imwrite(
        tmp_path / "wide.tif",
        np.tile(row, (3, 1, 1)),
        photometric="minisblack",
        planarconfig="contig",
        rowsperstrip=64,
        compression="deflate",
        compressionargs={"level": 1},
    )
    given = ["--memory", "200M", "--output_format", output_format, "--output_filename_format", "out", "wide.tif"]
    command = [sys.executable, "-c", PEAK, str(PROGRAM), "predict", *PLATE, *given]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert int(done.stdout.splitlines()[-1]) * 1024 < 1.05 * 200 * 2**20


def test_channels_are_chosen_by_number_or_name(folder: Path, raw: np.ndarray) -> None:
    more = np.concatenate([np.zeros_like(raw[..., :1]), raw[..., ::-1]], axis=2)
    save_image(folder / "more.tif", more[None, None], axes="yxc", channels=("empty", "cyto", "dapi"))
    given = [*PLATE, "--output_format", "numpy"]
    assert predict(*given, "--output_filename_format", "own", "raw.h5/data", cwd=folder).returncode == 0
    for channels in ("2,1", "dapi,cyto"):
        done = predict(*given, "--ignore_training_axistags", "--channels", channels, "more.tif", cwd=folder)
        assert done.returncode == 0, done.stderr
        chosen = np.load(folder / "more_Probabilities.npy").transpose(1, 2, 0)
        assert np.array_equal(chosen, np.load(folder / "own.npy"))
    done = predict(*given, "--ignore_training_axistags", "--channels", "red,1", "more.tif", cwd=folder)
    assert done.returncode == 2
    assert "no channel 'red'" in done.stderr
    assert "empty, cyto, dapi" in done.stderr


def test_another_rank_is_refused_and_tells_what_would_help(folder: Path, raw: np.ndarray) -> None:
    np.save(folder / "yx.npy", raw[..., 0])
    done = predict(*PLATE, "yx.npy", cwd=folder)
    assert done.returncode == 2
    assert "expected 3 dimensions (yxc), found 2" in done.stderr
    assert "--input_axes" in done.stderr


def test_one_bad_file_does_not_stop_the_others(folder: Path) -> None:
    (folder / "bad.h5").write_bytes(b"no")
    done = predict(*PLATE, "--raw_data", "bad.h5/data", "raw.h5/data", "gone.tif", cwd=folder)
    assert done.returncode == 1
    assert (folder / "raw-data_Probabilities.h5").exists()
    assert "1 of 3 images done, 2 failed" in done.stdout
    assert done.stderr.count("failed:") == 2
    stopped = predict(*PLATE, "--exit_on_failure", "--json", "bad.h5/data", "raw.h5/data", cwd=folder)
    assert json.loads(stopped.stdout.splitlines()[-1]) == {"done": 0, "failed": 1, "not_tried": 1}


def test_json_is_one_document_per_line(folder: Path) -> None:
    done = predict(*PLATE, "--json", "raw.h5/data", "gone.h5/x", cwd=folder)
    first, second, last = (json.loads(line) for line in done.stdout.splitlines())
    assert (first["state"], first["error"]) == ("done", None)
    assert first["output"] == f"{folder}/raw-data_Probabilities.h5/exported_data"
    assert (second["state"], second["output"]) == ("failed", None)
    assert last == {"done": 1, "failed": 1, "not_tried": 0}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["--export_source", "Nonsense", "raw.h5/data"],
            "Probabilities, Simple Segmentation, Uncertainty, Features, Labels",
        ),
        (["--output_format", "dvid", "raw.h5/data"], "'dvid' is not supported"),
        (["--retrain", "raw.h5/data"], "predict does not train"),
        (["--tree-count=3", "raw.h5/data"], "predict does not train"),
        (["--cutout_subregion", "[(0,0),(1,1)]", "raw.h5/data"], "expected 3 numbers each"),
        (["--cutout_subregion", "__import__('os')", "raw.h5/data"], "expected the form"),
        (["--pipeline_result_drange", "(0,1,2)", "raw.h5/data"], "expected two numbers"),
        (["--export_drange", "(0,255)", "raw.h5/data"], "needs --pipeline_result_drange"),
        (["--memory", "much", "raw.h5/data"], "is not a size"),
        (["--compare", "raw.h5/data"], "--compare needs --engine"),
        (["--engine", "ilastik=/nowhere", "raw.h5/data"], "no such program"),
        (["--engine", "other", "raw.h5/data"], "expected native"),
        (["--raw_data", "raw.h5/data", "--", "raw.h5/data"], "given twice"),
        ([], "no images"),
    ],
)
def test_wrong_usage_is_told_and_is_exit_code_2(folder: Path, arguments: list[str], message: str) -> None:
    done = predict(*PLATE, *arguments, cwd=folder)
    assert done.returncode == 2
    assert message in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr
    assert [p.name for p in folder.iterdir()] == ["raw.h5"]


def test_two_images_that_lead_to_one_file_do_not_overwrite_each_other(folder: Path, raw: np.ndarray) -> None:
    np.save(folder / "other.npy", raw)
    done = predict(*PLATE, "--output_filename_format", "out", "raw.h5/data", "other.npy", cwd=folder)
    assert done.returncode == 1
    assert "would overwrite that of raw.h5/data" in done.stderr


def test_a_stack_of_files_is_one_image(tmp_path: Path) -> None:
    stack = images.z_stack(3).pixels[0, :, :40, :44, 0]
    for z, plane in enumerate(stack):
        tifffile.imwrite(tmp_path / f"z{z:02}.tif", plane)
    np.save(tmp_path / "whole.npy", stack[..., None])
    project = ["--project", DEMO / "stack.ilp", "--output_format", "numpy"]
    one = predict(*project, "--input_axes", "zyx", "--output_filename_format", "a", "z*.tif", cwd=tmp_path)
    two = predict(*project, "--output_filename_format", "b", "whole.npy", cwd=tmp_path)
    assert (one.returncode, two.returncode) == (0, 0), one.stderr + two.stderr
    assert np.array_equal(np.load(tmp_path / "a.npy"), np.load(tmp_path / "b.npy"))


def test_sequences_are_a_file_per_step(tmp_path: Path) -> None:
    lapse = images.time_lapse(3, frames=11).pixels[:, 0, :50, :60]
    np.save(tmp_path / "t.npy", lapse)
    given = ["--project", DEMO / "lapse.ilp", "--export_source", "Simple Segmentation", "t.npy"]
    assert predict(*given, "--output_format=numpy", "--output_filename_format=seg", cwd=tmp_path).returncode == 0
    sequence = ["--output_format=png sequence", "--output_filename_format=s_{slice_index}"]
    done = predict(*given, *sequence, "--cutout_subregion=[(2,0,0,0),(None,None,None,None)]", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    names = sorted(p.name for p in tmp_path.glob("s_*.png"))
    assert names == [f"s_{i:02}.png" for i in range(2, 11)]
    assert np.array_equal(content(tmp_path / "s_07.png")[..., 0], np.load(tmp_path / "seg.npy")[7, ..., 0])


def test_a_terminated_process_leaves_neither_result_nor_parts(tmp_path: Path) -> None:
    big = np.tile(images.plate_field("A1", 1).pixels[0, 0], (6, 6, 1))
    np.save(tmp_path / "big.npy", big)
    command = [str(PROGRAM), "predict", *PLATE, "--threads", "1", "--output_format", "numpy", "big.npy"]
    for how in (signal.SIGINT, signal.SIGTERM):
        process = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True)
        limit = time.monotonic() + 30
        while not list(tmp_path.glob(".*.part")) and process.poll() is None and time.monotonic() < limit:
            time.sleep(0.01)
        assert list(tmp_path.glob(".*.part"))
        process.send_signal(how)
        _, said = process.communicate(timeout=30)
        assert process.returncode == 130, said
        assert [p.name for p in tmp_path.iterdir()] == ["big.npy"]


def test_the_way_of_predict_imports_nothing_heavy(folder: Path) -> None:
    script = f"""
        import sys
        from omero_pixclf.cli.predict import predict
        code = predict.main({[*PLATE, str(folder / "raw.h5/data")]!r}, standalone_mode=False)
        heavy = {{"scipy", "skimage", "pandas", "matplotlib", "pydantic", "omero", "Ice", "rich", "zarr", "tifffile"}}
        print(code, sorted(heavy & set(sys.modules)))
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(script)], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "0 []"
