"""The plate of an OME-Zarr store, as an import makes it."""

from __future__ import annotations

from omero_pixclf.files.series.content import Plate, Spot
from omero_pixclf.files.series.ome_plates import wells_text
from omero_pixclf.files.zarr_images import StoreContents

__all__ = ["plate_of_store"]


def plate_of_store(contents: StoreContents) -> tuple[tuple[Plate, ...], tuple[str, ...]]:
    """The plate of an OME-Zarr store, if it is one, and remarks on the wells that it lists and that are not there."""
    layout = contents.plate
    if layout is None:
        return (), ()
    runs = tuple(dict.fromkeys(image.acquisition for image in contents.images if image.acquisition is not None))
    spots = tuple(
        Spot(
            number,
            image.row or 0,
            image.column or 0,
            image.field,
            None if image.acquisition is None else runs.index(image.acquisition),
        )
        for number, image in enumerate(contents.images)
    )
    rows = max((layout.rows, *(spot.row + 1 for spot in spots)))
    columns = max((layout.columns, *(spot.column + 1 for spot in spots)))
    missing = (f"{wells_text(contents.missing)}: listed, but not in the store",) if contents.missing else ()
    return (Plate(layout.name, rows, columns, runs, spots),), missing
