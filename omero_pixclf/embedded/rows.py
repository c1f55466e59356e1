"""Rows become model objects: one instance per row and request, references resolved, details filled in.

An object comes with its own values and unloaded references; collections are unloaded until fetched. What the request
has loaded anyway stands in place of references to it, as in a Hibernate session. An object with a reference to an
abstract class that was not fetched comes unloaded as a whole: OMERO cannot name the reference's class either.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from functools import cache
from typing import Any

import omero.model
from omero import rtypes

from omero_pixclf.embedded.database import Transaction, ids_parameter
from omero_pixclf.embedded.faults import no_row, unreadable
from omero_pixclf.embedded.model import Entity, Field, entity, unit_names
from omero_pixclf.embedded.schema import pair_table, table
from omero_pixclf.embedded.security import ALL, Caller, GroupLevel, Rights, permissions

__all__ = ["Graph", "scalar_to_ice"]

_EAGER = {  # what OMERO's mapping loads along with every object
    "Image": ("wellSamples",),
    "Shape": ("transform", "roi"),
    "OriginalFile": ("filesetEntries",),
}
_EAGER_UNLESS = {"OriginalFile": "hasher"}  # not where this is set, as the real server was seen to do
_NO_LEVEL = -1  # permission bits of what belongs to nobody
_DETAILS = dict.fromkeys(vars(omero.model.DetailsI()))

_TO_ICE: dict[str, Callable[[Any], Any]] = {
    "string": rtypes.rstring,
    "int": rtypes.rint,
    "long": rtypes.rlong,
    "double": lambda v: rtypes.rdouble(float(v)),  # NaN is stored as text
    "bool": lambda v: rtypes.rbool(bool(v)),
    "time": rtypes.rtime,
    "bytes": bytes,
    "strings": json.loads,
}


def scalar_to_ice(field: Field, value: Any) -> Any:
    """A column's value as the model object holds it; not for units, references and collections."""
    return _TO_ICE[field.kind](value)


@cache
def _unit_class(quantity: str) -> Any:
    return getattr(omero.model, quantity + "I")


@cache
def _plan(kind: str) -> tuple[list[tuple[str, int, Any]], list[tuple[str, int, int, str]], list[tuple[str, int, str]]]:
    """Where a class's scalars, units and references stand within a row of its table."""
    places = {name: i for i, name in enumerate(table(kind).columns)}
    scalars, units, references = [], [], []
    for field in entity(kind).fields.values():
        attribute = "_" + field.name
        if field.kind in _TO_ICE:
            scalars.append((attribute, places[field.name], _TO_ICE[field.kind]))
        elif field.kind == "unit":
            units.append((attribute, places[field.name], places[field.name + "_unit"], field.target))
        elif field.kind == "entity":
            references.append((attribute, places[field.name], field.target))
    if "version" in places and not entity(kind).is_enum:
        scalars.append(("_version", places["version"], rtypes.rint))
    return scalars, units, references


