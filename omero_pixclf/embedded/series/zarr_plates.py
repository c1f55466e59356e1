"""The plate of an OME-Zarr store, converted for an import."""

from __future__ import annotations

from omero_pixclf.errors import ImageError
from omero_pixclf.files.ome_zarr.zarr_images import StoreContents
from omero_pixclf.files.plates import Plate, WellSample
from omero_pixclf.files.tiff.ome_plates import format_wells

__all__ = ["read_store_plate"]


def read_store_plate(contents: StoreContents) -> tuple[tuple[Plate, ...], tuple[str, ...]]:
    """Return the plate of an OME-Zarr store, if it is one, and remarks on listed wells that are missing.

    Raises
    ------
    ImageError
        Two wells have the same position.
    """
    layout = contents.plate
    if layout is None:
        return (), ()
    _refuse_shared(contents)
    acquisitions = tuple(dict.fromkeys(image.acquisition for image in contents.images if image.acquisition is not None))
    well_samples = tuple(
        WellSample(
            number,
            image.row or 0,
            image.column or 0,
            image.field,
            None if image.acquisition is None else acquisitions.index(image.acquisition),
        )
        for number, image in enumerate(contents.images)
    )
    rows = max((layout.rows, *(well_sample.row + 1 for well_sample in well_samples)))
    columns = max((layout.columns, *(well_sample.column + 1 for well_sample in well_samples)))
    missing = (f"{format_wells(contents.missing)}: listed, but not in the store",) if contents.missing else ()
    return (Plate(layout.name, rows, columns, acquisitions, well_samples),), missing


def _refuse_shared(contents: StoreContents) -> None:
    """Raise ImageError for two wells at one position, e.g. if the metadata gives no positions."""
    wells: dict[tuple[int, int], str] = {}
    for image in contents.images:
        path = image.group.rpartition("/")[0]
        other = wells.setdefault((image.row or 0, image.column or 0), path)
        if other != path:
            raise ImageError(
                f"the wells {other} and {path} of the plate would both be at row {image.row or 0}, column "
                f"{image.column or 0} (from 0); give each its own rowIndex and columnIndex in the plate's metadata"
            )
