"""The plates of OME-XML: which image lies in which well."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from omero_pixclf.files.ome_xml import images_with_pixels, parsed
from omero_pixclf.image import Place, well_name

__all__ = ["Field", "OmePlate", "field_place", "ome_plates"]

_MOST = 10_000  # rows or columns


@dataclass(frozen=True)
class Field:
    """An image of a plate.

    Attributes
    ----------
    image
        Its number among the images of the text that have pixels, from 0.
    row, column
        Of its well, from 0.
    field
        Its number in its well, from 0.
    acquisition
        The name of the plate's acquisition; None where there is none.
    """

    image: int
    row: int
    column: int
    field: int
    acquisition: str | None = None


@dataclass(frozen=True)
class OmePlate:
    """A plate; rows and columns are as many as the text says, or as its wells take."""

    name: str
    rows: int
    columns: int
    fields: tuple[Field, ...]
    empty_wells: tuple[str, ...] = ()


def ome_plates(xml: str | None) -> tuple[OmePlate, ...]:
    """All plates of an OME-XML text; none where it is no OME-XML. Wells without a place are passed over."""
    root = parsed(xml or "")
    if root is None:
        return ()
    numbers = {image.ident: n for n, image in enumerate(images_with_pixels(xml))}
    return tuple(_plate(plate, numbers) for plate in root if _tag(plate) == "Plate")


def _plate(plate: ET.Element, numbers: dict[str, int]) -> OmePlate:
    named = _acquisitions(plate)
    wells = [(well, _number(well.get("Row")), _number(well.get("Column"))) for well in _children(plate, "Well")]
    placed = [(well, row, column) for well, row, column in wells if row is not None and column is not None]
    fields = tuple(
        found for well, row, column in placed for found in _fields(well, row, column, numbers, named)
    )  # fmt: skip
    taken = {(one.row, one.column) for one in fields}
    return OmePlate(
        name=plate.get("Name") or plate.get("ExternalIdentifier") or plate.get("ID") or "",
        rows=max([_number(plate.get("Rows")) or 0, *(row + 1 for _, row, _ in placed)]),
        columns=max([_number(plate.get("Columns")) or 0, *(column + 1 for _, _, column in placed)]),
        fields=fields,
        empty_wells=tuple(well_name(row, column) for _, row, column in placed if (row, column) not in taken),
    )


def _fields(well: ET.Element, row: int, column: int, numbers: dict[str, int], named: dict[str, str]) -> Iterator[Field]:
    """The images of a well in the order of the text; samples without an image, or without pixels, count as none."""
    field = 0
    for sample in _children(well, "WellSample"):
        reference = next(_children(sample, "ImageRef"), None)
        number = None if reference is None else numbers.get(reference.get("ID", ""))
        if number is not None:
            yield Field(number, row, column, field, named.get(sample.get("ID", "")))
            field += 1


def _acquisitions(plate: ET.Element) -> dict[str, str]:
    """The name of the acquisition that each sample is of, by the sample's ID."""
    return {
        sample.get("ID", ""): run.get("Name") or run.get("ID") or ""
        for run in _children(plate, "PlateAcquisition")
        for sample in _children(run, "WellSampleRef")
    }


def field_place(xml: str | None, image: int, container: str) -> Place | None:
    """The well of an image, in a container that is called after the plate; None where it lies on none."""
    for number, plate in enumerate(ome_plates(xml)):
        for field in plate.fields:
            if field.image == image:
                return Place(
                    container=f"{container}#plate{number}" if number else container,
                    name=plate.name or container,
                    well=well_name(field.row, field.column),
                    field=field.field + 1,
                    acquisition=field.acquisition,
                    plate=(plate.rows, plate.columns),
                )
    return None


def _number(text: Any) -> int | None:
    try:
        found = int(text)
    except (TypeError, ValueError):
        return None
    return found if 0 <= found < _MOST else None


def _children(parent: ET.Element, tag: str) -> Iterator[ET.Element]:
    return (child for child in parent if _tag(child) == tag)


def _tag(element: ET.Element) -> str:
    return element.tag.rpartition("}")[2]
