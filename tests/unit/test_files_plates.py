"""Plates in files: which images lie in which wells, and what is listed but not there."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile

from omero_pixclf.errors import ImageError
from omero_pixclf.files.series.content import Content
from omero_pixclf.files.series.reading import open_series

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


def content(path: Path) -> Content:
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
    assert (plate.naming, plate.runs) == (("number", "number"), ("day 1", "PlateAcquisition 1"))
    spots = [(s.series, s.row, s.column, s.field, s.run) for s in plate.spots]
    assert spots == [(2, 1, 2, 0, 0), (0, 1, 2, 1, 1), (1, 7, 11, 0, None)]
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
    assert [spot.series for spot in plate.spots] == [0]
    assert len(found.remarks) == 3


@pytest.mark.parametrize(
    "well",
    [
        '<Well ID="W" Row="-1" Column="0">{}</Well>',
        '<Well ID="W" Row="0">{}</Well>',
        '<Well ID="W" Row="0" Column="99999999999999999999">{}</Well>',
        '<Well ID="W" Row="0" Column="²">{}</Well>',
        '<Well ID="W" Row="0" Column="0">{}<WellSample ID="X"><ImageRef ID="Image:5"/></WellSample></Well>',
    ],
)
def test_plates_that_make_no_sense_are_refused(tmp_path: Path, well: str) -> None:
    plates = f'<Plate ID="Plate:0">{well.format(sample("WS:0", "Image:0"))}</Plate>'
    with pytest.raises(ImageError, match="plate"):
        content(ome_plate(tmp_path / "p.ome.tif", plates))


def test_facts_are_those_of_images_with_pixels(tmp_path: Path) -> None:
    """OME-XML may describe images whose pixels are elsewhere; they do not shift the names of the others."""
    other = '<Image ID="Image:5" Name="none"><Pixels ID="Pixels:9" DimensionOrder="XYCZT" Type="uint8" SizeX="1" SizeY="1" SizeZ="1" SizeC="1" SizeT="1"><MetadataOnly/></Pixels></Image>'
    found = content(ome_plate(tmp_path / "p.ome.tif", other))
    assert [series.name for series in found.series] == ["i0", "i1"]
