"""Projects as ilastik 0.6 to 1.1 stored them predict what ilastik predicts with today's."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import h5py
import numpy as np
import pytest

from omero_pixclf.app.execute import run_in_folder
from omero_pixclf.app.request import RunRequest
from omero_pixclf.cli.predict import predict
from omero_pixclf.config import parse_recipe
from omero_pixclf.errors import UsageError
from omero_pixclf.ilastik.project import read_project
from tests.golden.cases import OWN, project_of, stored
from tests.properties.ilp_fuzz import edited

NOT_STORED = ("axistags", "axisorder", "shape", "ComputeIn2d", "known_labels", "feature_names", "pickled_type")
FLAT = ("k05_2d_customscales_reordered", "k06_2d_u16_typical8", "k09_2d2c_nan_inf")


def of_early_versions(content: bytes, *, version: object = 0.6) -> bytes:
    """The same project without the facts that early versions did not store."""

    def edit(file: h5py.File) -> None:
        found: list[str] = []
        file.visit(lambda name: found.append(name) if name.rpartition("/")[2] in NOT_STORED else None)
        for name in found:
            if not name.startswith("PixelClassification/LabelSets"):
                del file[name]
        del file["ilastikVersion"]
        file["ilastikVersion"] = version

    return edited(content, edit)


def old_project(folder: Path, place: Path, **how: object) -> Path:
    kept = folder / "project.ilp.gz"
    content = gzip.decompress(kept.read_bytes()) if kept.is_file() else project_path(folder).read_bytes()
    path = place / "old.ilp"
    path.write_bytes(of_early_versions(content, **how))
    return path


def project_path(folder: Path) -> Path:
    return folder.parents[1] / f"{folder.name}.ilp"


def check(folder: Path, place: Path) -> None:
    axes = json.loads((folder / "case.json").read_text())["axes"]
    project = old_project(folder, place)
    assert read_project(project).axes == ""
    given = [f"--project={project}", f"--input_axes={axes}", "--output_format=numpy"]
    code = predict.main([*given, f"--output_filename_format={place}/o", f"{folder}/raw.h5/data"], standalone_mode=False)
    assert code == 0
    with h5py.File(folder / "probabilities.h5") as file:
        expected = file["exported_data"][()]
    new = project_of(folder)
    assert read_project(project).channels == new.channels
    assert float(np.abs(np.load(place / "o.npy") - expected).max()) <= 1e-6


@pytest.mark.parametrize("case", FLAT)
def test_an_early_project_of_planes_gives_ilastiks_probabilities(case: str, tmp_path: Path) -> None:
    check(OWN / case, tmp_path)


SHARED_CASES = (
    "goldens/c01_2d1c_u8_api", "goldens/c04_3d1c_u8_api", "goldens/c08_3d_zyx_u8_v122", "goldens/c13_2t3d2c_u8_v122",
    "goldens/c16_2d1c_u8_all37_notebook", "goldens/k02_3d1c_f32_all37_3d", "demo/goldens/stack", "demo/goldens/lapse",
)  # fmt: skip


@pytest.mark.shared
@pytest.mark.parametrize("case", SHARED_CASES)
def test_an_early_project_gives_ilastiks_probabilities(shared: Path, case: str, tmp_path: Path) -> None:
    check(shared / case, tmp_path)


def test_axes_are_the_images_own_where_the_project_says_none(tmp_path: Path) -> None:
    folder = OWN / FLAT[0]
    project = old_project(folder, tmp_path, version=b"1.0")
    assert predict.main([f"--project={project}", f"--output_filename_format={tmp_path}/o", f"{folder}/raw.h5"],
                        standalone_mode=False) == 0  # fmt: skip
    assert float(np.abs(stored(tmp_path / "o.h5") - stored(folder / "probabilities.h5")).max()) <= 1e-6


def test_a_run_over_files_takes_an_early_project(tmp_path: Path) -> None:
    folder = OWN / FLAT[0]
    project = old_project(folder, tmp_path)
    with h5py.File(folder / "raw.h5") as file, h5py.File(tmp_path / "image.h5", "w") as copy:
        file.copy("data", copy)
    settings = {
        "classifier": {"project": str(project)},
        "output": {"contact_sheet": False, "probabilities": "attachment"},
    }
    request = RunRequest((str(tmp_path / "image.h5"),), parse_recipe(settings, "recipe"), workers=1)
    list(run_in_folder(tmp_path / "out", request))
    [made] = (tmp_path / "out").rglob("probabilities.h5")
    assert float(np.abs(stored(made) - stored(folder / "probabilities.h5")).max()) <= 1e-6


def test_a_pixel_and_object_project_gives_its_pixel_probabilities(tmp_path: Path) -> None:
    folder = OWN / FLAT[0]

    def edit(file: h5py.File) -> None:
        del file["workflowName"]
        file["workflowName"] = b"Object Classification (from pixel classification)"

    project = tmp_path / "both.ilp"
    project.write_bytes(edited(gzip.decompress((folder / "project.ilp.gz").read_bytes()), edit))
    given = [f"--project={project}", f"--output_filename_format={tmp_path}/o", f"{folder}/raw.h5/data"]
    for source in ("Pixel Probabilities", "Probabilities"):
        assert predict.main([*given, f"--export_source={source}"], standalone_mode=False) == 0
        assert float(np.abs(stored(tmp_path / "o.h5") - stored(folder / "probabilities.h5")).max()) <= 1e-6
    with pytest.raises(UsageError, match="object classification is not supported"):
        predict.main([*given, "--export_source=Object Predictions"], standalone_mode=False)
