"""Plates described by OME-XML: wells, fields and acquisitions of the images."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Iterator, Mapping, Sequence

from omero_pixclf.files.plates import Plate, WellSample
from omero_pixclf.files.tiff.ome_xml import parse_ome_xml
from omero_pixclf.image import well_name

__all__ = ["format_wells", "ome_plates"]

_MOST = 10_000  # rows or columns; no plate has more
_SHOWN = 12  # names of wells in a remark


def ome_plates(xml: str | None, images: Sequence[str]) -> tuple[tuple[Plate, ...], tuple[str, ...]]:
    """Return the plates of an OME-XML text, and remarks on listed wells and fields that the file does not hold.

    ``images`` are the ids of the file's images, in order. There are remarks on wells without a valid position, on
    fields without an image, and on plates without images, which are left out.
    """
    root = parse_ome_xml(xml or "")
    if root is None:
        return (), ()
    numbers = {ident: number for number, ident in enumerate(images) if ident}
    screens = dict(_screens(root))
    plates, remarks = [], []
    for element in _children(root, "Plate"):
        made, lost = _plate(element, numbers, screens)
        called = f"plate {made.name or element.get('ID', '')}"
        if not made.well_samples:
            remarks.append(f"{called} has no images and is left out")
            continue
        plates.append(made)
        remarks += [f"{called}: {text}" for text in lost]
    return tuple(plates), tuple(remarks)


def _tag(element: ET.Element) -> str:
    return element.tag.rpartition("}")[2]


def _children(parent: ET.Element, tag: str) -> Iterator[ET.Element]:
    return (child for child in parent if _tag(child) == tag)


def _screens(root: ET.Element) -> Iterator[tuple[str, str]]:
    """Yield the ids of plates and the names of their screens."""
    for screen in _children(root, "Screen"):
        for reference in _children(screen, "PlateRef"):
            yield reference.get("ID", ""), screen.get("Name") or str(screen.get("ID", ""))


def _plate(element: ET.Element, numbers: Mapping[str, int], screens: Mapping[str, str]) -> tuple[Plate, list[str]]:
    acquisitions = list(_children(element, "PlateAcquisition"))
    acquisition_of = {
        ref.get("ID", ""): i
        for i, acquisition in enumerate(acquisitions)
        for ref in _children(acquisition, "WellSampleRef")
    }
    well_samples: list[WellSample] = []
    wells: list[tuple[int, int]] = []
    empty, lost = [], []
    for well in _children(element, "Well"):
        row, column = (_index(well.get(axis)) for axis in ("Row", "Column"))
        if row is None or column is None:
            lost.append(f"well {well.get('ID', '')} has row {well.get('Row')!r} and column {well.get('Column')!r}")
            continue
        wells.append((row, column))
        samples = sorted(_children(well, "WellSample"), key=lambda sample: _index(sample.get("Index")) or 0)
        found = _fields_with_images(samples, numbers)
        for field, (sample, image) in enumerate(found):
            acquisition = acquisition_of.get(sample.get("ID", ""), 0 if len(acquisitions) == 1 else None)
            well_samples.append(WellSample(numbers[image], row, column, field, acquisition))
        if not found:
            empty.append(well_name(row, column))
        elif len(found) < len(samples):
            lost.append(
                f"{len(samples) - len(found)} of {len(samples)} fields of {well_name(row, column)} have no image"
            )
    made = Plate(
        name=(element.get("Name") or "").strip(),
        rows=max([_index(element.get("Rows")) or 0, *(row + 1 for row, _ in wells)]),
        columns=max([_index(element.get("Columns")) or 0, *(column + 1 for _, column in wells)]),
        acquisitions=tuple(one.get("Name") or f"PlateAcquisition {i}" for i, one in enumerate(acquisitions)),
        well_samples=tuple(well_samples),
        screen=screens.get(element.get("ID", "")),
        wells=tuple(dict.fromkeys(wells)),
        naming_conventions=(_naming(element, "Row", "letter"), _naming(element, "Column", "number")),
    )
    return made, [*([f"{format_wells(empty)} without an image"] if empty else []), *lost]


def _fields_with_images(samples: Sequence[ET.Element], images: Mapping[str, int]) -> list[tuple[ET.Element, str]]:
    """Return the fields of a well whose image is in the file, with the ids of the images."""
    return [(s, ref.get("ID", "")) for s in samples for ref in _children(s, "ImageRef") if ref.get("ID") in images]


def _index(text: str | None) -> int | None:
    """Parse a number below 10,000 in ASCII digits; None for other text."""
    if text is None or not (text.isascii() and text.isdecimal() and len(text) < 6):
        return None
    return int(text) if int(text) < _MOST else None


def format_wells(names: Sequence[str]) -> str:
    """Format the names of wells for a message.

    >>> format_wells(["A1"]), format_wells(["A1", "B2"])
    ('well A1', 'wells A1, B2')
    """
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return f"well{'' if len(names) == 1 else 's'} {', '.join(names[:_SHOWN])}{more}"


def _naming(element: ET.Element, axis: str, default: str) -> str:
    said = element.get(f"{axis}NamingConvention", default)
    return said if said in ("letter", "number") else default
