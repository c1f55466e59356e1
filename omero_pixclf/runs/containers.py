"""Results of a container from its images' files: summary table, object table, pictures."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from omero_pixclf.image import ImageInfo, parse_id
from omero_pixclf.runs.state.manifest import Manifest
from omero_pixclf.table import NO_NUMBER, Column, Table, column_names, concatenate
from omero_pixclf.text import printable

if TYPE_CHECKING:
    from omero_pixclf.objects.summary import ImageSummary

__all__ = [
    "AVERAGED",
    "add_image_columns",
    "build_container_tables",
    "is_missing_from_summary",
    "make_column_tags",
    "make_summary_row",
]


def add_image_columns(table: Table, image: ImageInfo) -> Table:
    """A table of one image's rows, led by columns that say which image, well and field they belong to.

    The columns are called ``Image`` and ``Well``, because OMERO.web makes links of these and OMERO.parade needs them.
    Off OMERO, where images have no ids, ``Image`` is the file's path.
    """
    rows = len(table)
    lead = [
        _make_image_column(image, rows),
        Column("Image_Name", "string", np.full(rows, printable(image.name), object)),
    ]
    place = image.place
    if place.well_id is not None:
        lead.append(Column("Well", "well", np.full(rows, place.well_id)))
    if place.well is not None:
        lead.append(Column("Well_Name", "string", np.full(rows, place.well, object)))
        field = np.full(rows, place.field or NO_NUMBER)
        lead.append(Column("Field", "long", field, description="1-based within the well"))
    if place.container.startswith("Plate:"):
        lead.append(Column("Plate", "plate", np.full(rows, int(place.container.partition(":")[2]))))
    return Table((*lead, *table.columns))


def _make_image_column(image: ImageInfo, rows: int) -> Column:
    kind, _, number = image.key.partition(":")
    ident = parse_id(number) if kind == "Image" else None
    if ident is not None:
        return Column("Image", "image", np.full(rows, ident))
    return Column("Image", "string", np.full(rows, printable(image.key), object))


def make_summary_row(image: ImageInfo, summary: ImageSummary, objects: Mapping[str, Table]) -> Table:
    """Return an image's row of the summary table: counts, area fractions and mean measurements per class.

    An image that several wells share has a row for each of them, so that each well has its numbers.
    """
    columns: list[Column] = []
    tags = make_column_tags(objects)
    for name, table in objects.items():
        tag = tags[name]
        columns.append(
            Column(f"Count_{tag}", "long", np.array([summary.objects[name]]), description=f"objects: {name}")
        )
        columns.append(
            Column(
                f"Area_fraction_{tag}",
                "double",
                np.array([summary.area_fraction[name]]),
                description=f"share of the image's pixels in objects: {name}",
            )
        )
        columns += [_make_mean_column(c, name, tag) for c in table.columns if c.name.startswith(AVERAGED)]
    doubt = np.array([np.nan if summary.uncertainty is None else summary.uncertainty])
    columns.append(Column("Uncertainty", "double", doubt, description="mean of 1 - (highest - second highest)"))
    columns += [
        Column(f"Focus_{channel}", "double", np.array([score]), description="larger is sharper")
        for channel, score in zip(column_names(image.channels, image.shape[4]), summary.focus, strict=True)
    ]
    row = Table(tuple(columns))
    places = (image.place, *image.other_places)
    return concatenate([add_image_columns(row, replace(image, place=place)) for place in places])


AVERAGED = ("Area_", "Volume_", "Mean_")  # per-object columns whose means stand in the summary


def _make_mean_column(column: Column, name: str, tag: str) -> Column:
    measured = column.values[column.known]
    value = float(np.mean(measured)) if len(measured) else float("nan")
    return Column(
        f"Mean_{column.name.removeprefix('Mean_')}_of_{tag}",
        "double",
        np.array([value]),
        column.unit,
        f"mean over objects of {name}: {column.description or column.name}",
        column.fill,
    )


def make_column_tags(classes: Iterable[str]) -> dict[str, str]:
    """Return class names as parts of column names: ASCII letters, digits and underscores, unique.

    >>> make_column_tags(["Cell body", "cell-body", "细胞"])
    {'Cell body': 'Cell_body', 'cell-body': 'cell_body_2', '细胞': 'Class_3'}
    """
    names = list(classes)
    fallback = [n if re.search("[0-9A-Za-z]", n) else f"Class_{i}" for i, n in enumerate(names, 1)]
    return dict(zip(names, column_names(fallback, len(names)), strict=True))


def build_container_tables(
    images: Sequence[ImageInfo], manifest: Manifest, standing: Mapping[str, Table]
) -> dict[str, Table]:
    """Return the ``summary`` and ``objects`` tables of a container after this run.

    Rows of images that this run has processed come from the manifest; rows of other images are kept from the tables
    that are stored already.
    """
    done = {entry.key for entry in manifest.entries() if entry.state == "done"}
    images = [image for image in images if image.key in done]
    tables = {}
    for name in ("summary", "objects"):
        kept = [(image, manifest.load_table(image.key, name)) for image in images]
        fresh = [table for _, table in kept if table is not None]
        worked_on = {_image_id(image) for image, table in kept if table is not None}
        if name in standing:
            old = standing[name]
            others = np.array([value not in worked_on for value in old["Image"].tolist()], dtype=bool)
            fresh.append(old.take(others))
        if fresh:
            tables[name] = _sort_by_image(concatenate(fresh))
    return tables


def is_missing_from_summary(image: ImageInfo, standing: Mapping[str, Table]) -> bool:
    """Return whether an image has no row in the stored summary of its container."""
    return "summary" not in standing or _image_id(image) not in standing["summary"]["Image"].tolist()


def _image_id(image: ImageInfo) -> int | str:
    value: int | str = _make_image_column(image, 1).values.tolist()[0]
    return value


def _sort_by_image(table: Table) -> Table:
    """Sort rows by image; rows of one image keep their order."""
    return table.take(np.argsort(table["Image"], kind="stable"))
