"""What OMERO.web can show of a table: JSON knows no NaN."""

from __future__ import annotations

import numpy as np

from omero_pixclf.connector.standing import showable
from omero_pixclf.table import Column, Table

NAN = float("nan")
TABLE = Table((
    Column("Image", "image", np.array([1, 2])),
    Column("Mean_Area", "double", np.array([3.5, NAN]), "px", "mean area"),
    Column("Mean_Volume", "double", np.array([NAN, NAN])),
    Column("Name", "string", np.array(["a", ""], object)),
))  # fmt: skip


def test_a_column_without_any_value_is_left_out() -> None:
    assert showable(TABLE, everywhere=False).names == ("Image", "Mean_Area", "Name")


def test_a_summary_holds_no_nan_and_keeps_what_it_knows() -> None:
    shown = showable(TABLE, everywhere=True)
    assert shown["Mean_Area"].tolist() == [3.5, 0.0]
    assert (shown.columns[1].unit, shown.columns[1].description) == ("px", "mean area")
    assert shown["Image"].tolist() == [1, 2] and shown["Name"].tolist() == ["a", ""]


def test_objects_keep_their_missing_values() -> None:
    values = showable(TABLE, everywhere=False)["Mean_Area"]
    assert values[0] == 3.5 and np.isnan(values[1])


def test_a_table_without_rows_keeps_its_columns() -> None:
    assert showable(TABLE.take(np.zeros(2, bool)), everywhere=True).names == TABLE.names
