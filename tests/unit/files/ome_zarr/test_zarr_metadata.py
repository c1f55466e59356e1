"""OME-Zarr metadata: what is missing may be missing, what is wrong is an error of ours, what we write is valid."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from yaozarrs import v04

from omero_pixclf.errors import ImageError
from omero_pixclf.files.axes import Axis
from omero_pixclf.files.export.image_writer import save_image
from omero_pixclf.files.export.output_array import LabelValue
from omero_pixclf.files.ome_zarr.zarr_images import store_contents
from omero_pixclf.files.ome_zarr.zarr_metadata import (
    ChannelList,
    Multiscale,
    PlateEntry,
    WellEntry,
    find_violation,
    parse_metadata,
)
from omero_pixclf.files.ome_zarr.zarr_store import open_store
from omero_pixclf.files.opening import open_image

AXES = [{"name": "y", "type": "space", "unit": "micrometer"}, {"name": "x", "type": "space", "unit": "micrometer"}]
SCALE = {"type": "scale", "scale": [0.5, 0.25]}
IMAGE = {"version": "0.4", "axes": AXES, "datasets": [{"path": "0", "coordinateTransformations": [SCALE]}]}


def write_store(folder: Path, attributes: dict[str, Any]) -> Path:
    """A Zarr store of version 2 with an array of 4 by 6 pixels and these attributes."""
    described = {
        "zarr_format": 2,
        "shape": [4, 6],
        "chunks": [4, 6],
        "dtype": "|u1",
        "fill_value": 0,
        "order": "C",
        "compressor": None,
        "filters": None,
    }
    (folder / "0").mkdir(parents=True)
    (folder / "0" / ".zarray").write_text(json.dumps(described))
    (folder / "0" / "0.0").write_bytes(bytes(range(24)))
    (folder / ".zgroup").write_text('{"zarr_format": 2}')
    (folder / ".zattrs").write_text(json.dumps(attributes))
    return folder


def multiscale(**changes: Any) -> dict[str, Any]:
    return {**IMAGE, **changes}


@pytest.mark.parametrize(
    ("entry", "size"),
    [
        (IMAGE, (0.5, 0.25)),
        (multiscale(version="0.1"), (0.5, 0.25)),
        (multiscale(axes=["y", "x"]), (None, None)),
        (multiscale(axes=[{"name": "y"}, {"name": "x"}]), (None, None)),
        (multiscale(datasets=[{"path": "0"}]), (None, None)),
        (multiscale(datasets=[{"path": "0", "coordinateTransformations": None}]), (None, None)),
        (multiscale(datasets=[{"path": "0", "coordinateTransformations": [{"type": "identity"}]}]), (None, None)),
        (multiscale(datasets=[{"path": "0", "coordinateTransformations": [{"type": "scale", "path": "s"}]}]), None),
        (multiscale(coordinateTransformations=[{"type": "scale", "scale": [2, 4]}]), (1.0, 1.0)),
        (multiscale(name=3, type=["mean"], metadata="any"), (0.5, 0.25)),
    ],
    ids=lambda value: json.dumps(value)[:60],
)
def test_images_are_read_whatever_optional_fields_they_lack(
    tmp_path: Path, entry: dict[str, Any], size: tuple[float | None, ...] | None
) -> None:
    store = write_store(tmp_path / "a.zarr", {"multiscales": [entry], "omero": {"channels": [{"label": None}, {}]}})
    with open_image(store) as image:
        assert image.info.pixel_size_um[1:] == (size or (None, None))
        assert image.info.shape == (1, 1, 4, 6, 1)
        assert image.array.read((slice(0, 4), slice(0, 6))).tolist() == np.arange(24).reshape(4, 6).tolist()


DEEP: Any = []
for _ in range(200):
    DEEP = [DEEP]


@pytest.mark.parametrize(
    ("model", "found", "field"),
    [
        (Multiscale, {}, "datasets"),
        (Multiscale, {"datasets": []}, "datasets"),
        (Multiscale, {"datasets": "0"}, "datasets"),
        (Multiscale, {"datasets": [{}]}, "datasets.0.path"),
        (Multiscale, {"datasets": [{"path": None}]}, "datasets.0.path"),
        (Multiscale, {"datasets": [{"path": DEEP}]}, "datasets.0.path"),
        (Multiscale, multiscale(axes=7), "axes"),
        (Multiscale, multiscale(axes=[{"name": ["y"]}]), "axes.0"),
        (Multiscale, multiscale(axes=[{"unit": "m"}]), "axes.0"),
        (Multiscale, multiscale(coordinateTransformations=[{"type": "scale", "scale": ["a", "b"]}]), "scale.0"),
        (Multiscale, multiscale(coordinateTransformations=[{"type": "scale", "scale": "ab"}]), "scale"),
        (Multiscale, multiscale(coordinateTransformations=[3]), "coordinateTransformations.0"),
        (PlateEntry, {"wells": [{"path": 3.5, "rowIndex": -1}]}, "wells.0.rowIndex"),
        (PlateEntry, {"wells": [{"path": "A/1", "rowIndex": 10**9, "columnIndex": 0}]}, "wells.0.rowIndex"),
        (PlateEntry, {"wells": ["A/1"]}, "wells.0"),
        (PlateEntry, {"rows": [{"name": {}}]}, "rows.0.name"),
        (PlateEntry, {"acquisitions": [{"name": "day"}]}, "acquisitions.0.id"),
        (WellEntry, {"images": [{}]}, "images.0.path"),
        (ChannelList, {"channels": [7]}, "channels.0"),
        (ChannelList, "none", ""),
    ],
)
def test_wrong_metadata_is_an_image_error_that_names_the_field(model: Any, found: Any, field: str) -> None:
    with pytest.raises(ImageError, match=rf"^a\.zarr: its OME-Zarr metadata cannot be read: .*{field}.*export"):
        parse_metadata(model, found, "a.zarr")


def test_a_store_with_wrong_metadata_names_its_file(tmp_path: Path) -> None:
    store = write_store(tmp_path / "a.zarr", {"multiscales": [{"datasets": [{"path": "0"}], "axes": [1.5, None]}]})
    with pytest.raises(ImageError, match=r"a\.zarr: multiscales\.0: .*axes\.1"), open_image(store):
        pass


def test_a_plate_without_indices_of_rows_and_columns_is_read(tmp_path: Path) -> None:
    plate = {"rows": [{"name": "A"}], "columns": [{"name": 1}, {"name": 2}], "wells": [{"path": "A/2"}]}
    folder = tmp_path / "p.zarr"
    write_store(folder / "A" / "2" / "0", {"multiscales": [IMAGE]})
    (folder / "A" / "2" / ".zattrs").write_text(json.dumps({"well": {"images": [{"path": 0}]}}))
    (folder / "A" / "2" / ".zgroup").write_text('{"zarr_format": 2}')
    (folder / ".zgroup").write_text('{"zarr_format": 2}')
    (folder / ".zattrs").write_text(json.dumps({"plate": plate}))
    with open_store(folder) as store:
        (image,) = store_contents(store).images
    assert (image.group, image.row, image.column) == ("A/2/0", 0, 1)


@pytest.mark.parametrize(
    ("attributes", "problem"),
    [
        ({"multiscales": [IMAGE]}, ""),
        ({"multiscales": [multiscale(datasets=[{"path": "0"}])]}, "datasets.0.coordinateTransformations"),
        ({"multiscales": [multiscale(version="0.3")]}, ""),
        ({"version": "0.5", "multiscales": [multiscale(axes=AXES[:1])]}, "not valid OME-Zarr 0.5: multiscales.0.axes"),
        ({"plate": {"version": "0.4", "wells": []}}, "plate.columns"),
        ({"multiscales": [3]}, ""),
        ({}, ""),
    ],
)
def test_violations_of_the_specification_are_found(attributes: dict[str, Any], problem: str) -> None:
    found = find_violation(attributes)
    assert problem in found
    assert bool(found) == bool(problem)


@pytest.mark.parametrize("labels", [None, (), (LabelValue(1, "nuclei", (255, 0, 0)),)])
def test_stores_that_are_written_follow_the_specification_to_the_letter(tmp_path: Path, labels: Any) -> None:
    axes = tuple(Axis(key, 0.5 if key in "zyx" else 0.0, "micrometer" if key in "zyx" else "") for key in "tczyx")
    pixels = np.zeros((1, 2, 8, 9, 1 if labels is not None else 2), np.uint8)
    names = () if labels is not None else ("a", "b")
    save_image(tmp_path / "a.zarr", pixels, axes=axes, channels=names, labels=labels)
    attributes = json.loads((tmp_path / "a.zarr" / ".zattrs").read_text())
    v04.Image.model_validate(attributes)
    if labels is not None:
        v04.LabelImage.model_validate(attributes)
    assert find_violation(attributes) == ""
