"""What a project says of exporting counts where the command line is silent, and never leaves the image's folder."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest

from omero_pixclf.errors import ProjectError, UsageError
from omero_pixclf.files.export.image_writer import ExportSettings
from omero_pixclf.files.export.naming import DEFAULT_TEMPLATE
from omero_pixclf.headless.project_settings import export_settings


def project(path: Path, **stored: object) -> Path:
    with h5py.File(path, "w") as file:
        group = file.create_group("Prediction Export")
        for name, value in stored.items():
            group[name] = value
    return path


def test_stored_settings_are_taken_and_given_ones_go_before(tmp_path: Path) -> None:
    path = project(
        tmp_path / "p.ilp",
        OutputFormat="compressed hdf5",
        OutputFilenameFormat="{dataset_dir}/sub/{nickname}",
        OutputInternalPath="volume",
        ExportDtype="uint8",
        InputMin=0.0,
        InputMax=1.0,
        ExportMin=0,
        ExportMax=255,
        RegionStart=np.array([0, -1, 2]),
        RegionStop=np.array([-1, 10, 3]),
        OutputAxisOrder="cyx",
    )
    assert export_settings(path, {}) == ExportSettings(
        "compressed hdf5",
        "{dataset_dir}/sub/{nickname}",
        "volume",
        "uint8",
        (0.0, 1.0),
        (0, 255),
        "cyx",
        ((0, None, 2), (None, 10, 3)),
    )
    given = export_settings(path, {"output_format": "numpy", "export_dtype": "float32"})
    assert (given.output_format, given.export_dtype, given.output_internal_path) == ("numpy", "float32", "volume")


def test_a_project_without_settings_gives_ilastiks_defaults(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "p.ilp", "w") as file:
        file["x"] = 1
    assert export_settings(tmp_path / "p.ilp", {}) == ExportSettings()


@pytest.mark.parametrize(
    "template",
    [
        "/etc/cron.d/job",
        "~/.bashrc",
        "{dataset_dir}/../../x",
        "{nickname}",
        "../{dataset_dir}/x",
        "{dataset_dir}x/y",
        "{dataset_dir}/{nickname:>999999999}",
    ],
)
def test_a_template_that_leaves_the_images_folder_is_not_used(
    tmp_path: Path, template: str, caplog: pytest.LogCaptureFixture
) -> None:
    path = project(tmp_path / "p.ilp", OutputFilenameFormat=template)
    assert export_settings(path, {}).output_filename_format == DEFAULT_TEMPLATE
    assert "leaves the image's folder" in caplog.text
    assert export_settings(path, {"output_filename_format": template}).output_filename_format == template


def test_a_stored_format_that_is_not_written_is_told_to_be_the_projects(tmp_path: Path) -> None:
    path = project(tmp_path / "p.ilp", OutputFormat="n5")
    with pytest.raises(UsageError, match=r"'n5' is not supported.*project's own export settings"):
        export_settings(path, {})
    assert export_settings(path, {"output_format": "hdf5"}).output_format == "hdf5"


@pytest.mark.parametrize(
    "stored", [{"OutputFormat": 3}, {"RegionStart": "x", "RegionStop": "y"}, {"InputMin": "a", "InputMax": 1}]
)
def test_confused_types_are_project_errors(tmp_path: Path, stored: dict[str, object]) -> None:
    with pytest.raises(ProjectError):
        export_settings(project(tmp_path / "p.ilp", **stored), {})


def test_a_file_that_is_no_project_is_a_project_error(tmp_path: Path) -> None:
    (tmp_path / "p.ilp").write_bytes(b"no")
    with pytest.raises(ProjectError):
        export_settings(tmp_path / "p.ilp", {})
