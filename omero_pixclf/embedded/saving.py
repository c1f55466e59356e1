"""Object graphs from clients become rows, as IUpdate does it.

New objects are inserted, loaded ones with an id compared with their row and updated where they differ, unloaded ones are
references. The objects returned are the client's own: ids and details filled in, references loaded, unset collections
of new objects loaded and empty.
"""

from __future__ import annotations

import sqlite3
from functools import cache
from typing import Any

import omero
from omero import rtypes

from omero_pixclf.embedded.call import Call
from omero_pixclf.embedded.database import ids_parameter
from omero_pixclf.embedded.faults import fault, invalid, misuse, violation
from omero_pixclf.embedded.model import Entity, Field, entity, find_entity
from omero_pixclf.embedded.schema import DEFAULTS, pair_table, table

__all__ = ["Saver"]

_ANNOTATING = {("Roi", "Image"), ("Thumbnail", "Pixels"), ("RenderingDef", "Pixels")}  # ask for annotate, not for link


@cache
def _places(kind: str) -> dict[str, int]:
    return {name: i for i, name in enumerate(table(kind).columns)}


@cache
def _stored(kind: str) -> tuple[tuple[Field, int], ...]:
    """Properties of a class that stand in its row, and where."""
    places = _places(kind)
    fields = entity(kind).fields.values()
    return tuple((f, places[f.name]) for f in fields if f.kind not in ("children", "pairs"))


@cache
def _list_owners(kind: str) -> tuple[Field, ...]:
    """Back references of a class that belong to ordered collections: (owner's) collection fields."""
    from omero_pixclf.embedded.model import entities

    ancestors = entity(kind).ancestors
    found = {
        f.inverse: f for e in entities().values() for f in e.children.values() if f.ordered and f.target in ancestors
    }
    return tuple(found.values())


def _kind_of(obj: Any) -> Entity:
    found = find_entity(type(obj).__name__)
    if found is None:
        raise misuse(f"{type(obj).__name__} cannot be stored")
    return found


