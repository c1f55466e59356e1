"""Lengths, wells, keys and targets."""

from __future__ import annotations

import pytest

from omero_pixclf.connector.hierarchy import format_well, parse_key, parse_targets, to_micrometres
from omero_pixclf.errors import UsageError


@pytest.mark.parametrize(
    ("value", "unit", "expected"),
    [
        (0.325, "MICROMETER", 0.325),
        (250.0, "NANOMETER", 0.25),
        (1.5, "MILLIMETER", 1500.0),
        (6500.0, "ANGSTROM", 0.65),
        (1.0, "INCH", 25400.0),
        (1.0, "PIXEL", None),
        (1.0, "REFERENCEFRAME", None),
        (None, None, None),
    ],
)
def test_lengths_are_turned_into_micrometres(value, unit, expected):
    assert to_micrometres(value, unit) == expected


@pytest.mark.parametrize(("row", "column", "name"), [(0, 0, "A1"), (7, 11, "H12"), (25, 0, "Z1"), (31, 47, "AF48")])
def test_wells_are_named_as_on_the_plate(row, column, name):
    assert format_well(row, column) == name


def test_targets_are_read():
    assert parse_targets(["Image:1,2", "Plate:3"]) == [("Image", 1), ("Image", 2), ("Plate", 3)]


@pytest.mark.parametrize("target", ["Image", "Image:", "Image:x", "Roi:1", "image:1", "Image:1,", ":1"])
def test_what_is_no_target_is_refused_with_what_would_be(target):
    with pytest.raises(UsageError, match="expected one of Image:ID"):
        parse_targets([target])


def test_what_is_no_key_is_refused():
    with pytest.raises(UsageError, match="expected an object such as"):
        parse_key("51")
