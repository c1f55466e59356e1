"""HQL becomes SQL over the tables derived from the model.

Every alias is a table; dotted paths add inner joins where they cross a reference (not for its id alone); collections are
joined by their back reference. What the caller may not read is filtered where rows of a class are ranged over or joined
as a collection, as OMERO's own filters do.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from omero_pixclf.embedded import hql_syntax as syntax
from omero_pixclf.embedded.faults import invalid
from omero_pixclf.embedded.hql_values import Parameters, Value, check_comparable
from omero_pixclf.embedded.model import Entity, Field, entity, find_entity
from omero_pixclf.embedded.schema import DISCRIMINATORS, pair_table, table
from omero_pixclf.embedded.security import Caller

__all__ = ["Column", "HqlError", "Source", "Translation", "translate"]

_DETAILS = {
    "owner": ("owner_id", "Experimenter"),
    "group": ("group_id", "ExperimenterGroup"),
    "creationEvent": ("creation_id", "Event"),
    "updateEvent": ("update_id", "Event"),
    "externalInfo": ("external_id", "ExternalInfo"),
}
_FUNCTIONS = {  # HQL name: SQL name, kind of the result ("=" as the argument)
    "lower": ("lower", "string"),
    "upper": ("upper", "string"),
    "length": ("length", "int"),
    "trim": ("trim", "string"),
    "substring": ("substr", "string"),
    "abs": ("abs", "="),
    "coalesce": ("coalesce", "="),
    "nullif": ("nullif", "="),
    "sqrt": ("sqrt", "double"),
    "min": ("min", "="),
    "max": ("max", "="),
    "avg": ("avg", "double"),
}
_CASTS = {"string": "TEXT", "text": "TEXT", "long": "INTEGER", "integer": "INTEGER", "int": "INTEGER", "double": "REAL"}
_MASKED = {"Node": "0", "Session": "{0}.owner = {1}"}  # what plain users see of the server's own bookkeeping
_COMPARISONS = ("=", "<>", "<", ">", "<=", ">=")


class HqlError(ValueError):
    """The query names something that is not there or does not fit."""


@dataclass(eq=False)
class Source:
    """What an alias stands for: rows of a class, or name-value pairs (``entity`` is None)."""

    sql: str
    entity: Entity | None
    index: str = ""  # SQL of the place within an ordered collection
    parent: Source | None = None  # of a fetched association
    field_name: str = ""
    is_collection: bool = False
    fetched: bool = False
    unit: Field | None = None  # the alias stands for a quantity of the rows


@dataclass
class Column:
    """One thing selected: a value at a place of the SQL row, or several gathered in a map or list."""

    value: Value
    place: int
    alias: str = ""
    parts: list[Column] = field(default_factory=list)
    gathered: str = ""


@dataclass
class Translation:
    """A query in SQL and how to read its rows."""

    sql: str
    parameters: dict[str, Any]
    columns: list[Column]
    fetches: list[tuple[Source, int]]  # fetched sources and the place of their id; the index follows where there is one
    root: Source | None
    root_place: int
    distinct: bool
    page_sql: str  # the root's ids in order, for paging over fetched collections

    @property
    def fetches_collections(self) -> bool:
        """Whether one object may span several rows."""
        return any(source.is_collection for source, _ in self.fetches)


class _Scope:
    """Aliases of one select and the joins it collects."""

    def __init__(self, outer: _Scope | None) -> None:
        self.outer = outer
        self.names: dict[str, Source] = {}
        self.joins: list[str] = []
        self.filters: list[str] = []
        self.implicit: dict[tuple[str, str], Source] = {}
        self.results: dict[str, Value] = {}

    def find(self, name: str) -> Source | None:
        """The alias here or in an enclosing query."""
        scope: _Scope | None = self
        while scope is not None:
            if name in scope.names:
                return scope.names[name]
            scope = scope.outer
        return None


class _Translator:
    def __init__(self, caller: Caller, parameters: Parameters) -> None:
        self.caller = caller
        self.parameters = parameters
        self._count = 0
        self._in_condition = False

    def _fresh(self) -> str:
        self._count += 1
        return f"t{self._count}"

    # ---- from ------------------------------------------------------------------------------------------------
    def _sources(self, query: syntax.Select, outer: _Scope | None) -> _Scope:
        scope = _Scope(outer)
        for item in query.sources:
            if isinstance(item, syntax.Range):
                self._range(scope, item)
            else:
                self._join(scope, item)
        return scope

    def _range(self, scope: _Scope, item: syntax.Range) -> None:
        found = find_entity(item.entity) if not item.entity.endswith("I") or item.entity == "I" else None
        if found is None:
            return self._correlated(scope, item)
        source = Source(self._fresh(), found)
        scope.names[item.alias or f" {len(scope.names)}"] = source
        scope.joins.append(f"{', ' if scope.joins else ''}{table(found.name).name} {source.sql}")
        scope.filters.extend(self._conditions(source))
        return None

    def _correlated(self, scope: _Scope, item: syntax.Range) -> None:
        """``from d.imageLinks l`` within a sub-select."""
        parts = tuple(item.entity.split("."))
        if len(parts) < 2 or scope.outer is None:
            raise HqlError(f"{item.entity} is not mapped")
        owner, field_ = self._collection(scope, syntax.Path(parts))
        source = Source(self._fresh(), entity(field_.target))
        scope.names[item.alias] = source
        scope.joins.append(f"{', ' if scope.joins else ''}{table(field_.target).name} {source.sql}")
        scope.filters.append(f'{source.sql}."{field_.inverse}" = {owner.sql}.id')
        scope.filters.extend(self._conditions(source))

    def _conditions(self, source: Source) -> list[str]:
        """What keeps rows of the right class that the caller may read."""
        assert source.entity is not None
        found = []
        where = table(source.entity.name)
        if where.polymorphic and source.entity.name != source.entity.root:
            found.append(f"{source.sql}.kind IN ({_quoted(source.entity.concrete)})")
        if "owner_id" in where.columns:
            condition = self.caller.filter_sql(source.sql)
            found.extend([condition] if condition else [])
        elif source.entity.root in _MASKED and not self.caller.is_admin:
            found.append(_MASKED[source.entity.root].format(source.sql, self.caller.user_id))
        return found

    def _join(self, scope: _Scope, item: syntax.Join) -> None:
        owner, name = self._owner(scope, item.path, outer=item.outer)
        if name in _DETAILS and item.path.parts[-2:-1] == ("details",):
            source = self._join_details(scope, owner, name, item.outer)
        else:
            source = self._join_property(scope, owner, name, item)
        source.parent, source.field_name, source.fetched = owner, name, item.fetch
        if item.path.parts[-2:-1] == ("details",):
            source.field_name = "details." + name
        scope.names[item.alias or f" {len(scope.names)}"] = source
        if item.condition is not None:
            scope.joins[-1] += f" AND {self._condition(scope, item.condition)}"

    def _owner(self, scope: _Scope, path: syntax.Path, *, outer: bool) -> tuple[Source, str]:
        """The source of the last but one step of a path, and the last step's name."""
        source = scope.find(path.parts[0])
        if source is None or len(path.parts) < 2:
            raise HqlError(f"{'.'.join(path.parts)} starts with no alias")
        steps = list(path.parts[1:-1])
        while steps:
            step = steps.pop(0)
            if step == "details":
                if steps:
                    source = self._implicit_details(scope, source, steps.pop(0))
                continue
            source = self._implicit(scope, source, self._property(source, step))
        return source, path.parts[-1]

    def _join_details(self, scope: _Scope, owner: Source, name: str, outer: bool) -> Source:
        column, target = _DETAILS[name]
        source = Source(self._fresh(), entity(target))
        kind = "LEFT JOIN" if outer else "JOIN"
        scope.joins.append(f" {kind} {table(target).name} {source.sql} ON {source.sql}.id = {owner.sql}.{column}")
        return source

    def _join_property(self, scope: _Scope, owner: Source, name: str, item: syntax.Join) -> Source:
        found = self._property(owner, name)
        kind = "LEFT JOIN" if item.outer else "JOIN"
        alias = self._fresh()
        if found.kind == "pairs":
            assert owner.entity is not None
            pairs = pair_table(_declaring(owner.entity, name), found)
            scope.joins.append(f" {kind} {pairs} {alias} ON {alias}.id = {owner.sql}.id")
            return Source(alias, None, f"{alias}.position", is_collection=True)
        if found.kind == "unit":
            return Source(owner.sql, owner.entity, unit=found)
        if found.kind not in ("entity", "children"):
            raise HqlError(f"{name} cannot be joined")
        target = entity(found.target)
        if found.kind == "entity":
            condition = f'{alias}.id = {owner.sql}."{found.name}"'
            source = Source(alias, target)
        else:
            condition = f'{alias}."{found.inverse}" = {owner.sql}.id'
            source = Source(
                alias, target, f"{alias}.{found.inverse}_index" if found.ordered else "", is_collection=True
            )
            condition = " AND ".join([condition, *self._conditions(source)])
        scope.joins.append(f" {kind} {table(target.name).name} {alias} ON {condition}")
        return source

    # ---- paths -----------------------------------------------------------------------------------------------
    def _property(self, source: Source, name: str) -> Field:
        """A property of the source's class, or of a subclass."""
        if source.entity is None:
            raise HqlError(f"pairs have no {name}")
        found = source.entity.fields.get(name)
        if found is None:
            below = (entity(kind).fields.get(name) for kind in source.entity.concrete)
            found = next((f for f in below if f is not None), None)
        if found is None or (source.entity.name, name) == ("Experimenter", "config"):
            raise HqlError(f"could not resolve property: {name} of: {source.entity.qualified}")
        return found

    def _implicit(self, scope: _Scope, source: Source, step: Field) -> Source:
        if step.kind != "entity":
            raise HqlError(f"illegal attempt to dereference {step.name}")
        return self._follow(scope, source, f'"{step.name}"', step.target)

    def _implicit_details(self, scope: _Scope, source: Source, name: str) -> Source:
        if name not in _DETAILS:
            raise HqlError(f"could not resolve property: details.{name}")
        column, target = _DETAILS[name]
        return self._follow(scope, source, column, target)

    def _follow(self, scope: _Scope, source: Source, column: str, target: str) -> Source:
        key = (source.sql, column)
        if key not in scope.implicit:
            made = Source(self._fresh(), entity(target))
            scope.joins.append(f" JOIN {table(target).name} {made.sql} ON {made.sql}.id = {source.sql}.{column}")
            scope.implicit[key] = made
        return scope.implicit[key]

    def _collection(self, scope: _Scope, path: syntax.Path) -> tuple[Source, Field]:
        owner, name = self._owner(scope, path, outer=False)
        found = self._property(owner, name)
        if found.kind != "children":
            raise HqlError(f"{name} is no collection")
        return owner, found

    def _path(self, scope: _Scope, path: syntax.Path) -> Value:
        first, rest = path.parts[0], list(path.parts[1:])
        source = scope.find(first)
        if source is None:
            return self._bare(scope, path)
        if not rest:
            return self._whole(source)
        return self._walk(scope, source, rest)

    def _bare(self, scope: _Scope, path: syntax.Path) -> Value:
        """A path without an alias: a class, a result's alias, or a property of the only class in from."""
        if len(path.parts) == 1 and path.parts[0] in scope.results:
            return scope.results[path.parts[0]]
        named = find_entity(".".join(path.parts)) if path.parts[-1][:1].isupper() else None
        if named is not None:
            return Value(f"'{named.name}'", "class", named.name)
        if len(scope.names) != 1:
            raise HqlError(f"{path.parts[0]} is no alias")
        return self._walk(scope, next(iter(scope.names.values())), list(path.parts))

    def _whole(self, source: Source) -> Value:
        if source.unit is not None:
            return self._property_value(source, source.unit, plain_id=False)
        if source.entity is None:
            raise HqlError("pairs cannot be selected as a whole")
        return Value(f"{source.sql}.id", "entity", source.entity.name)

    def _walk(self, scope: _Scope, source: Source, steps: list[str]) -> Value:
        if source.unit is not None:
            return self._unit_part(source, source.unit, steps)
        while True:
            step = steps.pop(0)
            if step == "details" and steps:
                if steps[0] == "permissions" and len(steps) == 1:
                    return self._permissions(source)
                if len(steps) == 1 or steps[1:] == ["id"]:
                    return self._details_value(source, steps)
                source = self._implicit_details(scope, source, steps.pop(0))
                continue
            found = self._step(scope, source, step, steps)
            if isinstance(found, Value):
                return found
            source = found

    def _step(self, scope: _Scope, source: Source, step: str, rest: list[str]) -> Source | Value:
        special = self._special(source, step)
        if special is not None:
            if rest:
                raise HqlError(f"illegal attempt to dereference {step}")
            return special
        found = self._property(source, step)
        if found.kind == "entity" and rest and rest != ["id"]:
            return self._implicit(scope, source, found)
        if found.kind == "unit" and rest:
            return self._unit_part(source, found, rest)
        if (rest and rest != ["id"]) or (rest and found.kind != "entity"):
            raise HqlError(f"illegal attempt to dereference {step}")
        return self._property_value(source, found, plain_id=bool(rest))

    def _special(self, source: Source, step: str) -> Value | None:
        if source.entity is None:
            if step not in ("name", "value"):
                raise HqlError(f"pairs have no {step}")
            return Value(f"{source.sql}.{step}", "string")
        if step == "id":
            return Value(f"{source.sql}.id", "long")
        if step == "version":
            return Value(f"{source.sql}.version", "int")
        if step == "class":
            return self._discriminator(source)
        return None

    def _property_value(self, source: Source, found: Field, *, plain_id: bool) -> Value:
        sql = f'{source.sql}."{found.name}"'
        if found.kind == "entity":
            return Value(sql, "long") if plain_id else Value(sql, "entity", found.target)
        if found.kind == "unit":
            return Value(sql, "unit", found.target, f'{source.sql}."{found.name}_unit"')
        if found.kind in ("children", "pairs"):
            raise HqlError(f"{found.name} is a collection")
        return Value(sql, found.kind)

    def _unit_part(self, source: Source, found: Field, rest: list[str]) -> Value:
        if rest == ["value"]:
            return Value(f'{source.sql}."{found.name}"', "double")
        if rest == ["unit"]:
            return Value(f'{source.sql}."{found.name}_unit"', "string")
        raise HqlError(f"could not resolve property: {rest[0]}")

    def _details_value(self, source: Source, steps: list[str]) -> Value:
        if steps[0] not in _DETAILS:
            raise HqlError(f"could not resolve property: details.{steps[0]}")
        column, target = _DETAILS[steps[0]]
        sql = f"{source.sql}.{column}"
        return Value(sql, "long") if len(steps) == 2 else Value(sql, "entity", target)

    def _permissions(self, source: Source) -> Value:
        return Value(f"{source.sql}.owner_id", "permissions", extra=f"{source.sql}.group_id")

    def _discriminator(self, source: Source) -> Value:
        assert source.entity is not None
        if not table(source.entity.name).polymorphic:
            return Value(f"'{source.entity.name}'", "discriminator", f"'{source.entity.name}'")
        whens = " ".join(
            f"WHEN '{k}' THEN '{DISCRIMINATORS[k]}'" for k in source.entity.concrete if k in DISCRIMINATORS
        )
        kind = f"{source.sql}.kind"
        return Value(f"CASE {kind} {whens} ELSE {kind} END" if whens else kind, "discriminator", kind)

    # ---- expressions -----------------------------------------------------------------------------------------
    def _condition(self, scope: _Scope, node: Any) -> str:
        return self._value(scope, node).sql

    def _value(self, scope: _Scope, node: Any, expected: str = "") -> Value:
        method = getattr(self, "_on_" + type(node).__name__.lower())
        found: Value = method(scope, node, expected)
        return found

    def _on_path(self, scope: _Scope, node: syntax.Path, expected: str) -> Value:
        return self._path(scope, node)

    def _on_literal(self, scope: _Scope, node: syntax.Literal, expected: str) -> Value:
        if node.value is None:
            return Value("NULL", "null", literal=True)
        return self.parameters.constant(node.value, node.kind)

    def _on_parameter(self, scope: _Scope, node: syntax.Parameter, expected: str) -> Value:
        return self.parameters.scalar(node.name, expected)

    def _on_unary(self, scope: _Scope, node: syntax.Unary, expected: str) -> Value:
        inner = self._value(scope, node.operand, expected)
        if node.operator == "not":
            return Value(f"(NOT {inner.sql})", "bool")
        return Value(f"(-{inner.sql})", inner.kind)

    def _pair(self, scope: _Scope, left: Any, right: Any) -> tuple[Value, Value]:
        """Two operands; a parameter takes its type from the other one."""
        if isinstance(left, syntax.Parameter) and not isinstance(right, syntax.Parameter):
            other = self._value(scope, right)
            return self._value(scope, left, other.kind), other
        first = self._value(scope, left)
        return first, self._value(scope, right, first.kind)

    def _on_binary(self, scope: _Scope, node: syntax.Binary, expected: str) -> Value:
        operator = node.operator
        if operator in ("and", "or"):
            left, right = self._condition(scope, node.left), self._condition(scope, node.right)
            return Value(f"({left} {operator.upper()} {right})", "bool")
        if operator in _COMPARISONS and isinstance(node.right, syntax.Quantified):
            return self._quantified(scope, node)
        first, second = self._pair(scope, node.left, node.right)
        if operator in _COMPARISONS:
            return self._comparison(first, operator, second)
        if operator == "||":
            return Value(f"({first.sql} || {second.sql})", "string")
        kinds = {first.kind, second.kind}
        kind = "double" if "double" in kinds else "long" if "long" in kinds else "int"
        return Value(f"({first.sql} {operator} {second.sql})", kind)

    def _comparison(self, first: Value, operator: str, second: Value) -> Value:
        if "class" in (first.kind, second.kind) or "type" in (first.kind, second.kind):
            return Value(f"({_kind_sql(first)} {operator} {_kind_sql(second)})", "bool")
        if "null" not in (first.kind, second.kind):
            check_comparable(first, second)
        return Value(f"({first.sql} {operator} {second.sql})", "bool")

    def _quantified(self, scope: _Scope, node: syntax.Binary) -> Value:
        operand = self._value(scope, node.left)
        every = node.right.quantifier == "all"
        inner, _ = self._subquery(scope, node.right.query)
        if node.operator == "=" and not every:
            return Value(f"({operand.sql} IN ({inner}))", "bool")
        if node.operator == "<>" and every:
            return Value(f"({operand.sql} NOT IN ({inner}))", "bool")
        negated = {"=": "<>", "<>": "=", "<": ">=", ">": "<=", "<=": ">", ">=": "<"}[node.operator]
        test = f"SELECT 1 FROM (SELECT * FROM ({inner})) q WHERE {operand.sql}"
        if every:
            return Value(f"(NOT EXISTS ({test} {negated} q.c0))", "bool")
        return Value(f"(EXISTS ({test} {node.operator} q.c0))", "bool")

    def _on_in(self, scope: _Scope, node: syntax.In, expected: str) -> Value:
        operand = self._value(scope, node.operand)
        if isinstance(node.choices, syntax.Select):
            choices = f"({self._subquery(scope, node.choices)[0]})"
        elif isinstance(node.choices, syntax.Collection):
            choices = f"({self._elements(scope, node.choices.path)})"
        elif len(node.choices) == 1 and isinstance(node.choices[0], syntax.Parameter):
            choices = self.parameters.choices(node.choices[0].name, operand.kind)
        else:
            found = [self._value(scope, c, operand.kind) for c in node.choices]
            if any(v.kind == "class" for v in found):
                operand = Value(_kind_sql(operand), "class")
            choices = f"({', '.join(v.sql for v in found)})"
        return Value(f"({operand.sql} {'NOT ' if node.negated else ''}IN {choices})", "bool")

    def _elements(self, scope: _Scope, path: syntax.Path) -> str:
        owner, found = self._collection(scope, path)
        source = Source(self._fresh(), entity(found.target))
        conditions = [f'{source.sql}."{found.inverse}" = {owner.sql}.id', *self._conditions(source)]
        return f"SELECT {source.sql}.id FROM {table(found.target).name} {source.sql} WHERE {' AND '.join(conditions)}"

    def _on_memberof(self, scope: _Scope, node: syntax.MemberOf, expected: str) -> Value:
        operand = self._value(scope, node.operand)
        word = "NOT IN" if node.negated else "IN"
        return Value(f"({operand.sql} {word} ({self._elements(scope, node.path)}))", "bool")

    def _on_isempty(self, scope: _Scope, node: syntax.IsEmpty, expected: str) -> Value:
        word = "EXISTS" if node.negated else "NOT EXISTS"
        return Value(f"({word} ({self._elements(scope, node.path)}))", "bool")

    def _on_isnull(self, scope: _Scope, node: syntax.IsNull, expected: str) -> Value:
        inner = self._value(scope, node.operand)
        return Value(f"({inner.sql} IS {'NOT ' if node.negated else ''}NULL)", "bool")

    def _on_between(self, scope: _Scope, node: syntax.Between, expected: str) -> Value:
        operand = self._value(scope, node.operand)
        low, high = (self._value(scope, n, operand.kind).sql for n in (node.low, node.high))
        return Value(f"({operand.sql} {'NOT ' if node.negated else ''}BETWEEN {low} AND {high})", "bool")

    def _on_like(self, scope: _Scope, node: syntax.Like, expected: str) -> Value:
        operand = self._value(scope, node.operand)
        pattern = self._value(scope, node.pattern, "string").sql
        escape = self._value(scope, node.escape, "string").sql if node.escape is not None else "'\\'"
        return Value(f"({operand.sql} {'NOT ' if node.negated else ''}LIKE {pattern} ESCAPE {escape})", "bool")

    def _on_exists(self, scope: _Scope, node: syntax.Exists, expected: str) -> Value:
        return Value(f"(EXISTS ({self._subquery(scope, node.query)[0]}))", "bool")

    def _on_subselect(self, scope: _Scope, node: syntax.Subselect, expected: str) -> Value:
        sql, kind = self._subquery(scope, node.query)
        return Value(f"({sql})", kind)

    def _on_case(self, scope: _Scope, node: syntax.Case, expected: str) -> Value:
        subject = self._value(scope, node.subject) if node.subject is not None else None
        parts, kind = [], ""
        for condition, result in node.whens:
            test = self._value(scope, condition, subject.kind if subject else "")
            value = self._value(scope, result)
            kind = kind or value.kind
            parts.append(f"WHEN {test.sql} THEN {value.sql}")
        if node.otherwise is not None:
            parts.append(f"ELSE {self._value(scope, node.otherwise).sql}")
        return Value(f"(CASE {subject.sql if subject else ''} {' '.join(parts)} END)", kind)

    def _on_function(self, scope: _Scope, node: syntax.Function, expected: str) -> Value:
        special = getattr(self, "_call_" + node.name, None)
        if special is not None:
            made: Value = special(scope, node)
            return made
        if node.name not in _FUNCTIONS:
            raise HqlError(f"there is no function {node.name}")
        name, kind = _FUNCTIONS[node.name]
        values = [self._value(scope, a) for a in node.arguments]
        inside = ("DISTINCT " if node.distinct else "") + ", ".join(v.sql for v in values)
        return Value(
            f"{name}({inside})", values[0].kind if kind == "=" else kind, values[0].target if kind == "=" else ""
        )

    def _call_count(self, scope: _Scope, node: syntax.Function) -> Value:
        if not node.arguments:
            return Value("count(*)", "long")
        inner = self._value(scope, node.arguments[0]).sql
        return Value(f"count({'DISTINCT ' if node.distinct else ''}{inner})", "long")

    def _call_sum(self, scope: _Scope, node: syntax.Function) -> Value:
        inner = self._value(scope, node.arguments[0])
        kind = "double" if inner.kind in ("double", "unit") else "long"
        return Value(f"sum({'DISTINCT ' if node.distinct else ''}{inner.sql})", kind)

    def _call_concat(self, scope: _Scope, node: syntax.Function) -> Value:
        return Value(f"({' || '.join(self._value(scope, a).sql for a in node.arguments)})", "string")

    def _call_mod(self, scope: _Scope, node: syntax.Function) -> Value:
        left, right = (self._value(scope, a) for a in node.arguments)
        return Value(f"({left.sql} % {right.sql})", left.kind)

    def _call_str(self, scope: _Scope, node: syntax.Function) -> Value:
        return Value(f"CAST({self._value(scope, node.arguments[0]).sql} AS TEXT)", "string")

    def _call_cast(self, scope: _Scope, node: syntax.Function) -> Value:
        kind = str(node.arguments[-1].value).lower()
        if len(node.arguments) != 2 or kind not in _CASTS:
            raise HqlError(f"cannot cast to {kind}")
        affinity = _CASTS[kind]
        result = {"TEXT": "string", "REAL": "double"}.get(affinity, "long" if kind == "long" else "int")
        return Value(f"CAST({self._value(scope, node.arguments[0]).sql} AS {affinity})", result)

    def _call_type(self, scope: _Scope, node: syntax.Function) -> Value:
        source = self._alias_of(scope, node)
        if source.entity is None:
            raise HqlError("pairs have no type")
        if not table(source.entity.name).polymorphic:
            return Value(f"'{source.entity.name}'", "type")
        return Value(f"{source.sql}.kind", "type")

    def _call_index(self, scope: _Scope, node: syntax.Function) -> Value:
        return Value(self._index_of(scope, node), "int")

    def _call_minindex(self, scope: _Scope, node: syntax.Function) -> Value:
        return Value(f"min({self._index_of(scope, node)})", "int")

    def _call_maxindex(self, scope: _Scope, node: syntax.Function) -> Value:
        return Value(f"max({self._index_of(scope, node)})", "int")

    def _index_of(self, scope: _Scope, node: syntax.Function) -> str:
        source = self._alias_of(scope, node)
        if not source.index:
            raise HqlError("index() needs an alias of an ordered collection")
        return source.index

    def _alias_of(self, scope: _Scope, node: syntax.Function) -> Source:
        path = node.arguments[0] if node.arguments else None
        if not isinstance(path, syntax.Path):
            raise HqlError(f"{node.name}() needs an alias")
        if path.parts[-1] == "class":
            path = syntax.Path(path.parts[:-1])
        if len(path.parts) > 1:
            owner, name = self._owner(scope, path, outer=False)
            return self._implicit(scope, owner, self._property(owner, name))
        source = scope.find(path.parts[0])
        if source is None:
            raise HqlError(f"{path.parts[0]} is no alias")
        return source

    def _call_size(self, scope: _Scope, node: syntax.Function) -> Value:
        """Hibernate does not bind the security filters' parameters where size() stands in a condition."""
        if self._in_condition:
            raise invalid("could not execute query: size() of a collection within a condition")
        inner = self._elements(scope, node.arguments[0])
        return Value(f"(SELECT count(*) FROM ({inner}))", "long")

    # ---- selects ---------------------------------------------------------------------------------------------
    def _subquery(self, outer: _Scope, query: syntax.Select) -> tuple[str, str]:
        """A select within another: its SQL and the kind of its first column."""
        scope = self._sources(query, outer)
        outside, self._in_condition = self._in_condition, False
        if query.items:
            values = [self._value(scope, item.value) for item in query.items]
        else:
            values = [self._whole(next(iter(scope.names.values())))]
        self._in_condition = outside
        columns = ", ".join(f"{v.sql} AS c{i}" for i, v in enumerate(values))
        return self._assemble(query, scope, columns), values[0].kind

    def _assemble(self, query: syntax.Select, scope: _Scope, columns: str, extra_order: str = "") -> str:
        conditions = list(scope.filters)
        if query.where is not None:
            outside, self._in_condition = self._in_condition, True
            conditions.append(self._condition(scope, query.where))
            self._in_condition = outside
        group = ", ".join(self._value(scope, g).sql for g in query.group)
        having = self._condition(scope, query.having) if query.having is not None else ""
        order = ", ".join(self._ordered(scope, o) for o in query.order) or extra_order
        # everything above may have added joins
        sql = f"SELECT {'DISTINCT ' if query.distinct else ''}{columns} FROM {''.join(scope.joins)}"
        for word, text in (
            ("WHERE", " AND ".join(conditions)),
            ("GROUP BY", group),
            ("HAVING", having),
            ("ORDER BY", order),
        ):
            sql += f" {word} {text}" if text else ""
        return sql

    def _ordered(self, scope: _Scope, term: syntax.Order) -> str:
        value = self._value(scope, term.value)
        if value.sql.endswith(".id"):
            return f"{value.sql} DESC" if term.descending else value.sql
        return f"{value.sql} {'DESC NULLS FIRST' if term.descending else 'ASC NULLS LAST'}"

    def translate(self, query: syntax.Select) -> Translation:
        """The whole query."""
        scope = self._sources(query, None)
        root = next(iter(scope.names.values()))
        places: list[str] = []
        items = query.items or (syntax.SelectItem(syntax.Path((next(iter(scope.names)),)), ""),)
        columns = [self._column(scope, item, places) for item in items]
        selected = {c.value.sql for c in columns if c.value.kind == "entity"}
        fetches = self._fetches(scope, selected, places)
        chosen, root_place = self._root(scope, columns, root)
        extra = self._default_order(query, scope, places)
        sql = self._assemble(query, scope, ", ".join(places), extra)
        page = self._assemble(query, scope, f"{chosen.sql}.id", extra) if fetches and not query.group else ""
        return Translation(sql, self.parameters.bound, columns, fetches, chosen, root_place, query.distinct, page)

    def _root(self, scope: _Scope, columns: list[Column], first: Source) -> tuple[Source, int]:
        for column in columns:
            if column.value.kind == "entity":
                for source in scope.names.values():
                    if column.value.sql == f"{source.sql}.id":
                        return source, column.place
        return first, -1

    def _default_order(self, query: syntax.Select, scope: _Scope, places: list[str]) -> str:
        """By ids where the query leaves the order open, so that answers are the same every time."""
        if query.order or query.group or query.distinct or any(_aggregates(item.value) for item in query.items):
            return ""
        return ", ".join(f"{s.sql}.id" for s in scope.names.values() if s.entity is not None)

    def _column(self, scope: _Scope, item: syntax.SelectItem, places: list[str]) -> Column:
        if isinstance(item.value, syntax.Make):
            parts = [self._column(scope, part, places) for part in item.value.items]
            return Column(Value(""), -1, item.alias, parts, item.value.kind)
        value = self._value(scope, item.value)
        if isinstance(item.value, syntax.Path) and value.kind == "entity" and not value.sql.endswith(".id"):
            value = self._joined_entity(scope, value)
        if item.alias:
            scope.results[item.alias] = value
        places.append(value.sql)
        if value.extra:
            places.append(value.extra)
        return Column(value, len(places) - (2 if value.extra else 1), item.alias)

    def _joined_entity(self, scope: _Scope, value: Value) -> Value:
        alias, column = value.sql.split(".", 1)
        source = Source(alias, None)
        made = self._follow(scope, source, column, value.target)
        return Value(f"{made.sql}.id", "entity", value.target)

    def _fetches(self, scope: _Scope, selected: set[str], places: list[str]) -> list[tuple[Source, int]]:
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


