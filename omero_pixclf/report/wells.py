"""Wells of plates: names and positions, standard plate formats, and the arrangement of wells on a contact sheet."""

from __future__ import annotations

import re
from collections.abc import Sequence

from omero_pixclf.image import well_name

__all__ = ["FORMATS", "MOST_COLUMNS", "plate_shape", "plate_slots", "well_name", "well_position"]

FORMATS = ((2, 3), (3, 4), (4, 6), (6, 8), (8, 12), (16, 24), (32, 48))  # rows and columns of standard plates
MOST_COLUMNS = 24  # of pictures on a sheet


def well_position(name: str) -> tuple[int, int] | None:
    """Row and column of a well, from 0; None if the text is not a well's name.

    >>> well_position("B3"), well_position("AA01"), well_position("7")
    ((1, 2), (26, 0), None)
    """
    match = re.fullmatch(r"\s*([A-Za-z]{1,2})0*([1-9]\d{0,2})\s*", name)
    if match is None:
        return None
    row = 0
    for letter in match[1].upper():
        row = 26 * row + ord(letter) - ord("A") + 1
    return row - 1, int(match[2]) - 1


def plate_shape(rows: int, columns: int) -> tuple[int, int]:
    """The smallest standard plate with at least these rows and columns; without one, these numbers themselves.

    >>> plate_shape(2, 3), plate_shape(7, 11), plate_shape(9, 2), plate_shape(40, 2)
    ((2, 3), (8, 12), (16, 24), (40, 2))
    """
    fitting = (shape for shape in FORMATS if shape[0] >= rows and shape[1] >= columns)
    return next(fitting, (rows, columns))


def plate_slots(wells: Sequence[str]) -> tuple[int, list[int]] | None:
    """Arrange images on a sheet as on their plate: return pictures per row, and the position of each image.

    The images of a well are beside each other; positions of wells without images stay empty. None if an image is not
    in a well, or if the sheet would be wider than `MOST_COLUMNS` pictures or more than half empty.

    >>> plate_slots(["A1", "A1", "A2", "B2"]), plate_slots(["A1", ""])
    ((4, [0, 1, 2, 6]), None)
    """
    places = [p for p in map(well_position, wells) if p is not None]
    if not places or len(places) < len(wells):
        return None
    (top, left), (bottom, right) = (tuple(f(p[i] for p in places) for i in (0, 1)) for f in (min, max))
    each = max(places.count(p) for p in set(places))
    columns = (right - left + 1) * each
    if columns > MOST_COLUMNS or 2 * len(places) < columns * (bottom - top + 1):
        return None
    slots = [(p[0] - top) * columns + (p[1] - left) * each + places[:n].count(p) for n, p in enumerate(places)]
    return columns, slots
