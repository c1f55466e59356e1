"""Write tables as CSV and Parquet; Parquet keeps types, units and descriptions.

Values that were not measured are empty in CSV and null in Parquet. Text is not changed, in CSV either: programs find
rows by it. (A spreadsheet reads a name that starts with ``=`` as a formula unless the column is imported as text.)
"""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np

from omero_pixclf.errors import InputError
from omero_pixclf.files.atomic import write_atomically
from omero_pixclf.table import NO_NUMBER, NOT_NEGATIVE, Column, Table

__all__ = ["read_parquet", "write_csv", "write_parquet"]


def write_csv(path: Path, table: Table) -> None:
    """Write a table with its column names in the first line; numbers are written exactly.

    Raises
    ------
    OutputError
        If it cannot be written.
    """
    with write_atomically(path) as part, part.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(table.names)
        writer.writerows(zip(*map(_cells, table.columns), strict=True))


def _cells(column: Column) -> list[Any]:
    """Return plain values of a column, None for values that were not measured."""
    return [v if known else None for v, known in zip(column.values.tolist(), column.known.tolist(), strict=True)]


def write_parquet(path: Path, table: Table) -> None:
    """Write a table as Parquet; it may have no rows.

    Raises
    ------
    OutputError
        If it cannot be written.
    """
    import pyarrow
    import pyarrow.parquet

    types = {"double": pyarrow.float64(), "bool": pyarrow.bool_(), "string": pyarrow.string()}
    fields, arrays = [], []
    for column in table.columns:
        kind = types.get(column.kind, pyarrow.int64())
        facts = {"kind": column.kind, "unit": column.unit, "description": column.description, "fill": str(column.fill)}
        fields.append(pyarrow.field(column.name, kind, metadata=facts))
        arrays.append(pyarrow.array(_cells(column), kind))
    with write_atomically(path) as part, part.open("wb") as file:  # pyarrow itself opens UTF-8 names only
        pyarrow.parquet.write_table(pyarrow.Table.from_arrays(arrays, schema=pyarrow.schema(fields)), file)


def read_parquet(path: Path) -> Table:
    """Read a table that `write_parquet` wrote.

    Raises
    ------
    InputError
        If the file is not such a table.
    """
    import pyarrow
    import pyarrow.parquet

    try:
        with path.open("rb") as file:
            stored = pyarrow.parquet.read_table(file)
        return Table(tuple(_column(stored, name) for name in stored.column_names))
    except (OSError, pyarrow.ArrowException, KeyError, ValueError, TypeError, OverflowError) as error:
        raise InputError(
            f"{path}: not a table that omero_pixclf wrote ({error}); move it away, and repeat the run with --force"
        ) from error


def _column(stored: Any, name: str) -> Column:
    facts = {k.decode(): v.decode() for k, v in (stored.schema.field(name).metadata or {}).items()}
    kind: Any = facts["kind"]
    nothing = {"double": np.nan, "string": "", "bool": False}.get(kind, NO_NUMBER)
    values = [nothing if value is None else value for value in stored.column(name).to_pylist()]
    return Column(
        name,
        kind,
        np.array(values, object) if kind == "string" else np.array(values),
        facts.get("unit", ""),
        facts.get("description", ""),
        float(facts.get("fill", NOT_NEGATIVE)),
    )