def _declaring(owner: Entity, name: str) -> Entity:
    if name in owner.fields:
        return owner
    return next(entity(k) for k in owner.concrete if name in entity(k).fields)


def _kind_sql(value: Value) -> str:
    return value.target if value.kind == "discriminator" else value.sql


def _quoted(names: tuple[str, ...]) -> str:
    return ", ".join(f"'{n}'" for n in names)


def _aggregates(node: Any) -> bool:
    names = ("count", "sum", "min", "max", "avg", "minindex", "maxindex")
    return any(isinstance(n, syntax.Function) and n.name in names for n in _nodes(node))


def _nodes(node: Any) -> Iterator[Any]:
    """A node and everything below it, sub-selects left out."""
    if isinstance(node, (syntax.Subselect, syntax.Exists, syntax.Quantified, syntax.Select)):
        return
    yield node
    for child in vars(node).values() if hasattr(node, "__dataclass_fields__") else ():
        for inner in child if isinstance(child, tuple) else (child,):
            yield from _nodes(inner)


def translate(text: str, caller: Caller, given: dict[str, Any] | None) -> Translation:
    """A query's text in SQL; HqlError or HqlSyntaxError when it cannot be, OMERO's exceptions for bad parameters."""
    if not text:
        raise HqlError("the query is empty")
    return _Translator(caller, Parameters(given)).translate(syntax.parse(text))