class Saver:
    """Saves graphs of one request; `flush` writes the rows."""

    def __init__(self, call: Call, *, lenient: bool = False) -> None:
        self.call = call
        self.graph = call.graph
        self.lenient = lenient  # references to nothing become null (saveAndReturnIds)
        self._seen: dict[int, Any] = {}
        self._keep: list[Any] = []  # what _seen's keys stand for must not be freed
        self._inserts: dict[str, list[list[Any]]] = {}
        self._pairs: list[tuple[str, int, list[Any]]] = []
        self._places: dict[int, tuple[str, int]] = {}
        self._new: list[tuple[Any, Entity, int, int, int]] = []
        self._changed: list[tuple[Entity, int, Any]] = []

    # ---- walking the graph -----------------------------------------------------------------------------------
    def save(self, obj: Any) -> Any:
        """Save an object with everything it reaches; returns the object that stands for it afterwards."""
        if obj is None:
            return None
        if id(obj) in self._seen:
            return self._seen[id(obj)]
        self._keep.append(obj)
        found = _kind_of(obj)
        if not obj._loaded:
            result = self._referenced(found, obj)
        elif found.is_enum:
            result = self._enumeration(found, obj)
        elif obj._id is None:
            result = self._insert(found, obj)
        else:
            result = self._update(found, obj)
        self._seen[id(obj)] = result
        return result

    def _referenced(self, found: Entity, obj: Any) -> Any:
        if obj._id is None:
            raise misuse(f"an unloaded {found.name} must have an id")
        return self.graph.get(found.name, obj._id._val)

    def _enumeration(self, found: Entity, obj: Any) -> Any:
        if obj._id is not None:
            return self.graph.get(found.name, obj._id._val)
        value = rtypes.unwrap(obj._value)
        row = self.call.tx.one(f"SELECT id FROM {table(found.name).name} WHERE value = ?", (value,))
        if row is None:
            raise invalid(f"{found.qualified} has no value {value}")
        return self.graph.get(found.name, row[0])

    def _insert(self, found: Entity, obj: Any) -> Any:
        if found.is_global and not self.call.caller.is_admin:
            raise violation(f"Cannot create {found.qualified}: only administrators may")
        ident = self.call.tx.new_id(table(found.name).name)
        self._seen[id(obj)] = obj
        self._visit_references(found, obj)
        row = self._row(found, obj)
        self._check_list(found, obj)
        self._check_present(found, row, _places(found.name))
        owner, group = self._ownership(found, obj)
        self._check_links(found, row)
        event = self.call.event_id
        places = _places(found.name)
        row[0] = ident
        for name, value in (
            ("kind", found.name),
            ("owner_id", owner),
            ("group_id", group),
            ("creation_id", event),
            ("update_id", event),
        ):
            if name in places:
                row[places[name]] = value
        for (kind, name), value in DEFAULTS.items():
            if kind == found.name and row[places[name]] is None:
                row[places[name]] = value
        if id(obj) in self._places:
            name, index = self._places[id(obj)]
            row[places[name]] = index
        self._inserts.setdefault(found.root, []).append(row)
        obj._id = rtypes.rlong(ident)
        self.graph.adopt(found.name, ident, obj)
        self._new.append((obj, found, ident, owner, group))
        self._collect_pairs(found, obj, ident)
        self._visit_collections(found, obj)
        return obj

    def _update(self, found: Entity, obj: Any) -> Any:
        ident = obj._id._val
        self._seen[id(obj)] = obj
        row = self._current(found, ident)
        self._check_fresh(found, obj, ident, row)
        self._visit_references(found, obj)
        wanted, places = self._row(found, obj), _places(found.name)
        for place in range(len(row)):
            if wanted[place] is None and table(found.name).columns[list(places)[place]].field is None:
                wanted[place] = row[place]
        for (kind, name), value in DEFAULTS.items():
            if kind == found.name and wanted[places[name]] is None:
                wanted[places[name]] = row[places[name]] if row[places[name]] is not None else value
        self._check_present(found, wanted, places)
        changed = [
            name for name, place in places.items() if wanted[place] != row[place] and wanted[place] == wanted[place]
        ]
        pairs = self._changed_pairs(found, obj, ident)
        if id(obj) in self._places:
            name, index = self._places[id(obj)]
            if row[places[name]] != index:
                self.call.tx.execute(f'UPDATE {table(found.name).name} SET "{name}" = ? WHERE id = ?', (index, ident))
        if changed or pairs:
            self._check_editable(found, ident, row, wanted)
            self._write_changes(found, ident, {name: wanted[places[name]] for name in changed})
            if pairs:
                self._collect_pairs(found, obj, ident)
        self.graph.adopt(found.name, ident, obj)
        self._changed.append((found, ident, obj))
        self._visit_collections(found, obj)
        self._delete_removed(found, obj, ident)
        return obj

    def _current(self, found: Entity, ident: int) -> Any:
        self.graph.load(found.name, [ident])
        stored = self.graph.row(found.name, ident)
        if stored is None:
            raise invalid("object no longer exists in database")
        return stored

    def _check_fresh(self, found: Entity, obj: Any, ident: int, row: Any) -> None:
        known = getattr(obj._details, "_updateEvent", None) if obj._details is not None else None
        place = _places(found.name).get("update_id")
        if known is None or known._id is None or place is None or not found.is_mutable:
            return
        if row[place] is not None and known._id._val != row[place]:
            raise fault(
                omero.OptimisticLockException,
                f"You are not authorized to change the update event for {found.qualified}:Id_{ident} from "
                f"ome.model.meta.Event:Id_{row[place]} to ome.model.meta.Event:Id_{known._id._val}",
            )

    def _write_changes(self, found: Entity, ident: int, values: dict[str, Any]) -> None:
        if "update_id" in _places(found.name):
            values["update_id"] = self.call.event_id
        sets = ", ".join(f'"{name}" = ?' for name in values)
        self.call.tx.execute(f"UPDATE {table(found.name).name} SET {sets} WHERE id = ?", (*values.values(), ident))

    def _visit_references(self, found: Entity, obj: Any) -> None:
        state = obj.__dict__
        for name in found.references:
            target = state.get("_" + name)
            if target is not None:
                state["_" + name] = self._reference(found, name, target)

    def _reference(self, found: Entity, name: str, target: Any) -> Any:
        try:
            return self.save(target)
        except omero.ValidationException:
            missing = not target._loaded and target._id is not None and not self._exists(target)
            if self.lenient and missing and found.fields[name].nullable:
                return None
            raise

    def _exists(self, target: Any) -> bool:
        where = table(_kind_of(target).name).name
        return self.call.tx.one(f"SELECT 1 FROM {where} WHERE id = ?", (target._id._val,)) is not None

    def _visit_collections(self, found: Entity, obj: Any) -> None:
        state = obj.__dict__
        for name, field in found.children.items():
            children = state.get(f"_{name}Seq")
            if not state.get(f"_{name}Loaded") or not children:
                continue
            self._visit_children(obj, field, children)
        return

    def _visit_children(self, obj: Any, field: Field, children: list[Any]) -> None:
        kept = []
        for place, child in enumerate(children):
            if child is None:
                kept.append(None)
                continue
            if field.ordered:
                self._places[id(child)] = (field.inverse + "_index", place)
            if child._loaded and getattr(child, "_" + field.inverse, None) is None:
                child.__dict__["_" + field.inverse] = obj
            kept.append(self.save(child))
        children[:] = kept

    # ---- rows ------------------------------------------------------------------------------------------------
    def _row(self, found: Entity, obj: Any) -> list[Any]:
        state = obj.__dict__
        row: list[Any] = [None] * len(_places(found.name))
        row[0] = obj._id._val if obj._id is not None else None
        if found.name == "ExperimenterGroup" and obj._details is not None and obj._details._permissions is not None:
            row[_places(found.name)["permissions"]] = obj._details._permissions._perm1
        for field, place in _stored(found.name):
            value = state["_" + field.name]
            if value is None:
                continue
            kind = field.kind
            if kind == "entity":
                row[place] = value._id._val
            elif kind == "unit":
                row[place], row[place + 1] = value._value, str(value._unit)
            elif kind == "bytes":
                row[place] = bytes(value)
            elif kind == "strings":
                row[place] = "\n".join(value)
            elif kind == "double":
                row[place] = value._val if value._val == value._val else "NaN"  # SQLite keeps no NaN
            else:
                row[place] = value._val
        return row

    def _check_present(self, found: Entity, row: list[Any], places: dict[str, int]) -> None:
        for field, place in _stored(found.name):
            if row[place] is None and not field.nullable and field.kind != "bytes":
                raise invalid(f"not-null property references a null or transient value: {found.qualified}.{field.name}")

    def _check_list(self, found: Entity, obj: Any) -> None:
        """Elements of ordered collections are saved through their owner only."""
        for field in _list_owners(found.name):
            owner = getattr(obj, "_" + field.inverse)
            strict = not found.fields[field.inverse].nullable
            if strict and owner is not None and id(obj) not in self._places and not self._will_place(owner, field, obj):
                raise fault(
                    omero.InternalException,
                    f"Wrapped Exception: {found.qualified} must be added to the collection {field.name} of its owner",
                )

    def _will_place(self, owner: Any, field: Field, obj: Any) -> bool:
        children = getattr(owner, f"_{field.name}Seq", None) or []
        for place, child in enumerate(children):
            if child is obj:
                self._places[id(obj)] = (field.inverse + "_index", place)
                return True
        return False

    def _ownership(self, found: Entity, obj: Any) -> tuple[int, int]:
        caller = self.call.caller
        if found.is_global:
            return caller.user_id, -1
        group = self.call.write_group
        owner = caller.user_id
        details = obj._details
        if details is not None and details._group is not None and details._group._id is not None:
            wanted = details._group._id._val
            if wanted != group and not (caller.is_admin or wanted in caller.member_of):
                raise violation(f"You are not authorized to set the group of {found.qualified}")
            group = wanted if caller.is_admin or wanted == group else group
        if details is not None and details._owner is not None and details._owner._id is not None:
            wanted = details._owner._id._val
            if wanted != owner and not caller.leads(group):
                raise violation(f"You are not authorized to set the ExperimenterID for {found.qualified}")
            owner = wanted
        return owner, group

    # ---- rights ----------------------------------------------------------------------------------------------
    def _check_links(self, found: Entity, row: list[Any]) -> None:
        """New references to others' objects need the right to annotate or to link."""
        for name, field in found.references.items():
            target_id = row[_places(found.name)[name]]
            if target_id is None or entity(field.target).is_global:
                continue
            stored = self.graph.row(field.target, target_id)
            if stored is None:
                continue  # made by this very request
            places = _places(field.target)
            if "owner_id" not in places:
                continue
            owner, group = stored[places["owner_id"]], stored[places["group_id"]]
            rights = self.graph.rights(owner, group)
            annotates = found.is_annotation_link or (found.name, field.target) in _ANNOTATING
            if not (rights.annotate if annotates else rights.link):
                self._refuse_link(field.target, target_id, group)

    def _refuse_link(self, kind: str, ident: int, group: int) -> None:
        level = self.graph.level(group)
        where = f"{entity(kind).qualified}:Id_{ident}"
        if not level.readable:
            raise fault(omero.ReadOnlyGroupSecurityViolation, f"Cannot link to {where}")
        raise violation(f"Group is {omero.model.PermissionsI(level.perm1)}. Cannot link to object: {where}")

    def _check_editable(self, found: Entity, ident: int, row: Any, wanted: list[Any]) -> None:
        places = _places(found.name)
        self._check_links(found, wanted)
        if "owner_id" in places:
            allowed = self.graph.rights(row[places["owner_id"]], row[places["group_id"]]).edit
        else:
            allowed = self.call.caller.is_admin
        if not allowed:
            raise violation(f"Updating {found.qualified}:Id_{ident} not allowed.")

    # ---- name-value pairs ------------------------------------------------------------------------------------
    def _pair_fields(self, found: Entity) -> list[Field]:
        return [f for f in found.fields.values() if f.kind == "pairs"]

    def _collect_pairs(self, found: Entity, obj: Any, ident: int) -> None:
        for field in self._pair_fields(found):
            self._pairs.append((pair_table(found, field), ident, list(getattr(obj, "_" + field.name) or [])))

    def _changed_pairs(self, found: Entity, obj: Any, ident: int) -> bool:
        for field in self._pair_fields(found):
            given = getattr(obj, "_" + field.name)
            if given is None and (found.root, field.name) == ("Experimenter", "config"):
                continue
            sql = f"SELECT name, value FROM {pair_table(found, field)} WHERE id = ? ORDER BY position"
            if [(p.name, p.value) for p in given or [] if p is not None] != self.call.tx.all(sql, (ident,)):
                return True
        return False

    # ---- the end ---------------------------------------------------------------------------------------------
    def flush(self) -> None:
        """Write all rows and give the saved objects their details."""
        try:
            for root, rows in self._inserts.items():
                marks = ", ".join("?" * len(rows[0]))
                self.call.tx.executemany(f"INSERT INTO {table(root).name} VALUES ({marks})", rows)
        except sqlite3.IntegrityError as error:
            raise invalid(f"could not insert: [{entity(root).qualified}]; {error}") from error
        for name, ident, pairs in self._pairs:
            self.call.tx.execute(f"DELETE FROM {name} WHERE id = ?", (ident,))
            rows = [(ident, i, p.name, p.value) for i, p in enumerate(pairs) if p is not None]
            self.call.tx.executemany(f"INSERT INTO {name} VALUES (?, ?, ?, ?)", rows)
        self._inserts, self._pairs = {}, []
        self._fill_details()

    def _fill_details(self) -> None:
        event = self.call.event_id if self._new else None
        if event is not None:
            self.graph.load("Event", [event])
            self.graph.load("Experimenter", [self.call.caller.user_id])
        for obj, found, _ident, owner, group in self._new:
            if found.is_global:
                given = getattr(obj._details, "_permissions", None)
                perms = self.graph.new_permissions(found.name, given._perm1 if given is not None else None)
                obj._details = self.graph.details(None, None, event, event, None, perms)
            else:
                self.graph.load("ExperimenterGroup", [group])
                obj._details = self.graph.details(
                    owner, group, event, event, None, self.graph.permissions(owner, group)
                )
            for name in found.children:
                if not getattr(obj, f"_{name}Loaded"):
                    setattr(obj, f"_{name}Loaded", True)
                    setattr(obj, f"_{name}Seq", [])
        for found, ident, obj in self._changed:
            self.graph.refresh_details(found.name, ident, obj)
        self.graph.finish()

    def _delete_removed(self, found: Entity, obj: Any, ident: int) -> None:
        """Delete the elements that a client took out of a loaded ordered collection."""
        for name, field in found.children.items():
            if not field.ordered or not getattr(obj, f"_{name}Loaded") or found.fields[name].nullable is False:
                continue
            if entity(field.target).fields[field.inverse].nullable:
                continue
            kept = [c._id._val for c in getattr(obj, f"_{name}Seq") if c is not None]
            if not kept:
                continue
            sql = (
                f'DELETE FROM {table(field.target).name} WHERE "{field.inverse}" = ? '
                "AND id NOT IN (SELECT value FROM json_each(?))"
            )
            self.call.tx.execute(sql, (ident, ids_parameter(kept)))
