"""Columns as OMERO.tables stores them."""

from __future__ import annotations

import numpy as np
import omero.clients  # first: the other modules of omero are complete only after it
import omero.grid
import pytest
from numpy.testing import assert_array_equal

from omero_pixclf.connector.results.tables import measure_string_width, to_column, to_table
from omero_pixclf.table import Column, Table

TABLE = Table(
    (
        Column("Image", "image", np.array([5, 6])),
        Column("Class", "string", np.array(["é", "abc"], dtype=object), "", "the class"),
        Column("Area", "double", np.array([1.5, np.nan]), "µm²", "size"),
        Column("Edge", "bool", np.array([True, False])),
    )
)


def test_columns_come_back_with_kind_values_unit_and_description():
    back = to_table([to_column(c, c.values, width=measure_string_width(c)) for c in TABLE.columns])
    assert [(c.name, c.kind, c.unit, c.description) for c in back.columns] == [
        (c.name, c.kind, c.unit, c.description) for c in TABLE.columns
    ]
    for name in TABLE.names:
        assert_array_equal(back[name], TABLE[name])


@pytest.mark.parametrize("name", ["细胞", "клетка", "🧫 dish", "a [b] (not measured: x)"])
def test_names_in_descriptions_come_back_as_they_were(name):
    column = Column("Count_X", "long", np.array([1, -1]), description=f"objects: {name}")
    made = to_column(column, column.values)
    assert made.description.isascii() and "(not measured: -1)" in made.description
    assert to_table([made]).columns[0].description == f"objects: {name}"


@pytest.mark.parametrize(
    ("values", "fill", "stored"),
    [
        ([2.5, np.nan], -1.0, [2.5, -1.0]),
        ([0.0, np.inf, -np.inf], -1.0, [0.0, -1.0, -1.0]),
        ([-40.0, np.nan], -999.0, [-40.0, -999.0]),
        ([-3.5, np.nan], -1.0, [-3.5, -1e300]),  # declared too high: one that is no measurement is taken
        ([-1e300, np.nan], -1e300, [-1e300, -1e301]),
        ([-1e308, np.nan], -1e300, [-1e308, 1e301]),
        ([], -1.0, []),
    ],
)
def test_what_was_not_measured_is_a_number_that_json_has_and_no_measurement(values, fill, stored):
    column = Column("V", "double", np.array(values), "px", "size", fill)
    made = to_column(column, column.values)
    assert made.values == stored
    if values:
        assert f"(not measured: {stored[-1]:g})" in made.description
    back = to_table([made]).columns[0]
    assert_array_equal(back.values, np.where(np.isinf(column.values), np.nan, column.values))
    assert (back.unit, back.description) == ("px", "size")


def test_descriptions_are_ascii_because_omero_tables_fail_on_the_rest():
    column = Column("V", "double", np.zeros(1), "µm³", "Größe in µm")
    made = to_column(column, column.values)
    assert made.description == r"Gr\xf6\xdfe in um (not measured: -1) [um^3]"
    back = to_table([made]).columns[0]
    assert (back.unit, back.description) == ("µm³", "Größe in um")


def test_zeros_that_an_earlier_version_wrote_for_what_it_had_not_measured_are_not_taken_for_numbers():
    def column(name, values, kind=omero.grid.DoubleColumn):
        return kind(name, "as it was: objects: A", values)

    back = to_table([
        column("Count_A", [0, 23, 5], omero.grid.LongColumn),
        column("Mean_Area_um2_of_A", [0.0, 0.0, 2.5]),
        column("Mean_DAPI_of_A", [0.0, 0.0, 1.5]),
        column("Uncertainty", [0.0, 0.5, 0.25]),
    ])  # fmt: skip
    assert_array_equal(back["Mean_Area_um2_of_A"], [np.nan, np.nan, 2.5])
    assert_array_equal(back["Mean_DAPI_of_A"], [np.nan, 0.0, 1.5])
    assert_array_equal(back["Uncertainty"], [0.0, 0.5, 0.25])


def test_string_columns_are_as_wide_as_their_longest_value_in_bytes():
    assert measure_string_width(Column("S", "string", np.array(["µµ", "abc"], dtype=object))) == 4
    assert measure_string_width(Column("S", "string", np.array([], dtype=object))) == 1
    assert measure_string_width(Column("S", "string", np.array(["", ""], dtype=object))) == 1


def test_a_table_without_rows_keeps_its_columns():
    empty = TABLE.take(np.zeros(0, int))
    back = to_table([to_column(c, c.values, width=measure_string_width(c)) for c in empty.columns])
    assert len(back) == 0
    assert back.names == TABLE.names
