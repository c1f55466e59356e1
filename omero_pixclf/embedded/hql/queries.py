"""Execution of HQL queries: rows, objects with fetched associations, and rtypes for clients."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable
from typing import Any

import omero
import omero.model
from omero import rtypes

from omero_pixclf.embedded.database.object_model import entity, unit_names
from omero_pixclf.embedded.database.sqlite import ids_parameter
from omero_pixclf.embedded.hql.grammar import HqlSyntaxError
from omero_pixclf.embedded.hql.to_sql import HqlError, PagedQuery, SelectedColumn, Translation, translate
from omero_pixclf.embedded.server.exceptions import api_usage_error, omero_error
from omero_pixclf.embedded.server.request_context import RequestContext
from omero_pixclf.embedded.users.access_rights import Rights, format_permissions

__all__ = ["make_parameters", "query_objects", "query_rows", "run_object_query", "run_projection_query"]

_TO_RTYPE = {
    "string": rtypes.rstring,
    "discriminator": rtypes.rstring,
    "int": rtypes.rint,
    "long": rtypes.rlong,
    "double": lambda v: rtypes.rdouble(float(v)),
    "bool": lambda v: rtypes.rbool(bool(v)),
    "time": rtypes.rtime,
    "strings": lambda v: rtypes.rlist([rtypes.rstring(s) for s in json.loads(v)]),
}


_RIGHTS = "_details_permissions"  # suffix of a map key that asks for permissions (OMERO.web's tree)


def make_parameters(**values: Any) -> dict[str, Any]:
    """Return Python values as query parameters: ints as longs, lists as rlists."""
    return {name: _rtype(value) for name, value in values.items()}


def _rtype(value: Any) -> Any:
    if isinstance(value, omero.RType):
        return value
    if isinstance(value, bool):
        return rtypes.rbool(value)
    if isinstance(value, int):
        return rtypes.rlong(value)
    if isinstance(value, (list, tuple, set)):
        return rtypes.rlist([_rtype(v) for v in value])
    return rtypes.wrap(value)


def query_objects(call: RequestContext, text: str, **values: Any) -> list[Any]:
    """Return the model objects of a query of the server's own."""
    return run_object_query(call, text, make_parameters(**values), None)


def query_rows(call: RequestContext, text: str, **values: Any) -> list[tuple[Any, ...]]:
    """Return the rows of a query of the server's own as plain Python values."""
    found = _translate(call, text, make_parameters(**values))
    rows = call.tx.all(found.sql, found.parameters)
    return [tuple(row[c.place] for c in found.columns) for row in rows]


def run_object_query(
    call: RequestContext, text: str, given: dict[str, Any] | None, page: Any, *, any_order: bool = False
) -> list[Any]:
    """Return the result of findAllByQuery: objects; duplicates are kept unless a collection was fetched.

    ``any_order`` is for clients' queries: without ``order by`` the order of their results may change at each call.
    """
    found = _translate(call, text, given)
    if len(found.columns) != 1 or found.columns[0].value.kind != "entity":
        raise omero_error(omero.InternalException, "Failed to invoke: findAllByQuery needs a query for objects")
    rows = _fetch_rows(call, found, page)
    column = found.columns[0]
    loaded = _load_objects(call, found, rows)
    ids = [row[column.place] for row in rows]
    if any_order and not found.is_ordered:
        ids = call.tx.shuffle(ids)
    if found.fetches_collections:
        ids = list(dict.fromkeys(ids))
    return [loaded.get((column.value.target, i)) for i in ids]


def run_projection_query(call: RequestContext, text: str, given: dict[str, Any] | None, page: Any) -> list[list[Any]]:
    """Return the result of projection: lists of rtypes."""
    found = _translate(call, text, given)
    rows = _fetch_rows(call, found, page)
    if not found.is_ordered:
        rows = call.tx.shuffle(rows)
    loaded = _load_objects(call, found, rows)
    made = []
    for row in rows:
        cells = [_cell_to_rtype(call, loaded, row, column) for column in found.columns]
        made.append([] if len(cells) == 1 and cells[0] is None else cells)
    return made


