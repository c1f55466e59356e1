"""Resolution of HQL's aliases and dotted paths to tables, columns and joins."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

from omero_pixclf.embedded.database.object_model import Entity, Field, entity, find_entity
from omero_pixclf.embedded.database.schema import DISCRIMINATORS, pair_table, table
from omero_pixclf.embedded.database.sqlite import now_ms
from omero_pixclf.embedded.hql import syntax_tree as syntax
from omero_pixclf.embedded.hql.values import QueryParameters, Value
from omero_pixclf.embedded.users.access_rights import Caller

__all__ = ["HqlError", "NameResolver", "RowSource", "Scope"]

_DETAILS = {
    "owner": ("owner_id", "Experimenter"),
    "group": ("group_id", "ExperimenterGroup"),
    "creationEvent": ("creation_id", "Event"),
    "updateEvent": ("update_id", "Event"),
    "externalInfo": ("external_id", "ExternalInfo"),
}
_COUNTS = "CountPerOwner"
_MASKED = {"Node": "0", "Session": "{0}.owner = {1}"}  # rows of the server's own that plain users see


class HqlError(ValueError):
    """The query names something that does not exist, or combines things that do not fit."""


@dataclass(eq=False)
class RowSource:
    """The rows of an alias: of a class, or name-value pairs (``entity`` is None)."""

    sql: str
    entity: Entity | None
    index: str = ""  # SQL of the index in an ordered collection
    parent: RowSource | None = None  # of a fetched association
    field_name: str = ""
    is_collection: bool = False
    fetched: bool = False
    unit: Field | None = None  # set if the alias is a quantity of the rows
    counted: Field | None = None  # set if the alias is a count of children by owner


class Scope:
    """Aliases of one select, and the joins and filters collected for it."""

    def __init__(self, outer: Scope | None) -> None:
        self.outer = outer
        self.names: dict[str, RowSource] = {}
        self.details: dict[str, tuple[str, ...]] = {}  # paths of the aliases of details
        self.joins: list[str] = []
        self.filters: list[str] = []
        self.implicit: dict[tuple[str, str], RowSource] = {}
        self.results: dict[str, Value] = {}

    def find(self, name: str) -> RowSource | None:
        """Return the source of an alias here or in an enclosing query."""
        scope: Scope | None = self
        while scope is not None:
            if name in scope.names:
                return scope.names[name]
            scope = scope.outer
        return None

    def expand_details(self, parts: tuple[str, ...]) -> tuple[str, ...]:
        """Replace an alias of details, here or in an enclosing query, by the path that it was defined as."""
        scope: Scope | None = self
        while scope is not None and parts[0] not in scope.names:
            if parts[0] in scope.details:
                return (*scope.details[parts[0]], *parts[1:])
            scope = scope.outer
        return parts


class NameResolver(ABC):
    """Resolves the names in a query and collects the joins in its scopes."""

    def __init__(self, caller: Caller, parameters: QueryParameters) -> None:
        self.caller = caller
        self.parameters = parameters
        self._count = 0
        self._in_condition = False

    def _new_alias(self) -> str:
        self._count += 1
        return f"t{self._count}"

    # ---- from ------------------------------------------------------------------------------------------------
    def _sources(self, query: syntax.Select, outer: Scope | None) -> Scope:
        scope = Scope(outer)
        for item in query.sources:
            if isinstance(item, syntax.RangeVariable):
                self._range(scope, item)
            else:
                self._join(scope, item)
        return scope

    def _range(self, scope: Scope, item: syntax.RangeVariable) -> None:
        found = find_entity(item.entity) if not item.entity.endswith("I") or item.entity == "I" else None
        if found is None:
            return self._join_outer_collection(scope, item)
        source = RowSource(self._new_alias(), found)
        scope.names[item.alias or f" {len(scope.names)}"] = source
        scope.joins.append(f"{', ' if scope.joins else ''}{table(found.name).name} {source.sql}")
        scope.filters.extend(self._conditions(source))
        return None

    def _join_outer_collection(self, scope: Scope, item: syntax.RangeVariable) -> None:
        """Resolve ``from d.imageLinks l`` in a subquery."""
        parts = tuple(item.entity.split("."))
        if len(parts) < 2 or scope.outer is None:
            raise HqlError(f"{item.entity} is not mapped")
        owner, field_ = self._collection(scope, syntax.Path(parts))
        source = RowSource(self._new_alias(), entity(field_.target))
        scope.names[item.alias] = source
        scope.joins.append(f"{', ' if scope.joins else ''}{table(field_.target).name} {source.sql}")
        scope.filters.append(f'{source.sql}."{field_.inverse}" = {owner.sql}.id')
        scope.filters.extend(self._conditions(source))

    def _conditions(self, source: RowSource) -> list[str]:
        """Return conditions that select rows of the right class that the caller may read."""
        assert source.entity is not None
        found = []
        where = table(source.entity.name)
        if where.polymorphic and source.entity.name != source.entity.root:
            found.append(f"{source.sql}.kind IN ({_quote_names(source.entity.concrete)})")
        if "owner_id" in where.columns:
            condition = self.caller.filter_sql(source.sql)
            found.extend([condition] if condition else [])
        elif source.entity.root in _MASKED and not self.caller.is_admin:
            found.append(_MASKED[source.entity.root].format(source.sql, self.caller.user_id))
        return found

    def _join(self, scope: Scope, item: syntax.Join) -> None:
        if item.path.parts[-1] == "details" and item.alias:
            self._owner(scope, item.path, outer=item.outer)  # joins the steps before
            scope.details[item.alias] = scope.expand_details(item.path.parts)
            return
        owner, name = self._owner(scope, item.path, outer=item.outer)
        of_details = scope.expand_details(item.path.parts)[-2] == "details"
        if name in _DETAILS and of_details:
            source = self._join_details(scope, owner, name, item.outer)
        else:
            source = self._join_property(scope, owner, name, item)
        source.parent, source.field_name, source.fetched = owner, name, item.fetch
        if of_details:
            source.field_name = "details." + name
        scope.names[item.alias or f" {len(scope.names)}"] = source
        if item.condition is not None:
            scope.joins[-1] += f" AND {self.condition(scope, item.condition)}"

    def _owner(self, scope: Scope, path: syntax.Path, *, outer: bool) -> tuple[RowSource, str]:
        """Return the source of all but the last step of a path, and the last step's name; joins are of one kind."""
        parts = scope.expand_details(path.parts)
        source = scope.find(parts[0])
        if source is None or len(parts) < 2:
            raise HqlError(f"{'.'.join(parts)} starts with no alias")
        steps = list(parts[1:-1])
        while steps:
            step = steps.pop(0)
            if step == "details":
                if steps:
                    source = self._implicit_details(scope, source, steps.pop(0), outer=outer)
                continue
            source = self._implicit(scope, source, self._property(source, step), outer=outer)
        return source, parts[-1]

    def _join_details(self, scope: Scope, owner: RowSource, name: str, outer: bool) -> RowSource:
        column, target = _DETAILS[name]
        source = RowSource(self._new_alias(), entity(target))
        kind = "LEFT JOIN" if outer else "JOIN"
        scope.joins.append(f" {kind} {table(target).name} {source.sql} ON {source.sql}.id = {owner.sql}.{column}")
        return source

    def _join_property(self, scope: Scope, owner: RowSource, name: str, item: syntax.Join) -> RowSource:
        if name.endswith(_COUNTS):
            return self._join_counts(scope, owner, name, item)
        found = self._property(owner, name)
        kind = "LEFT JOIN" if item.outer else "JOIN"
        alias = self._new_alias()
        if found.kind == "pairs":
            assert owner.entity is not None
            pairs = pair_table(_declaring(owner.entity, name), found)
            scope.joins.append(f" {kind} {pairs} {alias} ON {alias}.id = {owner.sql}.id")
            return RowSource(alias, None, f"{alias}.position", is_collection=True)
        if found.kind == "unit":
            return RowSource(owner.sql, owner.entity, unit=found)
        if found.kind not in ("entity", "children"):
            raise HqlError(f"{name} cannot be joined")
        target = entity(found.target)
        if found.kind == "entity":
            condition = f'{alias}.id = {owner.sql}."{found.name}"'
            source = RowSource(alias, target)
        else:
            condition = f'{alias}."{found.inverse}" = {owner.sql}.id'
            source = RowSource(
                alias, target, f"{alias}.{found.inverse}_index" if found.ordered else "", is_collection=True
            )
            condition = " AND ".join([condition, *self._conditions(source)])
        scope.joins.append(f" {kind} {table(target.name).name} {alias} ON {condition}")
        return source

    def _join_counts(self, scope: Scope, owner: RowSource, name: str, item: syntax.Join) -> RowSource:
        """Resolve ``join fetch i.annotationLinksCountPerOwner``: the number of links by owner."""
        found = owner.entity.children.get(name.removesuffix(_COUNTS)) if owner.entity is not None else None
        if found is None:
            raise HqlError(f"could not resolve property: {name}")
        alias, kind = self._new_alias(), "LEFT JOIN" if item.outer else "JOIN"
        counted = f'(SELECT DISTINCT "{found.inverse}" AS counted FROM {table(found.target).name})'
        scope.joins.append(f" {kind} {counted} {alias} ON {alias}.counted = {owner.sql}.id")
        return RowSource(alias, None, counted=found)

    # ---- paths -----------------------------------------------------------------------------------------------
    def _property(self, source: RowSource, name: str) -> Field:
        """Return a property of the source's class, or of a subclass."""
        if source.entity is None:
            raise HqlError(f"pairs have no {name}")
        found = source.entity.fields.get(name)
        if found is None:
            below = (entity(kind).fields.get(name) for kind in source.entity.concrete)
            found = next((f for f in below if f is not None), None)
        if found is None or (source.entity.name, name) == ("Experimenter", "config"):
            raise HqlError(f"could not resolve property: {name} of: {source.entity.qualified}")
        return found

    def _implicit(self, scope: Scope, source: RowSource, step: Field, *, outer: bool = False) -> RowSource:
        if step.kind != "entity":
            raise HqlError(f"illegal attempt to dereference {step.name}")
        return self._follow(scope, source, f'"{step.name}"', step.target, outer)

    def _implicit_details(self, scope: Scope, source: RowSource, name: str, *, outer: bool = False) -> RowSource:
        if name not in _DETAILS:
            raise HqlError(f"could not resolve property: details.{name}")
        column, target = _DETAILS[name]
        return self._follow(scope, source, column, target, outer)

    def _follow(self, scope: Scope, source: RowSource, column: str, target: str, outer: bool = False) -> RowSource:
        key = (source.sql, column)
        if key not in scope.implicit:
            made, kind = RowSource(self._new_alias(), entity(target)), "LEFT JOIN" if outer else "JOIN"
            scope.joins.append(f" {kind} {table(target).name} {made.sql} ON {made.sql}.id = {source.sql}.{column}")
            scope.implicit[key] = made
        return scope.implicit[key]

    def _is_collection(self, scope: Scope, parts: tuple[str, ...]) -> bool:
        owner, name = self._owner(scope, syntax.Path(parts), outer=False)
        return self._property(owner, name).kind == "children"

    def _collection(self, scope: Scope, path: syntax.Path) -> tuple[RowSource, Field]:
        owner, name = self._owner(scope, path, outer=False)
        found = self._property(owner, name)
        if found.kind != "children":
            raise HqlError(f"{name} is no collection")
        return owner, found

    def _path(self, scope: Scope, path: syntax.Path) -> Value:
        first, *rest = scope.expand_details(path.parts)
        source = scope.find(first)
        if source is None:
            return self._resolve_unqualified(scope, path)
        if not rest:
            return self._whole_row(source)
        return self._walk_path(scope, source, rest)

    def _resolve_unqualified(self, scope: Scope, path: syntax.Path) -> Value:
        """Resolve a path without an alias: a class, a result's alias, or a property of the only class in ``from``."""
        if len(path.parts) == 1 and path.parts[0] in scope.results:
            return scope.results[path.parts[0]]
        named = find_entity(".".join(path.parts)) if path.parts[-1][:1].isupper() else None
        if named is not None:
            return Value(f"'{named.name}'", "class", named.name)
        if path.parts == ("current_timestamp",):
            return Value(str(now_ms()), "time")
        if len(scope.names) != 1:
            raise HqlError(f"{path.parts[0]} is no alias")
        return self._walk_path(scope, next(iter(scope.names.values())), list(path.parts))

    def _whole_row(self, source: RowSource) -> Value:
        if source.unit is not None:
            return self._property_value(source, source.unit, plain_id=False)
        if source.entity is None:
            raise HqlError("pairs cannot be selected as a whole")
        return Value(f"{source.sql}.id", "entity", source.entity.name)

    def _walk_path(self, scope: Scope, source: RowSource, steps: list[str]) -> Value:
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

    def _step(self, scope: Scope, source: RowSource, step: str, rest: list[str]) -> RowSource | Value:
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

    def _special(self, source: RowSource, step: str) -> Value | None:
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

    def _property_value(self, source: RowSource, found: Field, *, plain_id: bool) -> Value:
        sql = f'{source.sql}."{found.name}"'
        if found.kind == "entity":
            return Value(sql, "long") if plain_id else Value(sql, "entity", found.target)
        if found.kind == "unit":
            return Value(sql, "unit", found.target, f'{source.sql}."{found.name}_unit"')
        if found.kind in ("children", "pairs"):
            raise HqlError(f"{found.name} is a collection")
        return Value(sql, found.kind)

    def _unit_part(self, source: RowSource, found: Field, rest: list[str]) -> Value:
        if rest == ["value"]:
            return Value(f'{source.sql}."{found.name}"', "double")
        if rest == ["unit"]:
            return Value(f'{source.sql}."{found.name}_unit"', "string")
        raise HqlError(f"could not resolve property: {rest[0]}")

    def _details_value(self, source: RowSource, steps: list[str]) -> Value:
        if steps[0] not in _DETAILS:
            raise HqlError(f"could not resolve property: details.{steps[0]}")
        column, target = _DETAILS[steps[0]]
        sql = f"{source.sql}.{column}"
        return Value(sql, "long") if len(steps) == 2 else Value(sql, "entity", target)

    def _permissions(self, source: RowSource) -> Value:
        if source.entity is not None and source.entity.name == "ExperimenterGroup":
            return Value(f"{source.sql}.permissions", "permissions", "ExperimenterGroup", f"{source.sql}.id")
        return Value(f"{source.sql}.owner_id", "permissions", extra=f"{source.sql}.group_id")

    def _discriminator(self, source: RowSource) -> Value:
        assert source.entity is not None
        if not table(source.entity.name).polymorphic:
            return Value(f"'{source.entity.name}'", "discriminator", f"'{source.entity.name}'")
        whens = " ".join(
            f"WHEN '{k}' THEN '{DISCRIMINATORS[k]}'" for k in source.entity.concrete if k in DISCRIMINATORS
        )
        kind = f"{source.sql}.kind"
        return Value(f"CASE {kind} {whens} ELSE {kind} END" if whens else kind, "discriminator", kind)

    @abstractmethod
    def condition(self, scope: Scope, node: Any) -> str:
        """Return a condition in SQL."""


def _declaring(owner: Entity, name: str) -> Entity:
    if name in owner.fields:
        return owner
    return next(entity(k) for k in owner.concrete if name in entity(k).fields)


def _quote_names(names: tuple[str, ...]) -> str:
    return ", ".join(f"'{n}'" for n in names)
