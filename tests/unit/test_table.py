"""Tables keep their declared types, also where there are no rows."""

from __future__ import annotations

import numpy as np
import pytest

from omero_pixclf.table import Column, Table, column_names, concatenate


def table(**columns: tuple[str, list[object]]) -> Table:
    return Table(tuple(Column(n, kind, np.array(v, dtype=object)) for n, (kind, v) in columns.items()))  # type: ignore[arg-type]


def test_types_stand_with_zero_rows() -> None:
    empty = table(Image=("image", []), Area=("double", []), Name=("string", []))
    assert [c.values.dtype for c in empty.columns] == [np.int64, np.float64, object]
    assert len(concatenate([empty, empty])) == 0


def test_concatenation_keeps_order_and_fills_what_an_image_has_not() -> None:
    one = table(Image=("image", [1]), Mean_DAPI=("double", [2.0]))
    two = table(Image=("image", [2]), Mean_GFP=("double", [3.0]), Roi=("roi", [9]), Name=("string", ["x"]))
    both = concatenate([one, two])
    assert both.names == ("Image", "Mean_DAPI", "Mean_GFP", "Roi", "Name")
    assert both["Image"].tolist() == [1, 2]
    assert np.isnan(both["Mean_DAPI"][1]) and np.isnan(both["Mean_GFP"][0])
    assert both["Roi"].tolist() == [-1, 9]
    assert both["Name"].tolist() == ["", "x"]


def test_a_column_declared_twice_in_different_ways_is_refused() -> None:
    with pytest.raises(ValueError, match="declared as"):
        concatenate([table(A=("long", [1])), table(A=("double", [1.0]))])


@pytest.mark.parametrize("name", ["", "two words", "__x"])
def test_names_that_omero_refuses_are_refused_here(name: str) -> None:
    with pytest.raises(ValueError, match="column name"):
        Column(name, "long", np.zeros(1))


def test_uneven_columns_and_double_names_are_refused() -> None:
    with pytest.raises(ValueError, match="different lengths"):
        table(A=("long", [1]), B=("long", []))
    with pytest.raises(ValueError, match="duplicate"):
        Table((Column("A", "long", np.zeros(1)), Column("A", "long", np.zeros(1))))


def test_rows_are_plain_python_values() -> None:
    assert list(table(A=("long", [1]), B=("string", ["x"])).rows()) == [{"A": 1, "B": "x"}]


def test_very_long_names_of_channels_stay_apart_in_short_names_of_columns() -> None:
    names = column_names(["x" * 5000, "x" * 5000 + "y", "z"], 3)
    assert names == ("x" * 40, "x" * 40 + "_2", "z")
