"""Names that files give: what they may lead to, in every reader."""

from __future__ import annotations

import json
import uuid
from pathlib import Path

import numpy as np
import pytest
import tifffile

from omero_pixclf.embedded.series.reading import find_file_set, open_series
from omero_pixclf.errors import ImageError
from omero_pixclf.files.opening import open_image
from omero_pixclf.files.references import resolve_reference


def two_files(folder: Path, second: str) -> Path:
    """An OME-TIFF whose second plane lies in the file of that name; both are written."""
    ids = [f"urn:uuid:{uuid.uuid4()}" for _ in range(2)]
    first = folder / "a.ome.tif"
    folder.mkdir(parents=True, exist_ok=True)
    for number, path in enumerate((first, folder / second)):
        data = "".join(
            f'<TiffData IFD="0" FirstT="{t}" PlaneCount="1"><UUID FileName="{name}">{ids[t]}</UUID></TiffData>'
            for t, name in enumerate(("a.ome.tif", second))
        )
        xml = (
            '<?xml version="1.0"?><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06" '
            f'UUID="{ids[number]}"><Image ID="Image:0"><Pixels ID="Pixels:0" DimensionOrder="XYZCT" Type="uint8" '
            f'SizeX="9" SizeY="8" SizeZ="1" SizeC="1" SizeT="2"><Channel ID="Channel:0" SamplesPerPixel="1"/>{data}'
            "</Pixels></Image></OME>"
        )
        pixels = np.full((8, 9), 7 + number, np.uint8)
        path.parent.mkdir(parents=True, exist_ok=True)
        tifffile.imwrite(path, pixels, description=xml.encode(), metadata=None)
    return first


def store(folder: Path, dataset: str, array: Path) -> Path:
    """An OME-Zarr whose metadata name an array, which is written to ``array``."""
    import zarr

    folder.mkdir(parents=True)
    group = zarr.open_group(str(folder), mode="w", zarr_format=2)
    group.attrs["multiscales"] = [{"version": "0.4", "axes": ["y", "x"], "datasets": [{"path": dataset}]}]
    made = zarr.create_array(str(array), shape=(8, 9), chunks=(8, 9), dtype="uint8", zarr_format=2)
    made[:] = 7
    return folder


@pytest.mark.parametrize("name", ["b.tif", "below/b.tif", "./b.tif", "below/../b.tif", "odd\\name", "~", ""])
def test_names_of_files_that_lie_with_it_are_resolved(tmp_path: Path, name: str) -> None:
    assert resolve_reference(tmp_path, name).is_relative_to(tmp_path)


@pytest.mark.parametrize(
    "name",
    ["../b.tif", "..", "below/../../b.tif", "/etc/passwd", "C:\\b.tif", "\\\\host\\b.tif", "a\0b", None, 3, ["b"]],
)
def test_names_of_files_elsewhere_are_refused(tmp_path: Path, name: object) -> None:
    with pytest.raises(ImageError, match="names"):
        resolve_reference(tmp_path, name)


def test_a_name_may_go_up_as_far_as_the_folder_that_was_given(tmp_path: Path) -> None:
    base = tmp_path / "store" / "A" / "1"
    assert resolve_reference(base, "../2", within=tmp_path / "store") == tmp_path / "store" / "A" / "2"
    with pytest.raises(ImageError):
        resolve_reference(base, "../../../other", within=tmp_path / "store")


def test_links_are_followed_within_the_folder_only(tmp_path: Path) -> None:
    inside, outside = tmp_path / "in", tmp_path / "out"
    for folder in (inside, outside):
        folder.mkdir()
        (folder / "real").touch()
    (inside / "near").symlink_to(inside / "real")
    (inside / "far").symlink_to(outside / "real")
    (inside / "loop").symlink_to(inside / "loop")
    assert resolve_reference(inside, "near") == inside / "near"
    for name in ("far", "loop"):
        with pytest.raises(ImageError):
            resolve_reference(inside, name)
    assert resolve_reference(inside, "far", follow_links=True) == inside / "far"


@pytest.mark.parametrize("name", ["../secret.ome.tif", "{absolute}/secret.ome.tif"])
def test_an_ome_tiff_reads_no_file_outside_its_folder(tmp_path: Path, name: str) -> None:
    path = two_files(tmp_path / "in", name.format(absolute=tmp_path))
    for reading in (open_series, open_image):
        with pytest.raises(ImageError, match="is outside"), reading(path):
            pass
    with pytest.raises(ImageError, match="is outside"):
        find_file_set(path)


def test_an_ome_tiff_of_an_import_may_name_what_was_imported_with_it(tmp_path: Path) -> None:
    path = two_files(tmp_path / "in" / "below", "../other/b.ome.tif")
    with open_series(path, within=tmp_path / "in") as content:
        assert content.series[0].t == 2
    with pytest.raises(ImageError, match="is outside"), open_series(path, within=tmp_path / "in" / "below"):
        pass


@pytest.mark.parametrize("name", ["../secret.zarr", "{absolute}/secret.zarr", "x/../../secret.zarr"])
def test_an_ome_zarr_reads_no_array_outside_itself(tmp_path: Path, name: str) -> None:
    path = store(tmp_path / "in" / "a.zarr", name.format(absolute=tmp_path / "in"), tmp_path / "in" / "secret.zarr")
    for reading in (open_series, open_image):
        with pytest.raises(ImageError, match="is outside"), reading(path):
            pass


@pytest.mark.parametrize("name", [7, None, ["0"], {"path": "0"}])
def test_datasets_whose_path_is_no_text_are_refused(tmp_path: Path, name: object) -> None:
    path = tmp_path / "a.zarr"
    path.mkdir()
    (path / ".zattrs").write_text(json.dumps({"multiscales": [{"datasets": [{"path": name}]}]}))
    (path / ".zgroup").write_text('{"zarr_format": 2}')
    with pytest.raises(ImageError), open_image(path):
        pass


def test_links_out_of_what_is_imported_are_refused(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.mkdir()
    (secret / "key").write_text("secret")
    path = store(tmp_path / "a.zarr", "0", tmp_path / "a.zarr" / "0")
    count = len(find_file_set(path).files)
    (path / "1").symlink_to(path / "0")  # within the store: part of it
    assert len(find_file_set(path).files) > count
    for link, target in (("1", secret), ("1", secret / "key"), ("1", path)):
        (path / link).unlink()
        (path / link).symlink_to(target)
        with pytest.raises(ImageError, match=r"link|is outside"):
            find_file_set(path)


def test_a_companion_that_is_a_link_elsewhere_is_not_imported(tmp_path: Path) -> None:
    path = two_files(tmp_path / "in", "b.ome.tif")
    moved = (path.parent / "b.ome.tif").rename(tmp_path / "b.ome.tif")
    (path.parent / "b.ome.tif").symlink_to(moved)
    with pytest.raises(ImageError, match="is outside"):
        find_file_set(path)


@pytest.mark.parametrize("name", ["a.ome.tif", "renamed.ome.tif"])
def test_a_file_that_is_a_link_may_name_itself(tmp_path: Path, name: str) -> None:
    """Work flow engines give inputs as links; files written by Bio-Formats name themselves."""
    path = two_files(tmp_path / "real", "a.ome.tif")
    (tmp_path / name).symlink_to(path)
    for reading in (open_series, open_image):
        with reading(tmp_path / name):
            pass
    assert find_file_set(tmp_path / name).files == (tmp_path / name,)
