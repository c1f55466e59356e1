"""The plates of OME-XML: which images lie in which wells."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from omero_pixclf.errors import ImageError
from omero_pixclf.files.ome_xml import parsed
from omero_pixclf.files.series.content import Plate, Spot

__all__ = ["ome_plates"]

_MOST = 10_000  # rows or columns: more than any plate has


def ome_plates(path: Path, xml: str | None, images: Sequence[str]) -> tuple[tuple[Plate, ...], tuple[str, ...]]:
    """The plates that an OME-XML text describes, and remarks on what they list and the file does not hold.

    Parameters
    ----------
    path
        The file, for messages.
    xml
        The text.
    images
        The ids of the file's images, in their order.

    Raises
    ------
    ImageError
        Where a well has no row and column, or a sample names an image that is not in the file.
    """
    root = parsed(xml or "")
    if root is None:
        return (), ()
    numbers = {ident: number for number, ident in enumerate(images) if ident}
    screens = dict(_screens(root))
    plates, remarks = [], []
    for element in _children(root, "Plate"):
        made, empty = _plate(path, element, numbers, screens)
        if not made.spots:
            remarks.append(f"plate {made.name or element.get('ID', '')}: none of its wells has an image")
            continue
        plates.append(made)
        remarks += [f"{made.name or 'plate'}: {text}" for text in empty]
    return tuple(plates), tuple(remarks)


def _tag(element: ET.Element) -> str:
    return element.tag.rpartition("}")[2]


def _children(parent: ET.Element, tag: str) -> Iterator[ET.Element]:
    return (child for child in parent if _tag(child) == tag)


def _screens(root: ET.Element) -> Iterator[tuple[str, str]]:
    """Ids of plates and the names of their screens."""
    for screen in _children(root, "Screen"):
        for reference in _children(screen, "PlateRef"):
            yield reference.get("ID", ""), screen.get("Name") or str(screen.get("ID", ""))


def _plate(
    path: Path, element: ET.Element, numbers: Mapping[str, int], screens: Mapping[str, str]
) -> tuple[Plate, list[str]]:
    runs = list(_children(element, "PlateAcquisition"))
    run_of = {ref.get("ID", ""): i for i, run in enumerate(runs) for ref in _children(run, "WellSampleRef")}
    spots, wells, remarks = [], [], []
    for well in _children(element, "Well"):
        row, column = (_index(path, well, axis) for axis in ("Row", "Column"))
        wells.append((row, column))
        samples = sorted(_children(well, "WellSample"), key=_order)
        found = [(s, ref.get("ID", "")) for s in samples for ref in _children(s, "ImageRef")]
        for field, (sample, image) in enumerate(found):
            if image not in numbers:
                raise ImageError(f"{path.name}: its plate names {image}, which is not in the file; export it again")
            run = run_of.get(sample.get("ID", ""), 0 if len(runs) == 1 else None)
            spots.append(Spot(numbers[image], row, column, field, run))
        if len(found) < max(1, len(samples)):
            lost = "has no image" if not found else f"{len(samples) - len(found)} of its fields without an image"
            remarks.append(f"well in row {row + 1}, column {column + 1}: {lost}")
    rows, columns = (max((place[i] + 1 for place in wells), default=0) for i in (0, 1))
    made = Plate(
        name=(element.get("Name") or "").strip(),
        rows=max(rows, _size(element.get("Rows"))),
        columns=max(columns, _size(element.get("Columns"))),
        runs=tuple(run.get("Name") or f"PlateAcquisition {i}" for i, run in enumerate(runs)),
        spots=tuple(spots),
        screen=screens.get(element.get("ID", "")),
        wells=tuple(dict.fromkeys(wells)),
        naming=(_naming(element, "Row", "letter"), _naming(element, "Column", "number")),
    )
    return made, remarks


def _order(sample: ET.Element) -> int:
    return _size(sample.get("Index"))


def _size(text: str | None) -> int:
    return int(text) if text is not None and text.isascii() and text.isdecimal() and len(text) < 6 else 0


def _index(path: Path, well: ET.Element, axis: str) -> int:
    text = well.get(axis, "")
    if not (text.isascii() and text.isdecimal() and len(text) < 6 and int(text) < _MOST):
        raise ImageError(f"{path.name}: a well of its plate has {axis} {text!r}, expected a number from 0")
    return int(text)


def _naming(element: ET.Element, axis: str, default: str) -> str:
    said = element.get(f"{axis}NamingConvention", default)
    return said if said in ("letter", "number") else default