class Graph:
    """The model objects of one request by class and id."""

    def __init__(self, tx: Transaction, caller: Caller) -> None:
        self.tx = tx
        self.caller = caller
        self._loaded: dict[tuple[str, int], Any] = {}
        self._rows: dict[tuple[str, int], Any] = {}
        self._proxies: dict[tuple[str, int], Any] = {}
        self._levels: dict[int, GroupLevel] = {}
        self._permissions: dict[Any, Any] = {}

    # ---- objects ---------------------------------------------------------------------------------------------
    def find(self, kind: str, ident: int) -> Any:
        """The loaded object or None; SecurityViolation when it may not be read."""
        return self.load(kind, [ident]).get(ident)

    def get(self, kind: str, ident: int) -> Any:
        """The loaded object; ValidationException when there is none."""
        found = self.find(kind, ident)
        if found is None:
            raise no_row(entity(kind).qualified, ident)
        return found

    def load(self, kind: str, ids: Iterable[int]) -> dict[int, Any]:
        """Loaded objects by id, of that class or a subclass; ids without a row are left out."""
        wanted = entity(kind)
        root = wanted.root
        ids = list(ids)
        missing = list(dict.fromkeys(i for i in ids if (root, i) not in self._rows))
        if missing:
            self._fetch(wanted, missing)
        found = {i: self._loaded.get((root, i)) for i in ids}
        kinds = {name + "I" for name in wanted.concrete}
        return {i: o for i, o in found.items() if o is not None and type(o).__name__ in kinds}

    def adopt(self, kind: str, ident: int, obj: Any) -> None:
        """Let an object made elsewhere stand for its row."""
        self._loaded[(entity(kind).root, ident)] = obj

    def row(self, kind: str, ident: int) -> Any:
        """The stored row of a loaded object, in the order of its table's columns; None for what this request made."""
        found = self._rows.get((entity(kind).root, ident))
        return found[1] if found else None

    def refresh_details(self, kind: str, ident: int, obj: Any) -> None:
        """Read the details of a changed object again."""
        key = (entity(kind).root, ident)
        found, _, places = self._rows[key]
        columns = ", ".join(f'"{c}"' for c in places)
        row = self.tx.one(f"SELECT {columns} FROM {table(kind).name} WHERE id = ?", (ident,))
        self._load_groups()
        obj._details = self._details(found, row, places)

    def _fetch(self, wanted: Entity, ids: Sequence[int]) -> None:
        where = table(wanted.name)
        columns = ", ".join(f'"{c}"' for c in where.columns)
        if len(ids) == 1:
            rows = self.tx.all(f"SELECT {columns} FROM {where.name} WHERE id = ?", ids)
        else:
            sql = f"SELECT {columns} FROM {where.name} WHERE id IN (SELECT value FROM json_each(?))"
            rows = self.tx.all(sql, (ids_parameter(ids),))
        places = {name: i for i, name in enumerate(where.columns)}
        made: dict[str, list[int]] = {}
        for row in rows:
            kind = row[places["kind"]] if where.polymorphic else wanted.root
            self._check_readable(kind, row, places)
            made.setdefault(kind, []).append(row[0])
            self._loaded[(wanted.root, row[0])] = self._build(kind, row)
            self._rows[(wanted.root, row[0])] = (kind, row, places)
        for kind, of_kind in made.items():
            self._load_pairs(entity(kind), of_kind)
            self._load_eager(entity(kind), of_kind)

    def _check_readable(self, kind: str, row: Any, places: dict[str, int]) -> None:
        if "owner_id" not in places:
            return
        if not self.caller.may_read(row[places["owner_id"]], row[places["group_id"]]):
            raise unreadable(entity(kind).qualified, row[0])

    def _build(self, kind: str, row: Any) -> Any:
        found = entity(kind)
        made = found.factory.__new__(found.factory)
        state = made.__dict__
        state.update(found.template)
        state["_id"] = rtypes.rlong(row[0])
        scalars, units, _ = _plan(kind)
        for attribute, place, convert in scalars:
            if row[place] is not None:
                state[attribute] = convert(row[place])
        for attribute, place, unit_place, quantity in units:
            if row[place] is not None:
                state[attribute] = _unit_class(quantity)(row[place], unit_names(quantity)[row[unit_place]])
        return made

    def _load_pairs(self, found: Entity, ids: list[int]) -> None:
        for field in found.fields.values():
            if field.kind != "pairs" or (found.root, field.name) in (("Experimenter", "config"),):
                continue
            for ident in ids:
                setattr(self._loaded[(found.root, ident)], "_" + field.name, [])
            sql = (
                f"SELECT id, name, value FROM {pair_table(found, field)} "
                "WHERE id IN (SELECT value FROM json_each(?)) ORDER BY id, position"
            )
            for ident, name, value in self.tx.execute(sql, (ids_parameter(ids),)):
                pairs = getattr(self._loaded[(found.root, ident)], "_" + field.name)
                pairs.append(omero.model.NamedValue(name, value))

    def _load_eager(self, found: Entity, ids: list[int]) -> None:
        ids = [i for i in ids if not self._holds(found, i)]
        for name in _EAGER.get(found.root, ()):
            if name in found.children:
                self.load_children(found.name, ids, name)
            else:
                place = list(table(found.name).columns).index(name)
                targets = [self._rows[(found.root, i)][1][place] for i in ids]
                self.load(found.fields[name].target, [t for t in targets if t is not None])

    def _holds(self, found: Entity, ident: int) -> bool:
        """Whether the row has the value that keeps OMERO from loading along."""
        name = _EAGER_UNLESS.get(found.root)
        if name is None:
            return False
        _, row, places = self._rows[(found.root, ident)]
        return row[places[name]] is not None

    # ---- collections -----------------------------------------------------------------------------------------
    def load_children(self, kind: str, ids: Iterable[int], name: str) -> list[int]:
        """Load a collection of several objects as a whole; returns the children's ids. Unreadable ones are left out."""
        owner = entity(kind)
        field = owner.children[name]
        where = table(field.target)
        order = f"{field.inverse}_index, id" if field.ordered else "id"
        condition = "" if "owner_id" not in where.columns else self.caller.filter_sql(where.name)
        sql = (
            f'SELECT "{field.inverse}", id FROM {where.name} '
            f'WHERE "{field.inverse}" IN (SELECT value FROM json_each(?))'
            f"{' AND ' + condition if condition else ''} ORDER BY {order}"
        )
        pairs = self.tx.all(sql, (ids_parameter(ids),))
        for ident in ids:
            self.start_collection(kind, ident, name)
        children = self.load(field.target, [child for _, child in pairs])
        for parent, child in pairs:
            getattr(self._loaded[(owner.root, parent)], f"_{name}Seq").append(children.get(child))
        return [child for _, child in pairs]

    def start_collection(self, kind: str, ident: int, name: str) -> list[Any]:
        """Make a collection of a loaded object loaded (empty at first) and return it for filling."""
        obj = self._loaded[(entity(kind).root, ident)]
        if not getattr(obj, f"_{name}Loaded"):
            setattr(obj, f"_{name}Loaded", True)
            setattr(obj, f"_{name}Seq", [])
        found: list[Any] = getattr(obj, f"_{name}Seq")
        return found

    # ---- references and details ------------------------------------------------------------------------------
    def finish(self) -> None:
        """Resolve all references and fill in details; call once everything is loaded."""
        self._load_groups()
        for (root, _), (kind, row, places) in list(self._rows.items()):
            obj = self._loaded[(root, row[0])]
            if obj._details is not None:
                continue
            complete = True
            for attribute, place, target in _plan(kind)[2]:
                if row[place] is not None:
                    complete &= self._refer(obj, attribute, target, row[place])
            if complete:
                obj._details = self._details(kind, row, places)
            else:
                obj._loaded = False

    def _refer(self, obj: Any, attribute: str, target: str, ident: int) -> bool:
        found = self._loaded.get((entity(target).root, ident))
        if found is None and entity(target).abstract:
            return False
        obj.__dict__[attribute] = found if found is not None else self.proxy(target, ident)
        return True

    def proxy(self, kind: str, ident: int) -> Any:
        """The unloaded reference to a row of a concrete class."""
        key = (entity(kind).root, ident)
        if key not in self._proxies:
            self._proxies[key] = entity(kind).factory(ident, False)
        return self._proxies[key]

    def _load_groups(self) -> None:
        groups = {row[places["group_id"]] for _, row, places in self._rows.values() if "group_id" in places}
        self.load("ExperimenterGroup", [g for g in groups if g is not None])

    def _reference(self, kind: str, ident: int | None) -> Any:
        if ident is None:
            return None
        return self._loaded.get((kind, ident)) or self.proxy(kind, ident)

    def _details(self, kind: str, row: Any, places: dict[str, int]) -> Any:
        cell: Callable[[str], Any] = lambda name: row[places[name]] if name in places else None  # noqa: E731
        owner, group = cell("owner_id"), cell("group_id")
        return self.details(
            owner,
            group,
            cell("creation_id"),
            cell("update_id"),
            cell("external_id"),
            self._row_permissions(kind, row, places),
        )

    def details(
        self,
        owner: int | None,
        group: int | None,
        creation: int | None,
        update: int | None,
        external: int | None,
        perms: Any,
    ) -> Any:
        """A Details object; its parts are loaded where the request has loaded them."""
        made = omero.model.DetailsI.__new__(omero.model.DetailsI)
        made.__dict__.update(
            _DETAILS,
            _owner=self._reference("Experimenter", owner),
            _group=self._reference("ExperimenterGroup", group),
            _creationEvent=self._reference("Event", creation),
            _updateEvent=self._reference("Event", update),
            _externalInfo=self._reference("ExternalInfo", external),
            _permissions=perms,
        )
        return made

    def new_permissions(self, perm1: int | None) -> Any:
        """Permissions of a new object that belongs to nobody (a group has a level of its own)."""
        return self._shared_permissions(perm1 if perm1 is not None else _NO_LEVEL, self._global_rights())

    def _row_permissions(self, kind: str, row: Any, places: dict[str, int]) -> Any:
        if kind == "ExperimenterGroup":
            return self._shared_permissions(row[places["permissions"]], self._global_rights())
        if "owner_id" not in places:
            return self._shared_permissions(_NO_LEVEL, self._global_rights())
        return self.permissions(row[places["owner_id"]], row[places["group_id"]])

    def permissions(self, owner: int, group: int) -> Any:
        """Permissions of an object of that owner in that group, as the caller has them."""
        level = self.level(group)
        return self._shared_permissions(level.perm1, self.caller.rights(owner, group, level))

    def rights(self, owner: int, group: int) -> Rights:
        """What the caller may do to an object of that owner in that group."""
        return self.caller.rights(owner, group, self.level(group))

    def _global_rights(self) -> Rights:
        return ALL if self.caller.is_admin else Rights(True, False, False, False, False, False)

    def _shared_permissions(self, perm1: int, rights: Rights) -> Any:
        key = (perm1, rights)
        if key not in self._permissions:
            self._permissions[key] = permissions(perm1, rights)
        return self._permissions[key]

    def level(self, group: int) -> GroupLevel:
        """The permissions of a group."""
        if group not in self._levels:
            row = self.tx.one("SELECT permissions FROM experimentergroup WHERE id = ?", (group,))
            if row is None:
                raise no_row(entity("ExperimenterGroup").qualified, group)
            self._levels[group] = GroupLevel(row[0])
        return self._levels[group]
