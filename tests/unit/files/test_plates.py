"""Plates in files: which images lie in which wells, and what is listed but not there."""

from __future__ import annotations

import json
import shutil
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import zarr

from omero_pixclf.embedded.series.content import FilesetContent
from omero_pixclf.embedded.series.reading import FileSet, find_file_set, find_file_sets, find_main_file, open_series
from omero_pixclf.errors import ImageError
from omero_pixclf.files.opening import open_image

_HEAD = '<?xml version="1.0"?><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06">'


def ome_plate(path: Path, plates: str, count: int = 2, ids: tuple[str, ...] = ()) -> Path:
    """An OME-TIFF of some images of one plane, with what its OME-XML says of plates."""
    names = ids or tuple(f"Image:{i}" for i in range(count))
    images = "".join(
        f'<Image ID="{name}" Name="i{i}"><Pixels ID="Pixels:{i}" DimensionOrder="XYZCT" Type="uint8" SizeX="9" '
        f'SizeY="8" SizeZ="1" SizeC="1" SizeT="1"><Channel ID="Channel:{i}:0" SamplesPerPixel="1"/>'
        f'<TiffData IFD="{i}" PlaneCount="1"/></Pixels></Image>'
        for i, name in enumerate(names)
    )
    with tifffile.TiffWriter(path) as tiff:
        for i in range(len(names)):
            description = f"{_HEAD}{plates}{images}</OME>".encode() if i == 0 else None
            tiff.write(np.full((8, 9), i, np.uint8), description=description, metadata=None)
    return path


def content(path: Path) -> FilesetContent:
    with open_series(path) as found:
        return found


def sample(ident: str, image: str, index: int = 0) -> str:
    return f'<WellSample ID="{ident}" Index="{index}"><ImageRef ID="{image}"/></WellSample>'


def test_the_wells_of_ome_xml_hold_its_images(tmp_path: Path) -> None:
    plates = (
        '<Plate ID="Plate:0" Name="P &amp; Q" Rows="8" Columns="12" RowNamingConvention="number">'
        f'<Well ID="Well:0" Row="1" Column="2">{sample("WS:1", "Image:7", 1)}{sample("WS:0", "Image:2", 0)}</Well>'
        f'<Well ID="Well:1" Row="7" Column="11">{sample("WS:2", "Image:0")}</Well>'
        '<PlateAcquisition ID="PA:0" Name="day 1"><WellSampleRef ID="WS:0"/></PlateAcquisition>'
        '<PlateAcquisition ID="PA:1"><WellSampleRef ID="WS:1"/></PlateAcquisition></Plate>'
        '<Screen ID="Screen:0" Name="all"><PlateRef ID="Plate:0"/></Screen>'
    )
    path = ome_plate(tmp_path / "p.ome.tif", plates, ids=("Image:7", "Image:0", "Image:2", "Image:9"))
    found = content(path)
    (plate,) = found.plates
    assert (plate.name, plate.rows, plate.columns, plate.screen) == ("P & Q", 8, 12, "all")
    assert (plate.naming_conventions, plate.acquisitions) == (("number", "number"), ("day 1", "PlateAcquisition 1"))
    well_samples = [(s.series, s.row, s.column, s.field, s.acquisition) for s in plate.well_samples]
    assert well_samples == [(2, 1, 2, 0, 0), (0, 1, 2, 1, 1), (1, 7, 11, 0, None)]
    assert len(found.series) == 4 and found.remarks == ()


def test_wells_and_fields_without_images_are_remarks(tmp_path: Path) -> None:
    plates = (
        '<Plate ID="Plate:0" Name="P">'
        f'<Well ID="Well:0" Row="0" Column="0">{sample("WS:0", "Image:0")}<WellSample ID="WS:9" Index="1"/></Well>'
        '<Well ID="Well:1" Row="3" Column="4"/></Plate><Plate ID="Plate:1" Name="empty"/>'
    )
    found = content(ome_plate(tmp_path / "p.ome.tif", plates))
    (plate,) = found.plates
    assert (plate.rows, plate.columns, plate.wells) == (4, 5, ((0, 0), (3, 4)))
    assert [well_sample.series for well_sample in plate.well_samples] == [0]
    assert len(found.remarks) == 3


