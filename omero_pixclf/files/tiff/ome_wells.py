"""The location of an OME-TIFF image on a plate."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from omero_pixclf.files.tiff.ome_plates import ome_plates
from omero_pixclf.files.tiff.ome_xml import images_with_pixels
from omero_pixclf.image import ImageLocation, well_name

__all__ = ["ome_place"]


def ome_place(path: Path, xml: str | None, image: int) -> ImageLocation | None:
    """Return the location of an image, by its number among those with pixels; its container is the file and its plate.

    None if the image is on no plate.
    """
    return _well_places(path, xml).get(image) if xml and "Plate" in xml else None


@lru_cache(maxsize=2)
def _well_places(path: Path, xml: str) -> dict[int, ImageLocation]:
    """Return the locations of all images of a file, by their numbers."""
    plates, _ = ome_plates(xml, [one.ident for one in images_with_pixels(xml)])
    return {
        well_sample.series: ImageLocation(
            container=f"{path}#plate{number}" if number else str(path),
            name=plate.name or path.name,
            well=well_name(well_sample.row, well_sample.column),
            field=well_sample.field + 1,
            acquisition=None
            if well_sample.acquisition is None or not plate.acquisitions
            else plate.acquisitions[well_sample.acquisition],
            plate=(plate.rows, plate.columns),
        )
        for number, plate in enumerate(plates)
        for well_sample in plate.well_samples
    }
