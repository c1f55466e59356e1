"""A container's results: one summary row per image, all its objects, and the pictures, from what its images left."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from omero_pixclf.image import ImageInfo
from omero_pixclf.runs.manifest import Manifest
from omero_pixclf.table import Column, Table, concatenate

__all__ = ["container_tables", "locate"]


def locate(table: Table, image: ImageInfo, *, label: str | None = None) -> Table:
    """A table of one image's rows, led by columns that say which image, well, field and class they belong to.

    The columns are called ``Image`` and ``Well``, because OMERO.web makes links of these and OMERO.parade needs them.
    Off OMERO, where images have no ids, ``Image`` is the file's path.
    """
    rows = len(table)
    lead = [_image_column(image, rows), Column("Image_Name", "string", np.full(rows, image.name, object))]
    place = image.place
    if place.well_id is not None:
        lead.append(Column("Well", "well", np.full(rows, place.well_id)))
    if place.well is not None:
        lead.append(Column("Well_Name", "string", np.full(rows, place.well, object)))
        lead.append(Column("Field", "long", np.full(rows, place.field or 0), description="1-based within the well"))
    if place.container.startswith("Plate:"):
        lead.append(Column("Plate", "plate", np.full(rows, int(place.container.partition(":")[2]))))
    if label is not None:
        lead.append(Column("Class", "string", np.full(rows, label, object)))
    return Table((*lead, *table.columns))


def _image_column(image: ImageInfo, rows: int) -> Column:
    kind, _, number = image.key.partition(":")
    if kind == "Image" and number.isdecimal():
        return Column("Image", "image", np.full(rows, int(number)))
    return Column("Image", "string", np.full(rows, image.key, object))


def container_tables(
    images: Sequence[ImageInfo], manifest: Manifest, standing: Mapping[str, Table]
) -> dict[str, Table]:
    """The container's ``summary`` and ``objects`` tables after this run.

    Rows of images that this run worked on come from the manifest; those of all other images stay as they stand.
    """
    tables = {}
    for name in ("summary", "objects"):
        kept = [(image, manifest.kept(image.key, name)) for image in images]
        fresh = [table for _, table in kept if table is not None]
        worked_on = {_identity(image) for image, table in kept if table is not None}
        if name in standing:
            old = standing[name]
            others = np.array([value not in worked_on for value in old["Image"].tolist()], dtype=bool)
            fresh.append(old.take(others))
        if fresh:
            tables[name] = _in_order(concatenate(fresh))
    return tables


def _identity(image: ImageInfo) -> int | str:
    value: int | str = _image_column(image, 1).values.tolist()[0]
    return value


def _in_order(table: Table) -> Table:
    """Rows by image; within an image as they were."""
    return table.take(np.argsort(table["Image"], kind="stable"))
