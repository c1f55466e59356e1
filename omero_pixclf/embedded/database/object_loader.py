"""Loading of rows as model objects: one instance per row and request, with references and details.

An object has its own values and unloaded references; its collections are unloaded until they are fetched. References
to objects that the request has loaded lead to these objects, as in a Hibernate session. An object with a reference to
an abstract class that was not fetched is unloaded as a whole: OMERO cannot name the class of the reference either.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import cached_property
from typing import Any

import omero.model

from omero_pixclf.embedded.database.object_model import Entity, Field, entity, unit_names
from omero_pixclf.embedded.database.row_plan import IMMUTABLE_KINDS, TO_ICE, ValueCache, row_plan, unit_class
from omero_pixclf.embedded.database.schema import pair_table, table
from omero_pixclf.embedded.database.sqlite import Transaction, ids_parameter
from omero_pixclf.embedded.server.exceptions import missing_row_error, unreadable_error
from omero_pixclf.embedded.storage.repositories import privilege_domain
from omero_pixclf.embedded.users.access_rights import ALL_RIGHTS, Caller, GroupLevel, Rights, make_permissions

__all__ = ["ObjectGraph"]

_EAGER = {  # associations that OMERO's mapping loads eagerly
    "Image": ("wellSamples",),
    "Shape": ("transform", "roi"),
    "OriginalFile": ("filesetEntries",),
}
_EAGER_UNLESS = {"OriginalFile": "hasher"}  # not if this property is set (observed on a real server)
_NO_LEVEL = -1  # permission bits of objects without an owner
_DETAILS = dict.fromkeys(vars(omero.model.DetailsI()))


class ObjectGraph:
    """The model objects of one request by class and id."""

    def __init__(self, tx: Transaction, caller: Caller, event: Callable[[], Any]) -> None:
        self.tx = tx
        self.caller = caller
        self._event = event  # returns the event context for all details
        self._loaded: dict[tuple[str, int], Any] = {}
        self._rows: dict[tuple[str, int], Any] = {}
        self._unfinished: dict[tuple[str, int], None] = {}  # keys of rows with unresolved references, in order
        self._proxies: dict[tuple[str, int], Any] = {}
        self._levels: dict[int, GroupLevel] = {}
        self._permissions: dict[Any, Any] = {}
        self._owned: dict[tuple[int, int], Any] = {}
        self._details: dict[Any, dict[str, Any]] = {}
        self._shared = {kind: ValueCache(kind) for kind in IMMUTABLE_KINDS}

    # ---- objects ---------------------------------------------------------------------------------------------
    def find(self, kind: str, ident: int) -> Any:
        """Return the loaded object or None; SecurityViolation if it may not be read."""
        return self.load(kind, [ident]).get(ident)

    def get(self, kind: str, ident: int) -> Any:
        """Return the loaded object; ValidationException if there is none."""
        found = self.find(kind, ident)
        if found is None:
            raise missing_row_error(entity(kind).qualified, ident)
        return found

    def load(self, kind: str, ids: Iterable[int]) -> dict[int, Any]:
        """Load objects of a class or its subclasses; return them by id, without ids that have no row."""
        wanted = entity(kind)
        root = wanted.root
        ids = list(ids)
        missing = list(dict.fromkeys(i for i in ids if (root, i) not in self._rows))
        if missing:
            self._fetch(wanted, missing)
        found = {i: self._loaded.get((root, i)) for i in ids}
        kinds = {name + "I" for name in wanted.concrete}
        return {i: o for i, o in found.items() if o is not None and type(o).__name__ in kinds}

    def get_loaded(self, kind: str, ident: int) -> Any:
        """Return an object that was loaded before; KeyError otherwise."""
        return self._loaded[(entity(kind).root, ident)]

    def register(self, kind: str, ident: int, obj: Any) -> None:
        """Register an object created elsewhere as the object of its row."""
        key = (entity(kind).root, ident)
        self._loaded[key] = obj
        if key in self._rows:
            self._unfinished[key] = None

    def stored_row(self, kind: str, ident: int) -> Any:
        """Return the stored row of a loaded object, in the order of the table's columns; None for a new object."""
        found = self._rows.get((entity(kind).root, ident))
        return found[1] if found else None

    def refresh_details(self, kind: str, ident: int, obj: Any) -> None:
        """Load the details of a changed object again."""
        key = (entity(kind).root, ident)
        found, _ = self._rows[key]
        columns = ", ".join(f'"{c}"' for c in table(kind).columns)
        row = self.tx.one(f"SELECT {columns} FROM {table(kind).name} WHERE id = ?", (ident,))
        self._load_groups()
        self._details.clear()
        obj._details = self._row_details(found, row)

    def _fetch(self, wanted: Entity, ids: Sequence[int]) -> None:
        where = table(wanted.name)
        columns = ", ".join(f'"{c}"' for c in where.columns)
        if len(ids) == 1:
            rows = self.tx.all(f"SELECT {columns} FROM {where.name} WHERE id = ?", ids)
        else:
            sql = f"SELECT {columns} FROM {where.name} WHERE id IN (SELECT value FROM json_each(?))"
            rows = self.tx.all(sql, (ids_parameter(ids),))
        by_kind: dict[str, list[Any]] = {} if where.polymorphic else {wanted.root: rows}
        if where.polymorphic:
            place = row_plan(wanted.concrete[0]).places["kind"]
            for row in rows:
                by_kind.setdefault(row[place], []).append(row)
        for kind, of_kind in by_kind.items():
            self._check_readable(kind, of_kind)
            self._build(kind, of_kind)
        for kind, of_kind in by_kind.items():
            made = [row[0] for row in of_kind]
            self._load_pairs(entity(kind), made)
            self._load_eager(entity(kind), made)

    def _check_readable(self, kind: str, rows: Sequence[Any]) -> None:
        plan = row_plan(kind)
        if not plan.is_owned:
            return
        owner, group = plan.details[:2]
        readable = {pair: self.caller.may_read(*pair) for pair in {(row[owner], row[group]) for row in rows}}
        for row in rows:
            if not readable[row[owner], row[group]]:
                raise unreadable_error(entity(kind).qualified, row[0])

    def _build(self, kind: str, rows: Sequence[Any]) -> None:
        """Create the objects of rows of one class, without references and details."""
        found, plan = entity(kind), row_plan(kind)
        factory, template, root, shared = found.factory, found.template, found.root, self._shared
        scalars = [(name, place, shared[form]) for name, place, form in plan.scalars if form in shared]
        others = [(name, place, TO_ICE[form]) for name, place, form in plan.scalars if form not in shared]
        for row in rows:
            made = factory.__new__(factory)
            state = made.__dict__
            state.update(template)
            state["_id"] = shared["long"][row[0]]
            for attribute, place, values in scalars:
                if row[place] is not None:
                    state[attribute] = values[row[place]]
            for attribute, place, convert in others:
                if row[place] is not None:
                    state[attribute] = convert(row[place])
            for attribute, place, unit_place, quantity in plan.units:
                if row[place] is not None:
                    state[attribute] = unit_class(quantity)(row[place], unit_names(quantity)[row[unit_place]])
            self._loaded[(root, row[0])] = made
            self._rows[(root, row[0])] = (kind, row)
            self._unfinished[(root, row[0])] = None

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
        """Whether the row has the value that suppresses the eager loading."""
        name = _EAGER_UNLESS.get(found.root)
        if name is None:
            return False
        kind, row = self._rows[(found.root, ident)]
        return row[row_plan(kind).places[name]] is not None

    # ---- collections -----------------------------------------------------------------------------------------
    def load_children(self, kind: str, ids: Iterable[int], name: str) -> list[int]:
        """Load a collection of several objects; return the children's ids, without unreadable ones."""
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
        if not field.ordered:
            pairs = self.tx.shuffle(pairs)
        for ident in ids:
            self.start_collection(kind, ident, name)
        children = self.load(field.target, [child for _, child in pairs])
        for parent, child in pairs:
            getattr(self._loaded[(owner.root, parent)], f"_{name}Seq").append(children.get(child))
        return [child for _, child in pairs]

    def load_counts(self, kind: str, ids: Iterable[int], field: Field) -> None:
        """Fill in the number of visible children by owner."""
        where, seen = table(field.target).name, self.caller.filter_sql(table(field.target).name)
        sql = (
            f'SELECT "{field.inverse}", owner_id, count(*) FROM {where} '
            f'WHERE "{field.inverse}" IN (SELECT value FROM json_each(?)){" AND " + seen if seen else ""} GROUP BY 1, 2'
        )
        for ident in ids:
            setattr(self.get_loaded(kind, ident), f"_{field.name}CountPerOwner", {})
        for ident, owner, count in self.tx.all(sql, (ids_parameter(ids),)):
            getattr(self.get_loaded(kind, ident), f"_{field.name}CountPerOwner")[owner] = count

    def start_collection(self, kind: str, ident: int, name: str) -> list[Any]:
        """Mark a collection of a loaded object as loaded (at first empty) and return it to be filled."""
        obj = self._loaded[(entity(kind).root, ident)]
        if not getattr(obj, f"_{name}Loaded"):
            setattr(obj, f"_{name}Loaded", True)
            setattr(obj, f"_{name}Seq", [])
        found: list[Any] = getattr(obj, f"_{name}Seq")
        return found

    # ---- references and details ------------------------------------------------------------------------------
    def finish_loading(self) -> None:
        """Resolve references and fill in details of all objects loaded since the last call."""
        self._load_groups()
        self._details.clear()  # they refer to the objects loaded by then
        for key in list(self._unfinished):
            kind, row = self._rows[key]
            obj = self._loaded[key]
            if obj._details is None and not self._set_references(obj, kind, row):
                obj._loaded = False  # stays unfinished: the references may be loaded later
                continue
            if obj._details is None:
                obj._details = self._row_details(kind, row)
            del self._unfinished[key]

    def _set_references(self, obj: Any, kind: str, row: Any) -> bool:
        """Set an object's references; return False if a reference cannot be represented."""
        state, complete = obj.__dict__, True
        for attribute, place, target, root in row_plan(kind).references:
            ident = row[place]
            if ident is None:
                continue
            found = self._loaded.get((root, ident))
            if found is not None:
                state[attribute] = found
            elif entity(target).abstract:
                complete = False
            else:
                state[attribute] = self.proxy(target, ident)
        return complete

    def proxy(self, kind: str, ident: int) -> Any:
        """Return the unloaded reference to a row of a concrete class."""
        key = (entity(kind).root, ident)
        if key not in self._proxies:
            self._proxies[key] = entity(kind).factory(ident, False)
        return self._proxies[key]

    def _load_groups(self) -> None:
        rows = [self._rows[key] for key in self._unfinished]
        places = {kind: row_plan(kind).details[1] for kind in {kind for kind, _ in rows}}
        groups = {row[places[kind]] for kind, row in rows if places[kind] is not None}
        self.load("ExperimenterGroup", [g for g in groups if g is not None])

    def _reference(self, kind: str, ident: int | None) -> Any:
        if ident is None:
            return None
        return self._loaded.get((kind, ident)) or self.proxy(kind, ident)

    def _row_details(self, kind: str, row: Any) -> Any:
        """Return the details of a row; equal parts are shared between objects."""
        plan = row_plan(kind)
        owner, group, creation, update, external = (None if place is None else row[place] for place in plan.details)
        key = (owner, group, creation, update, external)
        shared = plan.is_owned and not (kind == "OriginalFile" and self.caller.denied)
        if shared and key in self._details:
            made = omero.model.DetailsI.__new__(omero.model.DetailsI)
            made.__dict__.update(self._details[key])
            return made
        made = self.details(*key, self._row_permissions(kind, row))
        if shared:
            self._details[key] = dict(made.__dict__)
        return made

    def details(
        self,
        owner: int | None,
        group: int | None,
        creation: int | None,
        update: int | None,
        external: int | None,
        perms: Any,
    ) -> Any:
        """Return a Details object; its parts are loaded if the request has loaded them."""
        made = omero.model.DetailsI.__new__(omero.model.DetailsI)
        made.__dict__.update(
            _DETAILS,
            _owner=self._reference("Experimenter", owner),
            _group=self._reference("ExperimenterGroup", group),
            _creationEvent=self._reference("Event", creation),
            _updateEvent=self._reference("Event", update),
            _externalInfo=self._reference("ExternalInfo", external),
            _permissions=perms,
            _event=self._event_context,
            _call={},
        )
        return made

    @cached_property
    def _event_context(self) -> Any:
        return self._event()

    def new_permissions(self, perm1: int | None) -> Any:
        """Return permissions of a new object without an owner (groups have permissions of their own)."""
        return self._shared_permissions(perm1 if perm1 is not None else _NO_LEVEL, self.global_rights())

    def _row_permissions(self, kind: str, row: Any) -> Any:
        plan = row_plan(kind)
        if kind == "ExperimenterGroup":
            return self._shared_permissions(row[plan.places["permissions"]], self.global_rights())
        if not plan.is_owned:
            return self._shared_permissions(_NO_LEVEL, self.global_rights())
        owner, group = row[plan.details[0]], row[plan.details[1]]
        if kind == "OriginalFile" and self.caller.denied:
            return self._shared_permissions(self.group_level(group).perm1, self.rights(owner, group, file=row[0]))
        return self.permissions(owner, group)

    def permissions(self, owner: int, group: int) -> Any:
        """Return permissions of an object of that owner in that group, from the caller's view."""
        key = (owner, group)
        if key not in self._owned:
            level = self.group_level(group)
            self._owned[key] = self._shared_permissions(level.perm1, self.caller.rights(owner, group, level))
        return self._owned[key]

    def rights(self, owner: int, group: int, *, file: int | None = None) -> Rights:
        """Return what the caller may do to an object of that owner in that group; ``file`` is an OriginalFile's id."""
        domain = "Owned" if file is None or not self.caller.denied else privilege_domain(self.tx, file)
        return self.caller.rights(owner, group, self.group_level(group), domain)

    def global_rights(self) -> Rights:
        """Return what the caller may do to objects without an owner."""
        return ALL_RIGHTS if self.caller.is_admin else Rights(True, False, False, False, False, False)

    def _shared_permissions(self, perm1: int, rights: Rights) -> Any:
        key = (perm1, rights)
        if key not in self._permissions:
            self._permissions[key] = make_permissions(perm1, rights)
        return self._permissions[key]

    def group_level(self, group: int) -> GroupLevel:
        """Return the permission level of a group."""
        if group not in self._levels:
            row = self.tx.one("SELECT permissions FROM experimentergroup WHERE id = ?", (group,))
            if row is None:
                raise missing_row_error(entity("ExperimenterGroup").qualified, group)
            self._levels[group] = GroupLevel(row[0])
        return self._levels[group]
