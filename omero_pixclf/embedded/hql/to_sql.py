"""Translation of whole HQL queries to SQL on the tables of the object model.

Every alias is a table. Dotted paths add inner joins for references (not for their id alone); collections are joined by
their back reference. Rows that the caller may not read are filtered in range variables and joined collections, as
OMERO's own filters do.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from omero_pixclf.embedded.database.object_model import Entity, entity
from omero_pixclf.embedded.hql import syntax_tree as syntax
from omero_pixclf.embedded.hql.expressions import ExpressionTranslator
from omero_pixclf.embedded.hql.grammar import parse
from omero_pixclf.embedded.hql.joins import HqlError, RowSource, Scope
from omero_pixclf.embedded.hql.values import QueryParameters, Value
from omero_pixclf.embedded.server.exceptions import api_usage_error
from omero_pixclf.embedded.users.access_rights import Caller

__all__ = ["HqlError", "PagedQuery", "RowSource", "SelectedColumn", "Translation", "translate"]

_JOIN = re.compile(r" (LEFT )?JOIN (\S+ (t\d+)) ON (.*)", re.DOTALL)
_TO_ONE = re.compile(r" ON t\d+\.id = t\d+\.(?!id$)")  # joins of pairs, with several rows, end in ``= t1.id``
_AGGREGATES = ("count", "sum", "min", "max", "avg", "minindex", "maxindex")


@dataclass
class SelectedColumn:
    """A selected value and its position in the SQL row, or several values in a map or list."""

    value: Value
    place: int
    alias: str = ""
    parts: list[SelectedColumn] = field(default_factory=list)
    container: str = ""


@dataclass(frozen=True)
class PagedQuery:
    """Queries for a page of objects with collections: first the ids of the objects, then their rows."""

    ids_sql: str
    exact: bool  # each id is returned once, so that LIMIT can be used; else distinct ids are counted
    rows_sql: str  # rows of the objects whose ids are in the parameter ``page``


@dataclass
class Translation:
    """A query in SQL, and how to read its rows."""

    sql: str
    parameters: dict[str, Any]
    columns: list[SelectedColumn]
    fetches: list[tuple[RowSource, int]]  # fetched sources and the position of their id (then their index)
    root_place: int
    page: PagedQuery | None  # if one object may have several rows
    is_ordered: bool  # whether the query has an order

    @property
    def fetches_collections(self) -> bool:
        """Whether one object may have several rows."""
        return any(source.is_collection for source, _ in self.fetches)


@dataclass(frozen=True)
class _Clauses:
    """The clauses after ``from``: conditions, group by, having, order by."""

    conditions: list[str]
    group: str
    having: str
    order: str


class _QueryTranslator(ExpressionTranslator):
    """Translates whole queries."""

    def subquery(self, outer: Scope, query: syntax.Select) -> tuple[str, str]:
        """Return the SQL of a subquery and the kind of its first column."""
        scope = self._sources(query, outer)
        outside, self._in_condition = self._in_condition, False
        if query.items:
            values = [self.value(scope, item.value) for item in query.items]
        else:
            values = [self._whole_row(next(iter(scope.names.values())))]
        self._in_condition = outside
        columns = ", ".join(f"{v.sql} AS c{i}" for i, v in enumerate(values))
        return _select_sql(query, columns, self._clauses(query, scope), scope.joins), values[0].kind

    def _clauses(self, query: syntax.Select, scope: Scope, default_order: str = "") -> _Clauses:
        """Translate everything after ``from``; may add joins to the scope."""
        conditions = list(scope.filters)
        if query.where is not None:
            outside, self._in_condition = self._in_condition, True
            conditions.append(self.condition(scope, query.where))
            self._in_condition = outside
        group = ", ".join(self.value(scope, g).sql for g in query.group)
        having = self.condition(scope, query.having) if query.having is not None else ""
        order = ", ".join(self._order_sql(scope, o) for o in query.order) or default_order
        return _Clauses(conditions, group, having, order)

    def _order_sql(self, scope: Scope, term: syntax.OrderTerm) -> str:
        value = self.value(scope, term.value)
        if value.sql.endswith(".id"):
            return f"{value.sql} DESC" if term.descending else value.sql
        return f"{value.sql} {'DESC NULLS FIRST' if term.descending else 'ASC NULLS LAST'}"

    def translate(self, query: syntax.Select) -> Translation:
        """Translate the whole query."""
        scope = self._sources(query, None)
        root = next(iter(scope.names.values()))
        places: list[str] = []
        items = query.items or (syntax.SelectItem(syntax.Path((next(iter(scope.names)),)), ""),)
        columns = [self._column(scope, item, places) for item in items]
        selected = {c.value.sql for c in columns if c.value.kind == "entity"}
        fetches = self._fetches(scope, selected, places)
        chosen, root_place = self._root(scope, columns, root)
        extra = self._default_order(query, scope, places)
        clauses = self._clauses(query, scope, extra)
        self._check_groups(query, scope, places)
        self._check_distinct_order(query, scope, places)
        sql = _select_sql(query, ", ".join(places), clauses, scope.joins)
        page = None
        if root_place >= 0 and any(source.is_collection for source, _ in fetches):
            page = _paged_query(query, clauses, scope.joins, ", ".join(places), f"{chosen.sql}.id")
        return Translation(sql, self.parameters.bound, columns, fetches, root_place, page, bool(query.order))

    def _check_groups(self, query: syntax.Select, scope: Scope, places: list[str]) -> None:
        """Refuse ungrouped columns beside aggregates, as PostgreSQL does; SQLite would return the value of any row."""
        values = [item.value for item in query.items]
        if not (query.group or any(_has_aggregate(v) for v in values)):
            return
        grouped = {self.value(scope, g).sql for g in query.group}
        plain = [v for v in (*values, *(o.value for o in query.order)) if not _has_aggregate(v)]
        for path in (n for v in plain for n in syntax.walk_nodes(v) if isinstance(n, syntax.Path)):
            found = self.value(scope, path)
            whole = f"{found.sql.split('.')[0]}.id" in grouped
            computed = "." not in found.sql or "(" in found.sql
            if found.kind != "class" and found.sql not in grouped and not whole and not computed:
                raise api_usage_error(
                    f"could not execute query: {'.'.join(path.parts)} must appear in the GROUP BY clause"
                )

    def _check_distinct_order(self, query: syntax.Select, scope: Scope, places: list[str]) -> None:
        """Refuse an order of distinct rows by columns that are not selected, as PostgreSQL does."""
        if not query.distinct:
            return
        whole = {place.removesuffix(".id") for place in places if place.endswith(".id")}
        for term in query.order:
            sql = self.value(scope, term.value).sql
            if sql not in places and ("(" in sql or sql.split(".")[0] not in whole):
                raise api_usage_error(
                    "could not execute query: ORDER BY expressions must appear in the list of SELECT DISTINCT"
                )

    def _root(self, scope: Scope, columns: list[SelectedColumn], first: RowSource) -> tuple[RowSource, int]:
        for column in columns:
            if column.value.kind == "entity":
                for source in scope.names.values():
                    if column.value.sql == f"{source.sql}.id":
                        return source, column.place
        return first, -1

    def _default_order(self, query: syntax.Select, scope: Scope, places: list[str]) -> str:
        """Return an order by ids if the query has no order, so that results are reproducible."""
        if query.order or query.group or query.distinct or any(_has_aggregate(item.value) for item in query.items):
            return ""
        return ", ".join(f"{s.sql}.id" for s in scope.names.values() if s.entity is not None)

    def _column(self, scope: Scope, item: syntax.SelectItem, places: list[str]) -> SelectedColumn:
        if isinstance(item.value, syntax.Constructor):
            parts = [self._column(scope, part, places) for part in item.value.items]
            return SelectedColumn(Value(""), -1, item.alias, parts, item.value.kind)
        value = self._elements_selected(scope, item.value) or self.value(scope, item.value)
        if isinstance(item.value, syntax.Path) and value.kind == "entity" and not value.sql.endswith(".id"):
            value = self._joined_entity(scope, value)
        if item.alias:
            scope.results[item.alias] = value
        places.append(value.sql)
        if value.extra:
            places.append(value.extra)
        return SelectedColumn(value, len(places) - (2 if value.extra else 1), item.alias)

    def _elements_selected(self, scope: Scope, node: Any) -> Value | None:
        """Translate ``select d.imageLinks`` or ``elements(d.imageLinks)`` to a join of the collection."""
        node = node.path if isinstance(node, syntax.CollectionElements) else node
        source = scope.find(node.parts[0]) if isinstance(node, syntax.Path) else None
        if source is None or source.unit is not None or not _ends_in_collection(source.entity, node.parts[1:]):
            return None
        owner, name = self._owner(scope, node, outer=False)
        made = self._join_property(scope, owner, name, syntax.Join(node, "", False, False, None))
        assert made.entity is not None
        return Value(f"{made.sql}.id", "entity", made.entity.name)

    def _joined_entity(self, scope: Scope, value: Value) -> Value:
        alias, column = value.sql.split(".", 1)
        source = RowSource(alias, None)
        made = self._follow(scope, source, column, value.target)
        return Value(f"{made.sql}.id", "entity", value.target)

    def _fetches(self, scope: Scope, selected: set[str], places: list[str]) -> list[tuple[RowSource, int]]:
        found, known = [], set(selected)
        for source in scope.names.values():
            if not source.fetched or source.unit is not None:
                continue
            assert source.parent is not None
            if f"{source.parent.sql}.id" not in known:
                raise HqlError(
                    "query specified join fetching, but the owner of the fetched association was not selected"
                )
            if source.entity is None:
                found.append((source, -1))
                continue
            known.add(f"{source.sql}.id")
            found.append((source, len(places)))
            places.append(f"{source.sql}.id")
            if source.index:
                places.append(source.index)
        return found


def _select_sql(query: syntax.Select, columns: str, clauses: _Clauses, joins: Sequence[str]) -> str:
    sql = f"SELECT {'DISTINCT ' if query.distinct else ''}{columns} FROM {''.join(joins)}"
    for word, text in (
        ("WHERE", " AND ".join(clauses.conditions)),
        ("GROUP BY", clauses.group),
        ("HAVING", clauses.having),
        ("ORDER BY", clauses.order),
    ):
        sql += f" {word} {text}" if text else ""
    return sql


def _paged_query(query: syntax.Select, clauses: _Clauses, joins: Sequence[str], columns: str, root: str) -> PagedQuery:
    order = clauses.order if query.order else root
    needed, exist = _required_joins(joins, [*clauses.conditions, order, root])
    exact = all(_TO_ONE.search(join) for join in needed[1:])
    within = replace(clauses, order=order, conditions=[*clauses.conditions, *exist])
    inside = [*clauses.conditions, f"{root} IN (SELECT value FROM json_each(:page))"]
    rows_sql = _select_sql(query, columns, replace(clauses, conditions=inside), joins)
    return PagedQuery(_select_sql(query, root, within, needed), exact, rows_sql)


def _required_joins(joins: Sequence[str], texts: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return the joins that decide which objects are found in which order, and EXISTS conditions for others.

    Joins that only fetch and whose alias is not used elsewhere are left out if they are outer joins, and replaced by
    EXISTS if they are inner joins of collections.
    """
    kept: list[str] = []
    exist: list[str] = []
    for join in reversed(joins):
        found = _JOIN.fullmatch(join)
        if found is None or any(f"{found[3]}." in text for text in (*texts, *kept)):
            kept.insert(0, join)
            continue
        within = [text for text in exist if f"{found[3]}." in text]
        if found[1] is None and not _TO_ONE.search(join):
            exist = [text for text in exist if text not in within]
            exist.append(f"EXISTS (SELECT 1 FROM {found[2]} WHERE {' AND '.join([found[4], *within])})")
        elif found[1] is None or within:
            kept.insert(0, join)
    return kept, exist


def _ends_in_collection(here: Entity | None, steps: tuple[str, ...]) -> bool:
    """Whether a path consists of references and ends in a collection of objects."""
    for place, step in enumerate(steps):
        found = here.fields.get(step) if here is not None else None
        if found is None or found.kind not in ("entity", "children"):
            return False
        if found.kind == "children":
            return place == len(steps) - 1
        here = entity(found.target)
    return False


def _has_aggregate(node: Any) -> bool:
    return any(isinstance(n, syntax.Function) and n.name in _AGGREGATES for n in syntax.walk_nodes(node))


def translate(text: str, caller: Caller, given: dict[str, Any] | None) -> Translation:
    """Translate a query to SQL; HqlError or HqlSyntaxError if that fails, OMERO's exceptions for bad parameters."""
    if not text:
        raise HqlError("the query is empty")
    return _QueryTranslator(caller, QueryParameters(given)).translate(parse(text))
