"""Tables as files: what was not measured is empty, and text stays as it is."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pyarrow.parquet
import pytest

from omero_pixclf.folder.tables import read_parquet, write_csv, write_parquet
from omero_pixclf.table import ANY_NUMBER, Column, Table

NAMES = ["=cmd|'/c calc'!A1", "-2+3", 'a "b", c', "two\nlines", "细胞 🧫"]
TABLE = Table((
    Column("Image_Name", "string", np.array(NAMES, object)),
    Column("Count_A", "long", np.array([0, 3, -1, 7, 1])),
    Column("Roi", "roi", np.array([-1, 12, 13, -1, 14])),
    Column("Mean_Area_px_of_A", "double", np.array([np.nan, 4.5, 0.0, np.inf, -1.0]), "px", "mean", ANY_NUMBER),
    Column("Edge", "bool", np.array([True, False, True, False, True])),
))  # fmt: skip


def test_in_csv_what_was_not_measured_is_empty(tmp_path: Path) -> None:
    write_csv(tmp_path / "t.csv", TABLE)
    with (tmp_path / "t.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["Mean_Area_px_of_A"] for row in rows] == ["", "4.5", "0.0", "inf", "-1.0"]
    assert [row["Count_A"] for row in rows] == ["0", "3", "", "7", "1"]
    assert [row["Roi"] for row in rows] == ["", "12", "13", "", "14"]


def test_text_in_csv_stays_as_it_is(tmp_path: Path) -> None:
    write_csv(tmp_path / "t.csv", TABLE)
    with (tmp_path / "t.csv").open(newline="", encoding="utf-8") as file:
        assert [row["Image_Name"] for row in csv.DictReader(file)] == NAMES


@pytest.mark.parametrize("rows", [5, 0])
def test_in_parquet_what_was_not_measured_is_null_and_comes_back(tmp_path: Path, rows: int) -> None:
    table = TABLE.take(np.arange(rows))
    write_parquet(tmp_path / "t.parquet", table)
    stored = pyarrow.parquet.read_table(tmp_path / "t.parquet")
    if rows:
        assert [stored.column(n).null_count for n in TABLE.names] == [0, 1, 2, 1, 0]
    back = read_parquet(tmp_path / "t.parquet")
    for one, other in zip(table.columns, back.columns, strict=True):
        assert (one.name, one.kind, one.unit, one.description, one.fill) == (
            other.name, other.kind, other.unit, other.description, other.fill,
        )  # fmt: skip
        np.testing.assert_array_equal(one.values, other.values)