@pytest.mark.parametrize(
    "well",
    [
        '<Well ID="W" Row="-1" Column="0">{}</Well>',
        '<Well ID="W" Row="0">{}</Well>',
        '<Well ID="W" Row="0" Column="99999999999999999999">{}</Well>',
        '<Well ID="W" Row="0" Column="²">{}</Well>',
        '<Well ID="W" Row="0" Column="0"><WellSample ID="X"><ImageRef ID="Image:5"/></WellSample></Well>',
    ],
)
def test_plates_that_make_no_sense_are_left_out_with_a_remark(tmp_path: Path, well: str) -> None:
    plates = f'<Plate ID="Plate:0">{well.format(sample("WS:0", "Image:0"))}</Plate>'
    found = content(ome_plate(tmp_path / "p.ome.tif", plates))
    assert (len(found.series), found.plates, len(found.remarks)) == (2, (), 1)


def test_facts_are_those_of_images_with_pixels(tmp_path: Path) -> None:
    """OME-XML may describe images whose pixels are elsewhere; they do not shift the names of the others."""
    sizes = 'SizeX="1" SizeY="1" SizeZ="1" SizeC="1" SizeT="1"'
    pixels = f'<Pixels ID="Pixels:9" DimensionOrder="XYZCT" Type="uint8" {sizes}><MetadataOnly/></Pixels>'
    other = f'<Image ID="Image:5" Name="none">{pixels}</Image>'
    found = content(ome_plate(tmp_path / "p.ome.tif", other))
    assert [series.name for series in found.series] == ["i0", "i1"]


# ---- OME-Zarr ----------------------------------------------------------------------------------------------------
def zarr_image(group: Path, value: int, **more: Any) -> None:
    """An OME-Zarr image of (y, x) with two resolutions."""
    for level, size in enumerate((8, 4)):
        array = zarr.create_array(
            str(group / str(level)), shape=(size, size + 1), chunks=(4, 4), dtype="uint8", zarr_format=2
        )
        array[:] = value
    datasets = [{"path": "0"}, {"path": "1"}]
    metadata(group, {"multiscales": [{"version": "0.4", "axes": ["y", "x"], "datasets": datasets, **more}]})


def metadata(group: Path, attributes: dict[str, Any]) -> None:
    group.mkdir(parents=True, exist_ok=True)
    (group / ".zgroup").write_text('{"zarr_format": 2}')
    (group / ".zattrs").write_text(json.dumps(attributes))


def zarr_plate(path: Path, *, there: tuple[str, ...] = ("A/1", "B/3"), acquisitions: bool = False) -> Path:
    """A plate of 2 x 3 wells that lists A/1, A/2 and B/3, of two fields each; those in ``there`` are written."""
    wells = [("A/1", 0, 0), ("A/2", 0, 1), ("B/3", 1, 2)]
    plate: dict[str, Any] = {
        "name": "screened",
        "rows": [{"name": n} for n in "AB"],
        "columns": [{"name": n} for n in "123"],
        "wells": [{"path": p, "rowIndex": r, "columnIndex": c} for p, r, c in wells],
    }
    if acquisitions:
        plate["acquisitions"] = [{"id": 1, "name": "day 1"}, {"id": 2}]
    metadata(path, {"plate": plate})
    for number, well in enumerate(there):
        images = [{"path": str(f), **({"acquisition": f + 1} if acquisitions else {})} for f in range(2)]
        metadata(path / well, {"well": {"images": images}})
        for field in range(2):
            zarr_image(path / well / str(field), 10 * (number + 1) + field)
    return path


def zipped(path: Path, target: Path) -> Path:
    with zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as archive:
        for file in sorted(p for p in path.rglob("*") if p.is_file()):
            archive.write(file, file.relative_to(path).as_posix())
    return target


def values(found: FilesetContent) -> list[set[int]]:
    return [set(s.levels[0].read(0, 0, 0, slice(0, 8)).ravel().tolist()) for s in found.series]


@pytest.mark.parametrize("ending", ["p.zarr", "p.ozx", "p.zarr.zip", "P.OME.ZARR.ZIP"])
def test_the_wells_of_a_store_hold_its_images(tmp_path: Path, ending: str) -> None:
    path = zarr_plate(tmp_path / "p.zarr")
    if ending != "p.zarr":
        path = zipped(path, tmp_path / ending)
    with open_series(find_file_set(path).main) as found:
        (plate,) = found.plates
        assert (found.format, plate.name, plate.rows, plate.columns) == ("OME-Zarr", "screened", 2, 3)
        assert [(s.series, s.row, s.column, s.field) for s in plate.well_samples] == [
            (0, 0, 0, 0), (1, 0, 0, 1), (2, 1, 2, 0), (3, 1, 2, 1),
        ]  # fmt: skip
        assert values(found) == [{10}, {11}, {20}, {21}]
        assert [series.name for series in found.series][::3] == ["Well A1, Field #1", "Well B3, Field #2"]
        assert [len(series.levels) for series in found.series] == [2] * 4
        assert len(found.remarks) == 1 and "A/2" in found.remarks[0]


