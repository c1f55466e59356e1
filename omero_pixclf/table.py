"""Tables as frozen columns of declared type: what measurements return and what sinks write.

OMERO's tables, CSV and Parquet each have types of their own; declaring a column's type once, here, is what keeps
them from being guessed from the values (and from going wrong on zero rows).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

__all__ = ["Column", "Kind", "Table", "concatenate"]

Kind = Literal["image", "roi", "well", "plate", "dataset", "long", "double", "string", "bool"]

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
    """

    name: str
    kind: Kind
    values: NDArray[Any] = field(repr=False)
    unit: str = ""
    description: str = ""

    def __post_init__(self) -> None:
        values = np.asarray(self.values, dtype=_DTYPES.get(self.kind, np.int64))
        if values.ndim != 1:
            raise ValueError(f"column {self.name!r}: values have {values.ndim} dimensions, expected 1")
        if not self.name or " " in self.name or self.name.startswith("__"):
            raise ValueError(f"column name {self.name!r}: no spaces, not empty, not starting with '__'")
        object.__setattr__(self, "values", values)


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
        return Table(tuple(_with(c, c.values[chosen]) for c in self.columns))

    def with_column(self, column: Column, *, first: bool = False) -> Table:
        """This table with one more column, or with the column of that name replaced where it stood."""
        if column.name in self:
            return Table(tuple(column if c.name == column.name else c for c in self.columns))
        return Table((column, *self.columns) if first else (*self.columns, column))


def _with(column: Column, values: NDArray[Any]) -> Column:
    return Column(column.name, column.kind, values, column.unit, column.description)


def concatenate(tables: Iterable[Table]) -> Table:
    """All rows one after the other; every table must declare the same columns (name and kind, in order).

    Raises
    ------
    ValueError
        Where no table is given, or two of them differ in a column.
    """
    parts = list(tables)
    if not parts:
        raise ValueError("no tables to concatenate")
    shape = [(c.name, c.kind) for c in parts[0].columns]
    for part in parts[1:]:
        if [(c.name, c.kind) for c in part.columns] != shape:
            raise ValueError(f"tables differ in their columns: {part.names} and {parts[0].names}")
    merged = (np.concatenate([p.columns[i].values for p in parts]) for i in range(len(shape)))
    return Table(tuple(_with(c, v) for c, v in zip(parts[0].columns, merged, strict=True)))