def _translate(call: RequestContext, text: str, given: dict[str, Any] | None) -> Translation:
    try:
        return translate(text, call.caller, given)
    except HqlSyntaxError as error:
        if error.is_dml:
            raise api_usage_error(f"{error} [{text}]") from error
        raise omero_error(omero.QueryException, f"Illegal query:{text}\n{error}") from error
    except HqlError as error:
        raise omero_error(omero.QueryException, f"Illegal query:{text}\n{error}") from error
    except RecursionError as error:
        raise omero_error(omero.QueryException, f"Illegal query: too deep: {text[:100]}") from error


# ---- rows ----------------------------------------------------------------------------------------------------
def _limit_and_offset(page: Any) -> tuple[int | None, int]:
    """Return limit (None: all) and offset of a Filter."""
    limit = rtypes.unwrap(page.limit) if page is not None and page.limit is not None else None
    offset = rtypes.unwrap(page.offset) if page is not None and page.offset is not None else 0
    return (None if limit is None or limit < 0 else limit), max(0, offset or 0)


def _fetch_rows(call: RequestContext, found: Translation, page: Any) -> list[Any]:
    limit, offset = _limit_and_offset(page)
    try:
        if limit is None and not offset:
            return call.tx.all(found.sql, found.parameters)
        if found.page is not None:
            ids = _page_ids(call, found.page, found.parameters, limit, offset)
            return call.tx.all(found.page.rows_sql, {**found.parameters, "page": ids_parameter(ids)})
        return call.tx.all(f"{found.sql} LIMIT {-1 if limit is None else limit} OFFSET {offset}", found.parameters)
    except sqlite3.OperationalError as error:
        raise api_usage_error(f"could not execute query: {error}") from error


def _page_ids(
    call: RequestContext, page: PagedQuery, given: dict[str, Any], limit: int | None, offset: int
) -> list[int]:
    """Return the ids of the objects on a page; a page counts objects, not rows."""
    if page.exact:
        sql = f"{page.ids_sql} LIMIT {-1 if limit is None else limit} OFFSET {offset}"
        return [ident for (ident,) in call.tx.execute(sql, given)]
    wanted: dict[int, None] = {}
    end = None if limit is None else offset + limit
    if end is None or end > 0:
        for (ident,) in call.tx.execute(page.ids_sql, given):
            wanted[ident] = None
            if end is not None and len(wanted) == end:
                break
    return list(wanted)[offset:]


# ---- objects -------------------------------------------------------------------------------------------------
def _load_objects(call: RequestContext, found: Translation, rows: list[Any]) -> dict[tuple[str, int], Any]:
    """Load all objects in the rows with the fetched associations; by queried class and id."""
    graph = call.graph
    made: dict[tuple[str, int], Any] = {}
    for kind, places in _loaded_classes(found):
        ids = {row[p] for row in rows for p in places if row[p] is not None}
        made.update({(kind, i): o for i, o in graph.load(kind, sorted(ids)).items()})
    for source, place in found.fetches:
        if source.entity is not None and source.is_collection:
            _fill_collection(call, found, source, place, rows)
        if source.counted is not None:
            _fill_counts(call, found, source, rows)
    graph.finish_loading()
    return made


def _loaded_classes(found: Translation) -> list[tuple[str, list[int]]]:
    """Return the classes that a query loads and the positions of their ids in its rows."""
    places: dict[str, list[int]] = {}
    for column in _flatten(found.columns):
        if column.value.kind == "entity":
            places.setdefault(column.value.target, []).append(column.place)
    for source, place in found.fetches:
        if source.entity is not None:
            places.setdefault(source.entity.name, []).append(place)
    return list(places.items())


def _flatten(columns: Iterable[SelectedColumn]) -> Iterable[SelectedColumn]:
    for column in columns:
        yield from _flatten(column.parts) if column.parts else (column,)


def _fill_counts(call: RequestContext, found: Translation, source: Any, rows: list[Any]) -> None:
    place = _place_of(found, source.parent)
    owners = list(dict.fromkeys(row[place] for row in rows if row[place] is not None))
    call.graph.load_counts(source.parent.entity.name, owners, source.counted)