def test_acquisitions_of_a_store_are_runs(tmp_path: Path) -> None:
    with open_series(zarr_plate(tmp_path / "p.zarr", acquisitions=True)) as found:
        assert found.plates[0].acquisitions == ("day 1", "2")
        assert [well_sample.acquisition for well_sample in found.plates[0].well_samples] == [0, 1, 0, 1]


def test_a_field_that_is_listed_only_is_a_remark(tmp_path: Path) -> None:
    path = zarr_plate(tmp_path / "p.zarr")
    shutil.rmtree(path / "A" / "1" / "0")
    with open_series(path) as found:
        assert [(s.series, s.field) for s in found.plates[0].well_samples] == [(0, 1), (1, 0), (2, 1)]
        assert values(found) == [{11}, {20}, {21}] and "A/1/0" in "".join(found.remarks)


@pytest.mark.parametrize(
    ("path", "row", "column", "words"),
    [("A/1", 0, 0, "well A/1 twice"), ("A/1/", 1, 1, "well A/1 twice"), ("A/2", 0, 0, "A/1 and A/2 both at A1"),
     ("A/2", 1, 2, "A/2 and B/3 both at B3")],
)  # fmt: skip
def test_a_store_whose_wells_repeat_is_refused_by_name(
    tmp_path: Path, path: str, row: int, column: int, words: str
) -> None:
    store = zarr_plate(tmp_path / "p.zarr")
    attributes = json.loads((store / ".zattrs").read_text())
    attributes["plate"]["wells"][1] = {"path": path, "rowIndex": row, "columnIndex": column}
    (store / ".zattrs").write_text(json.dumps(attributes))
    with pytest.raises(ImageError, match=words), open_series(store):
        pass
    with pytest.raises(ImageError, match=words), open_image(store):
        pass


def test_wells_without_a_place_do_not_share_the_first(tmp_path: Path) -> None:
    store = zarr_plate(tmp_path / "p.zarr")
    attributes = json.loads((store / ".zattrs").read_text())
    plate = attributes["plate"]
    plate["rows"], plate["wells"] = [], [{"path": well["path"]} for well in plate["wells"]]
    (store / ".zattrs").write_text(json.dumps(attributes))
    with pytest.raises(ImageError, match="A/1 and B/3"), open_series(store):
        pass


def test_a_plate_without_any_image_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="no images"), open_series(zarr_plate(tmp_path / "p.zarr", there=())):
        pass


@pytest.mark.parametrize("listed", [True, False])
def test_all_images_of_a_store_are_read(tmp_path: Path, listed: bool) -> None:
    path = tmp_path / "b2r.zarr"
    metadata(path, {"bioformats2raw.layout": 3})
    for number in range(3):
        zarr_image(path / str(number), number)
    if listed:
        metadata(path / "OME", {"series": ["2", "0"]})
    with open_series(path) as found:
        assert values(found) == ([{2}, {0}] if listed else [{0}, {1}, {2}])
        assert [series.name for series in found.series] == (["2", "0"] if listed else ["0", "1", "2"])


def test_resolutions_that_are_smaller_in_depth_are_left_out(tmp_path: Path) -> None:
    """OMERO's resolutions have the planes of the full one."""
    path = tmp_path / "deep.zarr"
    for level, shape in enumerate(((4, 8, 9), (4, 4, 5), (2, 2, 3))):
        zarr.create_array(str(path / str(level)), shape=shape, chunks=shape, dtype="uint8", zarr_format=2)[:] = level
    datasets = [{"path": str(level)} for level in range(3)]
    metadata(path, {"multiscales": [{"version": "0.4", "axes": ["z", "y", "x"], "datasets": datasets}]})
    with open_series(path) as found:
        assert [(level.width, level.height) for level in found.series[0].levels] == [(9, 8), (5, 4)]


def test_a_tiff_in_a_folder_that_is_called_like_a_store_is_a_tiff(tmp_path: Path) -> None:
    folder = tmp_path / "exports.zarr"
    folder.mkdir()
    tifffile.imwrite(folder / "a.tif", np.zeros((8, 9), np.uint8))
    (found,) = find_file_sets([tmp_path])
    assert isinstance(found, FileSet) and found.files == (folder / "a.tif",)
    assert find_main_file(found.files) == folder / "a.tif"
