"""Results in OME-Zarr say what their channels and values are, so that viewers show the classes."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from omero_pixclf.files.axes import axes_from_keys
from omero_pixclf.files.export.image_writer import ExportSettings, ResultDescription, plan_export, write_result
from omero_pixclf.files.export.output_array import LabelValue
from omero_pixclf.files.opening import open_image
from omero_pixclf.folder.backend import FolderWriter
from omero_pixclf.ilastik.project import ClassLabel
from omero_pixclf.image import ImageInfo
from omero_pixclf.runs.protocols import ResultImage

CLASSES = (ClassLabel("nuclei", (255, 0, 16)), ClassLabel("Hintergrund ä", (0, 128, 255)))
IMAGE = ImageInfo("a.tif", "a.tif", (1, 1, 8, 9, 1), "uint8", ("",), (None, 0.5, 0.5))


def written(folder: Path, kind: str, count: int, dtype: str, channels: list[str]) -> dict:
    pixels = np.ones((1, 1, 8, 9, count), dtype)
    FolderWriter(folder, IMAGE, ()).save_image(ResultImage(kind, pixels, channels, "zarr", CLASSES))
    with open_image(folder / f"{kind}.zarr") as image:
        assert image.info.shape == pixels.shape
        assert [c for c in image.info.channels if c] == channels
    return json.loads((folder / f"{kind}.zarr/.zattrs").read_text(encoding="utf-8"))


def test_probabilities_have_the_classes_names_and_colours(tmp_path):
    found = written(tmp_path, "probabilities", 2, "float32", [c.name for c in CLASSES])
    channels = found["omero"]["channels"]
    assert [(c["label"], c["color"]) for c in channels] == [("nuclei", "FF0010"), ("Hintergrund ä", "0080FF")]
    assert channels[0]["window"] == {"min": 0.0, "max": 1.0, "start": 0.0, "end": 1.0}
    assert "image-label" not in found


def test_a_segmentation_is_a_label_image_whose_values_are_classes(tmp_path):
    found = written(tmp_path, "segmentation", 1, "uint8", ["Segmentation"])["image-label"]
    assert found["properties"] == [
        {"label-value": 1, "class": "nuclei"},
        {"label-value": 2, "class": "Hintergrund ä"},
    ]
    assert found["colors"][1] == {"label-value": 2, "rgba": [0, 128, 255, 255]}


def test_labels_are_a_label_image_with_a_channel_of_objects_for_each_class(tmp_path):
    found = written(tmp_path, "labels", 2, "int32", [c.name for c in CLASSES])
    assert [c["label"] for c in found["omero"]["channels"]] == ["nuclei", "Hintergrund ä"]
    assert found["image-label"] == {"version": "0.4"}


def exported(tmp_path: Path, **options: object) -> dict:
    values = tuple(LabelValue(n, c.name, c.color) for n, c in enumerate(CLASSES, 1))
    result = ResultDescription.like("Simple Segmentation", axes_from_keys("yx"), (8, 9), 1, "uint8", labels=values)
    form = str(tmp_path / "out")
    export = ExportSettings(output_format="single-scale OME-Zarr", output_filename_format=form, **options)
    planned = plan_export(export, result, dataset_dir="", nickname="")
    with write_result(planned) as take:
        take(planned.region, np.ones(planned.region.shape, "uint8"))
    return json.loads((planned.path / ".zattrs").read_text())


def test_an_exported_segmentation_names_its_classes_unless_its_values_are_changed(tmp_path):
    assert exported(tmp_path)["image-label"]["properties"][0] == {"label-value": 1, "class": "nuclei"}
    changed = {"pipeline_result_drange": (0.0, 2.0), "export_drange": (0.0, 255.0)}
    assert "image-label" not in exported(tmp_path / "b", **changed)
