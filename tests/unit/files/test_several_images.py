"""Files and stores of several images: each can be named, and a message says how where none is."""

from __future__ import annotations

import json
import os
import shutil
import zipfile
from pathlib import Path

import h5py
import numpy as np
import pytest
import tifffile
import zarr

from omero_pixclf.errors import ImageError
from omero_pixclf.files.opening import open_image, open_stored
from omero_pixclf.files.paths import dataset_nickname, expand_paths, split_path
from omero_pixclf.files.several_images import SeveralImagesError
from omero_pixclf.image import Region

FIRST = np.arange(30 * 40, dtype="uint16").reshape(30, 40)
needs_zarr_3 = pytest.mark.skipif(int(zarr.__version__.split(".")[0]) < 3, reason="zarr 2 reads version 2 stores only")


def pixels_of(path: str | Path) -> np.ndarray:
    with open_image(path) as image:
        return image.read(Region.whole(image.info.shape))[0, 0, :, :, 0]


def write_json(file: Path, content: object) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(content), encoding="utf-8")


def attributes(group: Path, content: dict, version: int) -> None:
    if version == 2:
        write_json(group / ".zgroup", {"zarr_format": 2})
        write_json(group / ".zattrs", content)
    else:
        write_json(group / "zarr.json", {"zarr_format": 3, "node_type": "group", "attributes": {"ome": content}})


def image(group: Path, pixels: np.ndarray, version: int = 2) -> None:
    entry = {"axes": [{"name": "y"}, {"name": "x"}], "datasets": [{"path": "0"}]}
    attributes(group, {"multiscales": [entry]}, version)
    more = {"zarr_format": version} if int(zarr.__version__.split(".")[0]) >= 3 else {}
    array = zarr.open_array(str(group / "0"), mode="w", shape=pixels.shape, chunks=(16, 16), dtype=pixels.dtype, **more)
    array[:] = pixels


def write_plate(store: Path, version: int = 2) -> Path:
    """Wells A1 with two fields and B12 with one; A2 is listed and not there."""
    wells = [("A/1", 0, 0), ("B/12", 1, 1), ("A/12", 0, 1)]
    plate = {
        "name": "screen 7",
        "rows": [{"name": "A"}, {"name": "B"}],
        "columns": [{"name": "1"}, {"name": "12"}],
        "acquisitions": [{"id": 0, "name": "day 1"}],
        "wells": [{"path": p, "rowIndex": r, "columnIndex": c} for p, r, c in wells],
    }
    attributes(store, {"plate": plate}, version)
    for well, fields in (("A/1", 2), ("B/12", 1)):
        listed = [{"path": str(n), "acquisition": 0} for n in range(fields)]
        attributes(store / well, {"well": {"images": listed}}, version)
        for n in range(fields):
            image(store / well / str(n), FIRST + n + 10 * len(well), version)
    return store


def write_series(store: Path, version: int = 2, listed: list[str] | None = None) -> Path:
    attributes(store, {"bioformats2raw.layout": 3}, version)
    for n in range(2):
        image(store / str(n), FIRST + n, version)
    if listed:
        attributes(store / "OME", {"series": listed}, version)
    return store


def zipped(folder: Path, file: Path, top: str = "") -> Path:
    with zipfile.ZipFile(file, "w") as archive:
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                archive.write(path, f"{top}{path.relative_to(folder).as_posix()}")
    return file


@pytest.fixture
def two(tmp_path) -> Path:
    path = tmp_path / "two.ome.tif"
    with tifffile.TiffWriter(path, ome=True) as writer:
        writer.write(FIRST, metadata={"Name": "one", "PhysicalSizeX": 2.0})
        writer.write(FIRST[:20] + 1, metadata={"Name": "other", "PhysicalSizeX": 3.0})
    return path


def test_an_image_of_a_tiff_file_is_named_by_its_number(two):
    assert np.array_equal(pixels_of(f"{two}#0"), FIRST)
    assert np.array_equal(pixels_of(f"{two}#1"), FIRST[:20] + 1)
    with open_image(f"{two}#1") as found:
        assert (found.info.key, found.info.name) == (f"{two}#1", "two.ome.tif#1")
        assert found.info.pixel_size_um[2] == 3.0


def test_a_tiff_file_of_several_images_says_how_to_name_one(two):
    with pytest.raises(SeveralImagesError, match=r"holds 2 images.* as in .*two\.ome\.tif#0, .*two\.ome\.tif#1$"):
        pixels_of(two)
    with pytest.raises(ImageError, match=r"holds 2 images, none of number 2; its images are two\.ome\.tif#0 to #1"):
        pixels_of(f"{two}#2")


def test_results_of_images_of_one_file_have_names_of_their_own(two):
    assert dataset_nickname(expand_paths(f"{two}#0")) != dataset_nickname(expand_paths(f"{two}#1"))


