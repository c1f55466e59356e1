"""Command lines of headless ilastik as they stand in public repositories, run unchanged by ``predict``.

Of each, the program is replaced and the placeholders are filled in: the names of projects, images and folders. The
options, their spelling, their order and their values are those of the source.
"""

from __future__ import annotations

import os
import shlex
from dataclasses import dataclass, field
from pathlib import Path

import h5py
import numpy as np
import pytest
import tifffile
from PIL import Image

from omero_pixclf.demo import images
from omero_pixclf.files.export.image_writer import save_image
from tests.e2e.predicting import DEMO, corner, predict
from tests.properties.ilp_fuzz import edited

RAW = "Input Data/infos/lane0000/Raw Data"


@dataclass(frozen=True)
class Line:
    """A command line: where it stands, its words behind the program, and the files that it leaves."""

    source: str
    words: str
    made: tuple[str, ...]
    environment: dict[str, str] = field(default_factory=dict)


LINES = [
    Line(
        "nf-core/modules modules/nf-core/ilastik/pixelclassification/main.nf",
        "--headless --readonly 1 --project=p.ilp --output_filename_format=test.hdf5 --export_source=Probabilities a.h5",
        ("test.h5",),
    ),
    Line(
        "nf-core/modules modules/nf-core/ilastik/pixelclassification/main.nf (mcmicro-ilastik:1.6.1)",
        "--headless --readonly 1 --project=p.ilp a.h5",
        ("a_Probabilities.h5",),
    ),
    Line(
        "ilastik/ilastik4ij src/main/java/org/ilastik/ilastik4ij/workflow (1.8 and later)",
        "--headless --project=p.ilp --output_format=hdf5 --output_axis_order=tzyxc --input_axes=tzyxc --readonly=1 "
        "--output_internal_path=exported_data '--export_source=Simple Segmentation' --raw_data=five.h5 "
        "--output_filename_format=predictions.h5",
        ("predictions.h5",),
        {"LAZYFLOW_THREADS": "2", "LAZYFLOW_TOTAL_RAM_MB": "4096", "LANG": "en_US.UTF-8", "LC_ALL": "en_US.UTF-8"},
    ),
    Line(
        "ilastik/ilastik4ij src/main/java/org/ilastik/ilastik4ij/executors/AbstractIlastikExecutor.java",
        "--headless --project=p.ilp --output_format=hdf5 --output_axis_order=tzyxc --input_axes=tzyxc --readonly "
        "--output_internal_path=exported_data --input_axes=tzyxc --export_source=Probabilities --raw_data=five.h5 "
        "--output_filename_format=five_out.h5",
        ("five_out.h5",),
    ),
    Line(
        "ilastik/ilastik4ij issue 86 (1.7)",
        "--headless --project=p.ilp --output_format=hdf5 --output_axis_order=tzyxc --input_axes=tzyxc --readonly=1 "
        "--output_internal_path=exported_data --input_axes=tzyxc '--export_source=Simple Segmentation' "
        "--raw_data=five.h5 --output_filename_format=T/ilastik4j_out.h5",
        ("T/ilastik4j_out.h5",),
    ),
    Line(
        "CellProfiler/CellProfiler-plugins active_plugins/runilastik.py",
        "--headless --project p.ilp --output_format hdf5 --export_source Probabilities --output_filename_format "
        "empty.h5 a.h5",
        ("empty.h5",),
    ),
    Line(
        "labsyspharm/mcmicro-ilastik mc-ilastik.py",
        "--headless --export_dtype uint8 --project p.ilp a.hdf5 b.hdf5",
        ("a_Probabilities.h5", "b_Probabilities.h5"),
    ),
    Line(
        "labsyspharm/mcmicro-ilastik IlastikHeadless.sh", "--headless --project=p.ilp a.hdf5", ("a_Probabilities.h5",)
    ),
    Line(
        "BodenmillerGroup/steinbock steinbock/classification/ilastik/ilastik.py",
        "--headless --project=p.ilp --readonly --input_axes=cyx --export_source=Probabilities --output_format=tiff "
        "--output_filename_format=out/{nickname}.tiff --export_dtype=uint16 --output_axis_order=yxc "
        "'--pipeline_result_drange=(0.0,1.0)' '--export_drange=(0,65535)' cyx.h5/img cyx2.h5/img",
        ("out/cyx-img.tiff", "out/cyx2-img.tiff"),
    ),
    Line(
        "ilastik/ilastik.github.io documentation/basics/headless.md",
        "--headless --project=p.ilp my_next_image1.png my_next_image2.png",
        ("my_next_image1_Probabilities.h5", "my_next_image2_Probabilities.h5"),
    ),
    Line(
        "ilastik/ilastik.github.io documentation/basics/headless.md (output options)",
        "--headless --project=p.ilp --output_format=tiff --output_filename_format=results/{nickname}_results.tiff "
        "my_next_image1.png my_next_image2.png",
        ("results/my_next_image1_results.tiff", "results/my_next_image2_results.tiff"),
    ),
    Line(
        "ilastik/ilastik.github.io documentation/basics/headless.md (stacks)",
        "--headless --project=channels.ilp --stack_along=c 'my_stack_*.png' 'my_other_stack_*.png'",
        ("my_stack__Probabilities.h5", "my_other_stack__Probabilities.h5"),
    ),
    Line(
        "wpbonelli/pytcherplants pipeline.sh",
        "--headless --project=p.ilp --output_format=tiff --output_filename_format=O/{nickname}_segmented.tiff "
        "'--export_source=Simple Segmentation' a.h5",
        ("O/a_segmented.tiff",),
    ),
    Line(
        "Harrison-Oatman/NucleiTracking batched/ilastik_batch.sh",
        "--headless --project=old.ilp --stack_along=t --output_filename_format=./out/{nickname}_probabilities.h5 "
        "./volume.tif",
        ("out/volume_probabilities.h5",),
    ),
    Line(
        "DrK-Lo/oyster_larvae_photo_analysis src/run_ilastik_for_cellp.sh",
        "--headless --project=p.ilp a.h5 b.h5 --output_format=tif --export_dtype=uint16 --output_axis_order=cyx "
        "'--pipeline_result_drange=(0.0,1.00)' '--export_drange=(0,65535)' "
        "--output_filename_format=./prob_maps/{nickname}_results.tif",
        ("prob_maps/a_results.tif", "prob_maps/b_results.tif"),
    ),
    Line(
        "markdane/CellTracking HeLa_Ilastik_pipeline.R",
        "--headless --project=old.ilp '--raw_data=S/Scene1Interval*_TxRed.tif' '--output_format=tif sequence' "
        "--output_filename_format=S/Probabilities_{slice_index}.tif",
        ("S/Probabilities_00.tif",),
    ),
    Line(
        "spacetx/starfish starfish/core/image/Filter/ilastik_pre_trained_probability.py",
        "--headless --project p.ilp --output_filename_format dapi_Probabilities.h5 dapi.npy",
        ("dapi_Probabilities.h5",),
    ),
    Line(
        "lmiroslaw/azure-batch-ilastik README.md",
        "--headless --project=old.ilp volumes.h5 '--export_source=Simple Segmentation' "
        "'--output_filename_format=out/{nickname}{slice_index}.tiff' '--output_format=multipage tiff sequence'",
        ("out/volumes0.tiff", "out/volumes1.tiff"),
    ),
    Line(
        "ilastik/ilastik issue 2521 (quotation marks that Windows' shell takes away)",
        """--headless '--project="p.ilp"' '--export_source="Simple Segmentation"' '--raw_data="a.h5"' """
        """--output_format=tiff '--output_filename_format="a_probabilities.tiff"'""",
        ("a_probabilities.tiff",),
    ),
    Line(
        "ilastik/ilastik issue 3015",
        "--headless --project=p.ilp --export_source=labels a.h5",
        ("a_Labels.h5",),
    ),
    Line(
        "ilastik/ilastik tests/test_ilastik/test_workflows/test_HeadlessPixelClassificationWorkflow.py",
        "--project=p.ilp --headless --sys_tmp_dir=/tmp --output_format=hdf5 "
        "--output_filename_format={dataset_dir}/{nickname}_prediction.h5 --output_internal_path=volume/pred_volume "
        "--raw_data a.h5 --prediction_mask mask.h5",
        ("a_prediction.h5",),
    ),
    Line(
        "michielkleinnijenhuis/EM pipelines/EM_pipeline_2018_ARC-JAL-LOC.sh",
        "--headless --preconvert_stacks --project=old.ilp --output_axis_order=zyxc '--output_format=compressed hdf5' "
        "--output_filename_format=d_probs.h5 --output_internal_path=volume/predictions volume.h5/data",
        ("d_probs.h5",),
        {"LAZYFLOW_THREADS": "16", "LAZYFLOW_TOTAL_RAM_MB": "110000"},
    ),
    Line(
        "taffish/ilastik README.md",
        "--headless --readonly=1 --project=p.ilp --output_format=hdf5 "
        "'--output_filename_format={dataset_dir}/{nickname}_prediction.h5' --raw_data a.h5",
        ("a_prediction.h5",),
    ),
    Line(
        "titouanlegourrierec/EasIlastik easilastik/run_ilastik.py",
        "--headless --project=p.ilp '--export_source=Simple Segmentation' --output_format=png "
        "--output_filename_format=o/{nickname}_Simple_Segmentation my_next_image1.png my_next_image2.png",
        ("o/my_next_image1_Simple_Segmentation.png", "o/my_next_image2_Simple_Segmentation.png"),
    ),
]


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Images and projects by the names that the lines have for them."""
    folder = tmp_path_factory.mktemp("inputs")
    field = corner()[:40, :44]
    plate, stack = (DEMO / "plate.ilp").read_bytes(), (DEMO / "stack.ilp").read_bytes()
    (folder / "p.ilp").write_bytes(plate)
    (folder / "channels.ilp").write_bytes(edited(plate, lambda file: _without_axes(file)))
    (folder / "old.ilp").write_bytes(edited(stack, lambda file: _without_axes(file)))
    arrays = {"a.h5/data": field, "b.h5/data": field, "a.hdf5/data": field, "b.hdf5/data": field}
    arrays |= {"five.h5/data": field[None, None], "mask.h5/data": np.ones((40, 44, 1), np.uint8)}
    arrays |= {"cyx.h5/img": field.transpose(2, 0, 1), "cyx2.h5/img": field.transpose(2, 0, 1)}
    volume = images.z_stack(3).pixels[0, :24, :40, :44, 0]
    arrays |= {"volume.h5/data": volume, "volumes.h5/data": np.stack([volume[..., None]] * 2)}
    for address, values in arrays.items():
        name, _, inside = address.partition("/")
        with h5py.File(folder / name, "w") as file:
            file[inside] = values
    (folder / "empty.h5").write_bytes(b"")
    np.save(folder / "dapi.npy", field)
    tifffile.imwrite(folder / "volume.tif", volume)
    (folder / "S").mkdir()
    for z, plane in enumerate(volume):
        tifffile.imwrite(folder / f"S/Scene1Interval{z:02}_TxRed.tif", plane)
    for name in ("my_next_image1", "my_next_image2"):
        save_image(folder / f"{name}.png", (field >> 4).astype(np.uint8)[None, None], axes="yxc")
    for name in ("my_stack", "my_other_stack"):
        for number in (1, 2):
            Image.fromarray((field[..., number - 1] >> 4).astype(np.uint8)).save(folder / f"{name}_{number}.png")
    return folder


def _without_axes(file: h5py.File) -> None:
    for name in {"axistags", "shape", "axisorder"} & {*file[RAW]}:
        del file[RAW][name]


@pytest.mark.parametrize("line", LINES, ids=lambda line: line.source)
def test_a_command_line_from_elsewhere_runs_unchanged(inputs: Path, tmp_path: Path, line: Line) -> None:
    for path in inputs.rglob("*"):
        if path.is_file():
            (tmp_path / path.relative_to(inputs)).parent.mkdir(exist_ok=True)
            (tmp_path / path.relative_to(inputs)).write_bytes(path.read_bytes())
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file() and path.stat().st_size}
    done = predict(*shlex.split(line.words), cwd=tmp_path, env={**os.environ, **line.environment})
    assert done.returncode == 0, done.stderr
    assert not [name for name in line.made if not (tmp_path / name).stat().st_size]
    assert all(path.read_bytes() == content for path, content in before.items())


def test_the_version_is_told_without_a_project(tmp_path: Path) -> None:
    """nf-core's versions.yml: ``ilastik: $(run_ilastik.sh --headless --version)``."""
    from omero_pixclf import __version__

    done = predict("--headless", "--version", cwd=tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, f"omero_pixclf {__version__}\n", "")


