"""Tables as CSV for people and as Parquet for programs; Parquet keeps the declared kinds, units and descriptions."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np

from omero_pixclf.errors import InputError
from omero_pixclf.files.atomic import replacing
from omero_pixclf.table import Column, Table

__all__ = ["read_parquet", "write_csv", "write_parquet"]


def write_csv(path: Path, table: Table) -> None:
    """Write a table with its column names as the first line; numbers so that they read back the same.

    Raises
    ------
    OutputError
        Where it cannot be written.
    """
    with replacing(path) as part, part.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(table.names)
        writer.writerows(row.values() for row in table.rows())


def write_parquet(path: Path, table: Table) -> None:
    """Write a table as Parquet; zero rows are as good as many.

    Raises
    ------
    OutputError
        Where it cannot be written.
    """
    import pyarrow
    import pyarrow.parquet

    types = {"double": pyarrow.float64(), "bool": pyarrow.bool_(), "string": pyarrow.string()}
    fields, arrays = [], []
    for column in table.columns:
        kind = types.get(column.kind, pyarrow.int64())
        facts = {"kind": column.kind, "unit": column.unit, "description": column.description}
        fields.append(pyarrow.field(column.name, kind, metadata=facts))
        arrays.append(pyarrow.array(column.values.tolist(), kind))
    with replacing(path) as part:
        pyarrow.parquet.write_table(pyarrow.Table.from_arrays(arrays, schema=pyarrow.schema(fields)), part)


def read_parquet(path: Path) -> Table:
    """The table that `write_parquet` wrote.

    Raises
    ------
    InputError
        Where the file is no such table.
    """
    import pyarrow
    import pyarrow.parquet

    try:
        stored = pyarrow.parquet.read_table(path)
        return Table(tuple(_column(stored, name) for name in stored.column_names))
    except (OSError, pyarrow.ArrowInvalid, KeyError, ValueError) as error:
        raise InputError(f"{path}: not a table of ours: {error}") from error


def _column(stored: Any, name: str) -> Column:
    facts = {k.decode(): v.decode() for k, v in (stored.schema.field(name).metadata or {}).items()}
    values = stored.column(name).to_pylist()
    text = facts["kind"] == "string"
    return Column(
        name,
        facts["kind"],
        np.array(values, object) if text else np.array(values),
        facts.get("unit", ""),
        facts.get("description", ""),
    )