def test_a_file_whose_name_ends_in_a_number_sign_and_a_number_is_that_file(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif#1.tif", FIRST)
    os.rename(tmp_path / "a.tif#1.tif", tmp_path / "a#1")  # noqa: PTH104
    assert split_path(tmp_path / "a#1").series is None
    tifffile.imwrite(tmp_path / "b#1.tif", FIRST)
    assert np.array_equal(pixels_of(tmp_path / "b#1.tif"), FIRST)


def test_a_format_without_series_says_so(tmp_path):
    np.save(tmp_path / "a.npy", FIRST)
    with pytest.raises(ImageError, match=r"leave #1 out"):
        pixels_of(f"{tmp_path}/a.npy#1")


@pytest.mark.parametrize("version", [2, pytest.param(3, marks=needs_zarr_3)])
@pytest.mark.parametrize("packed", [None, "p.zarr.zip", "p.ozx"])
def test_fields_of_a_plate_are_named_by_their_path_or_number_and_know_their_well(tmp_path, version, packed):
    store = write_plate(tmp_path / "plate.zarr", version)
    if packed:
        top = "plate.zarr/" if packed.endswith(".zip") else ""
        folder, store = store, zipped(store, tmp_path / packed, top)
        shutil.rmtree(folder)
    expected = {"A/1/0": FIRST + 30, "A/1/1": FIRST + 31, "B/12/0": FIRST + 40}
    for number, (group, pixels) in enumerate(expected.items()):
        assert np.array_equal(pixels_of(f"{store}/{group}"), pixels)
        assert np.array_equal(pixels_of(f"{store}#{number}"), pixels)
    with open_image(f"{store}/B/12/0") as found:
        place = found.info.place
        assert (place.container, place.name, place.acquisition) == (str(store), "screen 7", "day 1")
        assert (place.well, place.field, place.plate) == ("B2", 1, (2, 2))
        assert found.info.name == f"{store.name}/B/12/0"
    with pytest.raises(
        SeveralImagesError, match=f"is an OME-Zarr plate that holds 3 images.* as in {store}/A/1/0"
    ) as told:
        pixels_of(store)
    assert told.value.addresses == tuple(f"{store}/{group}" for group in expected)
    assert told.value.missing == ("A/12",)
    with pytest.raises(SeveralImagesError, match="holds 2 images"):
        pixels_of(f"{store}/A/1")


@pytest.mark.parametrize("listed", [None, ["1", "0"]])
@pytest.mark.parametrize("version", [2, pytest.param(3, marks=needs_zarr_3)])
def test_a_store_of_several_images_says_how_to_name_one(tmp_path, version, listed):
    store = write_series(tmp_path / "b2r.zarr", version, listed)
    with pytest.raises(SeveralImagesError, match=r"holds 2 images") as told:
        pixels_of(store)
    order = listed or ["0", "1"]
    assert told.value.addresses == tuple(f"{store}/{name}" for name in order)
    assert np.array_equal(pixels_of(f"{store}#1"), FIRST + int(order[1]))
    assert np.array_equal(pixels_of(f"{store}/0"), FIRST)


def test_a_store_of_one_image_in_the_layout_for_several_is_that_image(tmp_path):
    store = write_series(tmp_path / "b2r.zarr")
    shutil.rmtree(store / "1")
    assert np.array_equal(pixels_of(store), FIRST)


def test_a_zipped_image_is_read_and_known_again_by_its_file(tmp_path):
    image(tmp_path / "a.zarr", FIRST)
    file = zipped(tmp_path / "a.zarr", tmp_path / "a.ozx")
    assert np.array_equal(pixels_of(file), FIRST)
    with open_image(file) as found:
        before = found.info.fingerprint
    os.utime(file, ns=(1, 1))
    with open_image(file) as found:
        assert found.info.fingerprint != before


def test_wells_of_ome_xml_are_the_places_of_images(tmp_path):
    path = tmp_path / "plate.ome.tif"
    with tifffile.TiffWriter(path, ome=True) as writer:
        for n in range(3):
            writer.write(FIRST + n)
    with tifffile.TiffFile(path) as tiff:
        xml = tiff.ome_metadata
    plate = (
        '<Plate ID="Plate:0" Name="P" Rows="8" Columns="12"><Well ID="W:0" Row="1" Column="2">'
        '<WellSample ID="S:0" Index="0"><ImageRef ID="Image:2"/></WellSample>'
        '<WellSample ID="S:1" Index="1"><ImageRef ID="Image:0"/></WellSample></Well>'
        '<PlateAcquisition ID="PA:0" Name="night"><WellSampleRef ID="S:1"/></PlateAcquisition></Plate>'
    )
    at = xml.index("<Image ")
    tifffile.tiffcomment(path, (xml[:at] + plate + xml[at:]).encode())
    with open_image(f"{path}#0") as found:
        place = found.info.place
        assert (place.container, place.name, place.plate) == (str(path), "P", (8, 12))
        assert (place.well, place.field, place.acquisition) == ("B3", 2, "night")
    with open_image(f"{path}#1") as found:
        assert found.info.place.well is None


@pytest.mark.parametrize("folder", ["exports.h5", "exports.zarr", "a.hdf5", "b.ozx"])
def test_folders_may_be_called_like_files(tmp_path, folder):
    home = tmp_path / folder
    home.mkdir()
    tifffile.imwrite(home / "img.tif", FIRST)
    image(home / "img.zarr", FIRST)
    with h5py.File(home / "img.h5", "w") as file:
        file["g/data"] = FIRST
    for name in ("img.tif", "img.zarr", "img.zarr/0", "img.h5", "img.h5/g/data"):
        with open_stored(home / name) as stored:
            assert np.array_equal(stored.read((slice(0, 30), slice(0, 40))), FIRST)
    assert [p.file.name for p in expand_paths(f"{home}/img.t*")] == ["img.tif"]


@pytest.mark.parametrize("axes", [[{"name": "angle"}, {"name": "x"}], ["x"], ["y", "y"]])
def test_axes_that_do_not_fit_are_an_error_unless_they_are_named(tmp_path, axes):
    image(tmp_path / "a.zarr", FIRST)
    write_json(tmp_path / "a.zarr/.zattrs", {"multiscales": [{"axes": axes, "datasets": [{"path": "0"}]}]})
    with pytest.raises(ImageError, match=r"its axes .* do not fit .*--axes"):
        pixels_of(tmp_path / "a.zarr")
    with open_image(tmp_path / "a.zarr", axes="xy") as found:
        assert found.info.shape == (1, 1, 40, 30, 1)