@pytest.mark.parametrize(
    "words",
    [
        "--readonly 1 a.h5",
        "--readonly=0 a.h5",
        "--readonly True --raw_data a.h5",
        "--readonly a.h5",
        "--clean_paths --hbp --nn_device cpu a.h5",
        "--output_internal exported_data --raw a.h5",
    ],
)
def test_flags_with_values_and_short_names_are_ilastiks(inputs: Path, tmp_path: Path, words: str) -> None:
    (tmp_path / "a.h5").write_bytes((inputs / "a.h5").read_bytes())
    done = predict("--headless", "--project", inputs / "p.ilp", *words.split(), cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.h5", "a_Probabilities.h5"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--readonly=maybe a.h5", "'maybe' is not a boolean"),
        ("--output_f hdf5 a.h5", "is ambiguous: --output_filename_format, --output_format"),
        ("--retrain a.h5", "predict does not train"),
        ("--prediction_maps m.h5 --raw_data a.h5", "object classification and tracking"),
        ("--distributed a.h5", "not supported by predict"),
        ("--nonsense a.h5", "No such option"),
    ],
)
def test_what_is_not_ilastiks_is_refused_with_reasons(inputs: Path, tmp_path: Path, words: str, message: str) -> None:
    (tmp_path / "a.h5").write_bytes((inputs / "a.h5").read_bytes())
    done = predict("--project", inputs / "p.ilp", *words.split(), cwd=tmp_path)
    assert done.returncode == 2
    assert message in " ".join(done.stderr.split())
    assert [p.name for p in tmp_path.iterdir()] == ["a.h5"]