def _fill_collection(call: RequestContext, found: Translation, source: Any, place: int, rows: list[Any]) -> None:
    graph = call.graph
    owner = source.parent
    owner_place = _place_of(found, owner)
    kind = owner.entity.name
    started: dict[int, list[Any]] = {}
    seen: set[tuple[int, int]] = set()
    for row in rows if source.index else call.tx.shuffle(rows):
        owner_id, child_id = row[owner_place], row[place]
        if owner_id is None:
            continue
        if owner_id not in started:
            started[owner_id] = graph.start_collection(kind, owner_id, source.field_name)
        if child_id is None or (owner_id, child_id) in seen:
            continue
        seen.add((owner_id, child_id))
        _insert_at(
            started[owner_id], graph.get_loaded(source.entity.name, child_id), row[place + 1] if source.index else None
        )


def _insert_at(collection: list[Any], child: Any, index: int | None) -> None:
    """Add an element, at its index if the collection is ordered; gaps are None."""
    if index is None:
        collection.append(child)
        return
    while len(collection) <= index:
        collection.append(None)
    collection[index] = child


def _place_of(found: Translation, source: Any) -> int:
    for fetched, place in found.fetches:
        if fetched is source:
            return place
    return next(c.place for c in _flatten(found.columns) if c.value.sql == f"{source.sql}.id")


# ---- cells ---------------------------------------------------------------------------------------------------
def _cell_to_rtype(call: RequestContext, loaded: dict[tuple[str, int], Any], row: Any, column: SelectedColumn) -> Any:
    if column.container:
        return _container_cell(call, loaded, row, column)
    value, cell = column.value, row[column.place]
    if cell is None:
        return None
    if value.kind == "entity":
        return rtypes.robject(loaded[(value.target, cell)])
    if value.kind == "type":
        return rtypes.rclass(entity(cell).qualified)
    if value.kind == "permissions" and value.target:
        return _rights_map(cell, call.graph.global_rights())
    if value.kind == "permissions":
        return _permissions(call, cell, row[column.place + 1])
    if value.kind == "unit":
        quantity = getattr(omero.model, value.target + "I")
        return (
            rtypes.robject(None) if cell is None else _quantity_map(quantity, value.target, cell, row[column.place + 1])
        )
    convert = _TO_RTYPE.get(value.kind)
    return convert(cell) if convert is not None else _rtype(cell)


def _quantity_map(quantity: Any, name: str, cell: float, unit: str) -> Any:
    """Return a quantity in a projection: a map of value, unit and symbol."""
    made = quantity(cell, unit_names(name)[unit])
    return rtypes.rmap(
        {
            "value": rtypes.rdouble(cell),
            "unit": rtypes.rstring(unit),
            "symbol": rtypes.rstring(made.getSymbol()),
        }
    )


def _container_cell(call: RequestContext, loaded: dict[tuple[str, int], Any], row: Any, column: SelectedColumn) -> Any:
    cells = [_cell_to_rtype(call, loaded, row, part) for part in column.parts]
    if column.container == "list":
        return rtypes.rlist(cells)
    names = [part.alias or str(i) for i, part in enumerate(column.parts)]
    for i, name in enumerate(names):
        if name.endswith(_RIGHTS) and isinstance(cells[i], omero.RObject) and cells[i].val is not None:
            details = cells[i].val.details
            cells[i] = _permissions(call, details.owner.id.val, details.group.id.val)
    return rtypes.rmap(dict(zip(names, cells, strict=True)))


def _permissions(call: RequestContext, owner: int, group: int) -> Any:
    return _rights_map(call.graph.group_level(group).perm1, call.graph.rights(owner, group))


def _rights_map(perm1: int, rights: Rights) -> Any:
    made = {f"can{name.title()}": rtypes.rbool(value) for name, value in vars(rights).items()}
    return rtypes.rmap({**made, "perm": rtypes.rstring(format_permissions(perm1))})
