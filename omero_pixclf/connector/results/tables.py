"""Convert tables to OMERO's tables and back, with declared column types."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import Any

import numpy as np
import omero.clients  # must be imported before other modules of omero
import omero.grid
from numpy.typing import NDArray

from omero_pixclf.connector.query_patterns import substring_pattern
from omero_pixclf.connector.raw_planes import LARGEST_MESSAGE
from omero_pixclf.connector.results.annotations import make_file_annotation, make_link, make_reference
from omero_pixclf.connector.results.delete import delete_objects
from omero_pixclf.connector.sessions.exceptions import REMOTE_ERRORS, make_missing_error
from omero_pixclf.connector.sessions.session import Session
from omero_pixclf.errors import OutputError
from omero_pixclf.table import ANY_NUMBER, NO_NUMBER, Column, Kind, Table, concatenate

__all__ = [
    "BULK_NS",
    "MOST_COLUMNS",
    "OBJECTS_NS",
    "READ_ROWS",
    "ROWS",
    "choose_fill_value",
    "measure_string_width",
    "read_table",
    "remove_tables",
    "to_column",
    "to_table",
    "write_table",
]

BULK_NS = "openmicroscopy.org/omero/bulk_annotations"
"""Namespace in which OMERO.parade and OMERO.web's panel look for a container's table."""
OBJECTS_NS = "omero_pixclf/objects"
ROWS = 10_000
READ_ROWS = 100_000
MOST_COLUMNS = 512

_COLUMNS: dict[Kind, Any] = {
    "image": omero.grid.ImageColumn,
    "roi": omero.grid.RoiColumn,
    "well": omero.grid.WellColumn,
    "plate": omero.grid.PlateColumn,
    "dataset": omero.grid.DatasetColumn,
    "long": omero.grid.LongColumn,
    "double": omero.grid.DoubleColumn,
    "bool": omero.grid.BoolColumn,
    "string": omero.grid.StringColumn,
}
_KINDS: dict[str, Kind] = {made.__name__: kind for kind, made in _COLUMNS.items()}
# OMERO.tables stores descriptions in ASCII and fails on other characters.
_PLAIN = (("µ", "u"), ("μ", "u"), ("²", "^2"), ("³", "^3"))
_FILL = "not measured: "
_UNIT = re.compile(r"^(?P<text>.*?)\s*\[(?P<unit>[^\[\]]+)\]$", re.DOTALL)
_FILLED = re.compile(rf"^(?P<text>.*?)\s*\({_FILL}(?P<fill>-?\d[^() ]*)\)$", re.DOTALL)
_ESCAPE = re.compile(r"\\x([0-9a-f]{2})|\\u([0-9a-f]{4})|\\U(000[0-9a-f]{5}|0010[0-9a-f]{4})")


def to_column(column: Column, values: NDArray[Any], *, width: int = 1) -> Any:
    """Return an `omero.grid` column; ``width`` is a string column's size in bytes of UTF-8.

    The description ends with the fill value for "not measured" and with the unit. The fill value is a finite number,
    because OMERO.web and OMERO.parade read tables as JSON, which a NaN makes invalid.
    """
    made = _COLUMNS[column.kind]
    if column.kind == "string":
        return made(column.name, _format_description(column, ""), width, [str(v) for v in values.tolist()])
    if column.kind != "double":
        counted = column.kind == "long"
        return made(column.name, _format_description(column, f"{NO_NUMBER}" if counted else ""), values.tolist())
    fill = choose_fill_value(column)
    written = f"{fill:g}"  # -1, -1e+300
    return made(column.name, _format_description(column, written), np.where(np.isfinite(values), values, fill).tolist())


def choose_fill_value(column: Column) -> float:
    """Return the fill value for "not measured" in a column of doubles: its own, or one outside its range of values."""
    measured = column.values[np.isfinite(column.values)]
    lowest, highest = measured.min(initial=np.inf), measured.max(initial=-np.inf)
    beyond = (column.fill, ANY_NUMBER, *(sign * float(f"1e{power}") for sign in (-1, 1) for power in range(301, 309)))
    return next((fill for fill in beyond if fill < lowest or fill > max(highest, 0)), column.fill)


def _format_description(column: Column, fill: str) -> str:
    parts = (column.description, f"({_FILL}{fill})" if fill else "", f"[{column.unit}]" if column.unit else "")
    return _to_ascii(" ".join(part for part in parts if part))


def _to_ascii(text: str) -> str:
    for sign, plain in _PLAIN:
        text = text.replace(sign, plain)
    return text.encode("ascii", "backslashreplace").decode()


def _from_ascii(text: str) -> str:
    """Revert `_to_ascii` in a description, except for units."""
    return _ESCAPE.sub(lambda found: chr(int(found[1] or found[2] or found[3], 16)), text)


def _parse_unit(text: str) -> str:
    """Revert `_to_ascii` in a unit."""
    text = _from_ascii(text)
    for sign, plain in _PLAIN[2:]:
        text = text.replace(plain, sign)
    return re.sub(r"\bum", "µm", text)


def measure_string_width(column: Column) -> int:
    """Bytes that the longest value of a string column takes in UTF-8, at least 1."""
    if column.kind != "string":
        return 1
    return max((len(str(v).encode()) for v in column.values.tolist()), default=1) or 1


def to_table(columns: list[Any]) -> Table:
    """`omero.grid` columns, with their values, as a Table.

    Raises
    ------
    KeyError
        For a type of column that omero_pixclf never writes.
    """
    table = Table(tuple(_from_column(column) for column in columns))
    told = any(_FILL in (column.description or "") for column in columns)
    return table if told else _without_invented_zeros(table)


def _without_invented_zeros(table: Table) -> Table:
    """A summary of a version that wrote 0 for what it had not measured: means of no objects, sizes without a unit."""
    for column in table.columns:
        count = f"Count_{column.name.rpartition('_of_')[2]}"
        if column.name.startswith("Mean_") and column.kind == "double" and count in table:
            invented = (column.values == 0) & ((table[count] == 0) | column.name.startswith(("Mean_Area_", "Mean_Vol")))
            table = table.with_column(replace(column, values=np.where(invented, np.nan, column.values)))
    return table


def _from_column(column: Any) -> Column:
    kind = _KINDS[type(column).__name__]
    text, unit, values = column.description or "", "", np.asarray(column.values or [])
    if found := _UNIT.match(text):
        text, unit = found["text"], _parse_unit(found["unit"])
    if filled := _FILLED.match(text):
        text, fill = filled["text"], float(filled["fill"])
        if kind == "double":
            return Column(column.name, kind, np.where(values == fill, np.nan, values), unit, _from_ascii(text), fill)
    return Column(column.name, kind, values, unit, _from_ascii(text))


def write_table(
    session: Session,
    target: str,
    table: Table,
    *,
    group: int,
    name: str,
    namespace: str,
    description: str,
    attach: bool = True,
) -> int:
    """Store a table of ``"Plate:3"`` in a group, by default attached to it; return the FileAnnotation's id.

    ``name`` must be unique: by it, results of an interrupted attempt are found and removed (`remove_tables`).

    Raises
    ------
    OutputError
        The table has more columns than OMERO.tables supports, or the server has no OMERO.tables service.
    """
    _check_columns(target, table)

    def store(factory: Any) -> int:
        file, handle = _create_table(factory, name)
        try:
            annotation = make_file_annotation(namespace, description, make_reference("OriginalFile", file))
            made = make_link(target, annotation) if attach else annotation
            saved = factory.getUpdateService().saveAndReturnObject(made)
            _write_rows(handle, table)
        finally:
            with suppress(*REMOTE_ERRORS):
                handle.close()
        return int((saved.child if attach else saved).id.val)

    return session.write(
        f"{target}: writing table {name} of {len(table)} rows",
        store,
        group=group,
        clean=lambda: remove_tables(session, name.__eq__, part=name, group=group),
    )


def _check_columns(target: str, table: Table) -> None:
    if not table.columns or len(table.columns) > MOST_COLUMNS:
        raise OutputError(
            f"{target}: a table of {len(table.columns)} columns, but OMERO.tables supports 1 to {MOST_COLUMNS}. Each "
            "channel adds columns: run with --no-table, or write to a folder (--out)"
        )


def _create_table(factory: Any, name: str) -> tuple[int, Any]:
    resources = factory.sharedResources()
    repository = min(d.id.val for d in resources.repositories().descriptions)
    handle = resources.newTable(repository, name)
    if handle is None:
        raise OutputError(
            f"table {name}: the server has no OMERO.tables service running; "
            "ask its administrator to start it, or run with --no-table"
        )
    return int(handle.getOriginalFile().id.val), handle


def _write_rows(handle: Any, table: Table) -> None:
    widths = [measure_string_width(c) for c in table.columns]
    nothing = slice(0, 0)
    handle.initialize(_to_columns(table, nothing, widths))
    step = _rows_per_message(ROWS, [w if c.kind == "string" else 8 for c, w in zip(table.columns, widths, strict=True)])
    for start in range(0, len(table), step):
        handle.addData(_to_columns(table, slice(start, start + step), widths))


def _rows_per_message(most: int, widths: Sequence[int]) -> int:
    """Return how many rows of columns of these widths in bytes fit a message, at most ``most``."""
    return max(1, min(most, LARGEST_MESSAGE // sum(widths)))


def _to_columns(table: Table, rows: slice, widths: list[int]) -> list[Any]:
    return [to_column(c, c.values[rows], width=w) for c, w in zip(table.columns, widths, strict=True)]


def remove_tables(session: Session, wanted: Callable[[str], bool], *, part: str, group: int) -> int:
    """Remove this user's tables with wanted names, and their annotations; return how many.

    ``part`` is a text in every wanted name, by which the server finds candidates.
    """
    hql = "select f.id, f.name from OriginalFile f where f.name like :named and f.mimetype = 'OMERO.tables' "
    rows = session.query_rows(
        f"{hql} and f.details.owner.id = :owner", named=substring_pattern(part), owner=session.user_id
    )
    files = sorted(int(ident) for ident, name in rows if wanted(name))
    if not files:
        return 0
    annotations = session.query_ids("select a.id from FileAnnotation a where a.file.id in (:files)", files=files)
    delete_objects(session, "FileAnnotation", annotations, group=group)
    delete_objects(session, "OriginalFile", files, group=group)
    return len(files)


@contextmanager
def _open_table(factory: Any, file: int) -> Iterator[Any]:
    handle = factory.sharedResources().openTable(make_reference("OriginalFile", file))
    try:
        yield handle
    finally:
        with suppress(*REMOTE_ERRORS):
            handle.close()


def read_table(session: Session, annotation: int) -> Table:
    """Read the table of a FileAnnotation.

    Raises
    ------
    MissingError
        There is no such annotation, or it is not visible.
    """
    found = session.query_ids("select a.file.id from FileAnnotation a where a.id = :id", id=annotation)
    if not found:
        raise make_missing_error("FileAnnotation", annotation)

    def fetch(factory: Any) -> Table:
        with _open_table(factory, found[0]) as handle:
            headers, rows = handle.getHeaders(), handle.getNumberOfRows()
            every = list(range(len(headers)))
            step = _rows_per_message(READ_ROWS, [getattr(h, "size", 0) or 8 for h in headers])
            parts = (handle.read(every, s, min(rows, s + step)).columns for s in range(0, rows, step))
            return concatenate([to_table(headers), *map(to_table, parts)])

    return session.read(f"FileAnnotation:{annotation}: reading the table", fetch)
