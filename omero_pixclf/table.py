"""Tables of typed columns, as measurements return them and as OMERO and files store them.

OMERO's tables, CSV and Parquet each have types of their own; declaring a column's type once, here, is what keeps
them from being guessed from the values (and from going wrong on zero rows).

A number that was not measured (the mean area of no objects, an area in µm² without a pixel size, a channel that an
image has not) is NaN in a column of doubles and -1 in one of whole numbers or ids. Formats that cannot hold a NaN get
the column's ``fill`` instead; never 0, which every mean would take for a measurement.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from omero_pixclf.errors import UsageError

__all__ = [
    "ANY_NUMBER",
    "LONGEST_NAME",
    "NOT_NEGATIVE",
    "NO_NUMBER",
    "Column",
    "Kind",
    "Table",
    "column_names",
    "concatenate",
]

Kind = Literal["image", "roi", "well", "plate", "dataset", "long", "double", "string", "bool"]

NOT_NEGATIVE = -1.0
"""Fill value of quantities that are never below 0: sizes, distances, fractions."""
ANY_NUMBER = -1e300
"""Fill value of quantities that can have any sign; no camera, no float32 and no usual "no data" gives it."""
LONGEST_NAME = 40
"""Characters of a channel or class in the name of a column: HDF5 has all names of a table in 64 KiB."""
NO_NUMBER = -1
"""A whole number that was not measured, or no object's id."""

_DTYPES: dict[str, Any] = {"double": np.float64, "bool": np.bool_, "string": object}  # every other kind: int64


@dataclass(frozen=True)
class Column:
    """One named column.

    Attributes
    ----------
    name
        Without spaces, not starting with ``__``: OMERO's rule for column names.
    kind
        ``long``, ``double``, ``string``, ``bool``, or the id of an OMERO object (``image``, ``roi``, ``well``, …).
    values
        One-dimensional; int64, float64, bool or object (str) as ``kind`` says.
    unit
        ``"µm²"``, ``"px"``, ``""`` for numbers without one.
    fill
        What stands for "not measured" in formats without NaN: a number below all that can be measured.
    """

    name: str
    kind: Kind
    values: NDArray[Any] = field(repr=False)
    unit: str = ""
    description: str = ""
    fill: float = NOT_NEGATIVE

    def __post_init__(self) -> None:
        values = np.asarray(self.values, dtype=_DTYPES.get(self.kind, np.int64))
        if values.ndim != 1:
            raise ValueError(f"column {self.name!r}: values have {values.ndim} dimensions, expected 1")
        if not self.name or " " in self.name or self.name.startswith("__"):
            raise ValueError(f"column name {self.name!r}: no spaces, not empty, not starting with '__'")
        object.__setattr__(self, "values", values)

    @property
    def known(self) -> NDArray[np.bool_]:
        """(n,) which values are measurements; others were not measured, or are of no object."""
        if self.kind == "double":
            return np.asarray(~np.isnan(self.values))
        if self.kind in ("string", "bool"):
            return np.ones(len(self.values), dtype=np.bool_)
        return np.asarray(self.values != NO_NUMBER)


@dataclass(frozen=True)
class Table:
    """Columns of equal length, in order, with unique names."""

    columns: tuple[Column, ...]

    def __post_init__(self) -> None:
        names = self.names
        if len(set(names)) != len(names):
            raise ValueError(f"duplicate column names: {sorted(n for n in set(names) if names.count(n) > 1)}")
        if len({len(c.values) for c in self.columns}) > 1:
            raise ValueError(f"columns of different lengths: { {c.name: len(c.values) for c in self.columns} }")

    @property
    def names(self) -> tuple[str, ...]:
        """Column names, in order."""
        return tuple(c.name for c in self.columns)

    def __len__(self) -> int:
        return len(self.columns[0].values) if self.columns else 0

    def __getitem__(self, name: str) -> NDArray[Any]:
        """The values of one column."""
        for column in self.columns:
            if column.name == name:
                return column.values
        raise KeyError(name)

    def __contains__(self, name: str) -> bool:
        return name in self.names

    def rows(self) -> Iterator[dict[str, Any]]:
        """Row by row, as dictionaries of plain Python values."""
        lists = [c.values.tolist() for c in self.columns]
        for row in zip(*lists, strict=True):
            yield dict(zip(self.names, row, strict=True))

    def take(self, rows: NDArray[Any] | Sequence[int]) -> Table:
        """The rows with these indices (or a boolean mask), in that order."""
        chosen = np.asarray(rows)
        if chosen.dtype != np.bool_:
            chosen = chosen.astype(np.int64)
        return Table(tuple(_replace_values(c, c.values[chosen]) for c in self.columns))

    def to_pandas(self) -> Any:
        """Return the columns as a `pandas.DataFrame`.

        Raises
        ------
        UsageError
            pandas is not installed.
        """
        try:
            import pandas
        except ImportError as error:
            raise UsageError("to_pandas needs pandas, which is not installed; run: pip install pandas") from error
        return pandas.DataFrame({c.name: c.values for c in self.columns})

    def with_column(self, column: Column, *, first: bool = False) -> Table:
        """This table with one more column, or with the column of that name replaced where it stood."""
        if column.name in self:
            return Table(tuple(column if c.name == column.name else c for c in self.columns))
        return Table((column, *self.columns) if first else (*self.columns, column))


def _replace_values(column: Column, values: NDArray[Any]) -> Column:
    return replace(column, values=values)


_MISSING: dict[str, Any] = {"double": np.nan, "string": "", "bool": False}  # every other kind: `NO_NUMBER`


def concatenate(tables: Iterable[Table]) -> Table:
    """All rows one after the other, under the union of all columns in order of first appearance.

    A table without a column (an image without that channel) gets NaN there, "" for strings, -1 for whole numbers. Of
    fill values the lowest is taken, which fits the numbers of all tables.

    Raises
    ------
    ValueError
        Where no table is given, or two of them declare a column differently.
    """
    parts = list(tables)
    if not parts:
        raise ValueError("no tables to concatenate")
    declared: dict[str, Column] = {}
    for column in (c for part in parts for c in part.columns):
        known = declared.setdefault(column.name, column)
        if known.kind != column.kind:
            raise ValueError(f"column {column.name!r} is declared as {known.kind} and as {column.kind}")
        if column.fill < known.fill:
            declared[column.name] = replace(known, fill=column.fill)
    return Table(tuple(_replace_values(c, np.concatenate([_values(p, c) for p in parts])) for c in declared.values()))


def _values(table: Table, column: Column) -> NDArray[Any]:
    if column.name in table:
        return table[column.name]
    return np.full(len(table), _MISSING.get(column.kind, NO_NUMBER), dtype=_DTYPES.get(column.kind, np.int64))


def column_names(channels: Sequence[str], count: int) -> tuple[str, ...]:
    """Names fit for columns, one per channel: letters, digits and underscores, unique, never empty, not very long.

    >>> column_names(["DAPI (405 nm)", "", "DAPI 405 nm"], 3)
    ('DAPI_405_nm', 'Channel_2', 'DAPI_405_nm_2')
    """
    names: list[str] = []
    for c in range(count):
        given = re.sub(r"[^0-9A-Za-z]+", "_", channels[c] if c < len(channels) else "").strip("_")[:LONGEST_NAME]
        plain = given or f"Channel_{c + 1}"
        name, times = plain, 1
        while name.lower() in (n.lower() for n in names):
            times += 1
            name = f"{plain}_{times}"
        names.append(name)
    return tuple(names)