def test_ilastiks_variables_of_the_environment_are_checked(inputs: Path, tmp_path: Path) -> None:
    (tmp_path / "a.h5").write_bytes((inputs / "a.h5").read_bytes())
    given = ["--project", inputs / "p.ilp", "a.h5"]
    done = predict(*given, cwd=tmp_path, env={**os.environ, "LAZYFLOW_THREADS": "many"})
    assert (done.returncode, "LAZYFLOW_THREADS='many' in the environment" in done.stderr) == (2, True)
    none = {"LAZYFLOW_THREADS": "", "LAZYFLOW_TOTAL_RAM_MB": "0"}
    assert predict(*given, cwd=tmp_path, env={**os.environ, **none}).returncode == 0


def test_output_logs_and_names_go_where_ilastiks_options_say(inputs: Path, tmp_path: Path) -> None:
    (tmp_path / "a.h5").write_bytes((inputs / "a.h5").read_bytes())
    given = ["--project", inputs / "p.ilp", "--debug", "--process_name", "job 7%", "a.h5", "gone.h5"]
    told = predict(*given, "--logfile", "log", cwd=tmp_path)
    assert "job 7% " in told.stderr
    assert " DEBUG omero_pixclf" in (tmp_path / "log").read_text()
    for _ in range(2):
        done = predict(*given, "--redirect_output", "all", cwd=tmp_path)
        assert (done.returncode, done.stdout, done.stderr) == (told.returncode, "", "")
    text = (tmp_path / "all").read_text()
    assert text.count("a.h5 -> ") == text.count("failed: gone.h5") == text.count("1 of 2 images done") == 2
    assert text.count("job 7% ") >= 2
    refused = predict(*given, "--redirect_output", "all", "--export_source", "x", cwd=tmp_path)
    assert (refused.returncode, "export source 'x' is unknown" in refused.stderr) == (2, True)
    assert "error: export source 'x' is unknown" in (tmp_path / "all").read_text()


def test_a_log_that_cannot_be_written_is_told(inputs: Path, tmp_path: Path) -> None:
    for option in ("--logfile", "--redirect_output"):
        done = predict("--project", inputs / "p.ilp", option, "none/log", inputs / "a.h5", cwd=tmp_path)
        assert (done.returncode, "none/log: could not be written: No such file" in done.stderr) == (1, True)
