"""Saving of clients' object graphs as rows, as IUpdate does it.

New objects are inserted. Loaded objects with an id are compared with their row and updated if they differ. Unloaded
objects are references. The returned objects are the client's own, with ids, details and loaded references; unset
collections of new objects are loaded and empty.
"""

from __future__ import annotations

import sqlite3
from typing import Any

import omero
from omero import rtypes

from omero_pixclf.embedded.database.event_log import log_event, log_events
from omero_pixclf.embedded.database.namespaces import insert_namespaces
from omero_pixclf.embedded.database.object_model import Entity, Field, entity
from omero_pixclf.embedded.database.row_mapping import (
    ListPosition,
    changed_columns,
    check_values,
    column_indexes,
    entity_of,
    fill_defaults,
    owning_lists,
    pair_fields,
    row_from_object,
    unload_empty_collections,
)
from omero_pixclf.embedded.database.saving_rights import (
    changed_ownership,
    check_editable,
    check_links,
    check_not_stale,
    check_repository,
    may_change_global,
    new_owner_and_group,
)
from omero_pixclf.embedded.database.schema import pair_table, table
from omero_pixclf.embedded.database.sqlite import ids_parameter
from omero_pixclf.embedded.server.exceptions import api_usage_error, omero_error, security_violation, validation_error
from omero_pixclf.embedded.server.request_context import RequestContext

__all__ = ["Saver"]

_MASK = "********"


class Saver:
    """Saves the object graphs of one request; `flush` writes the rows."""

    def __init__(self, call: RequestContext, *, lenient: bool = False, of_client: bool = False) -> None:
        self.call = call
        self.graph = call.graph
        self.of_client = of_client  # clients may not set the repository of a file
        self.lenient = lenient  # references to missing objects become null (saveAndReturnIds)
        self._seen: dict[int, Any] = {}
        self._keep: list[Any] = []  # keeps objects alive whose id() is a key of _seen
        self._inserts: dict[str, list[list[Any]]] = {}
        self._pairs: list[tuple[str, int, list[Any]]] = []
        self._listed: dict[
            int, ListPosition
        ] = {}  # elements of ordered collections that were reached through their owner
        self._new: list[tuple[Any, Entity, int, int]] = []
        self._changed: list[tuple[Entity, int, Any]] = []
        self._written: dict[str, list[int]] = {}  # ids of changed rows by the server's name of their class

    # ---- walking the graph -----------------------------------------------------------------------------------
    def save(self, obj: Any) -> Any:
        """Save an object with all objects that it refers to; return the object that represents it afterwards."""
        if obj is None:
            return None
        if id(obj) in self._seen:
            return self._seen[id(obj)]
        self._keep.append(obj)
        found = entity_of(obj)
        if not obj._loaded:
            result = self._load_reference(found, obj)
        elif found.is_enum:
            result = self._enumeration(found, obj)
        elif obj._id is None:
            result = self._insert(found, obj)
        else:
            result = self._update(found, obj)
        self._seen[id(obj)] = result
        return result

    def _load_reference(self, found: Entity, obj: Any) -> Any:
        if obj._id is None:
            raise api_usage_error(f"an unloaded {found.name} must have an id")
        return self.graph.get(found.name, obj._id._val)

    def _enumeration(self, found: Entity, obj: Any) -> Any:
        if obj._id is not None:
            return self._known_enumeration(found, obj)
        value = rtypes.unwrap(obj._value)
        row = self.call.tx.one(f"SELECT id FROM {table(found.name).name} WHERE value = ?", (value,))
        if row is not None:
            return self.graph.get(found.name, row[0])
        if not self.call.caller.is_admin:
            raise validation_error(f"{found.qualified} has no value {value}")
        return self._insert(found, obj)

    def _known_enumeration(self, found: Entity, obj: Any) -> Any:
        """Return the stored enumeration value; a client that may do so can change its text for everybody."""
        stored = self.graph.get(found.name, obj._id._val)
        given = {field.name: getattr(obj, "_" + field.name) for field in found.fields.values()}
        same = all(rtypes.unwrap(v) == rtypes.unwrap(getattr(stored, "_" + name)) for name, v in given.items())
        return stored if same else self._update(found, obj)

    def _insert(self, found: Entity, obj: Any) -> Any:
        if found.is_global and not may_change_global(self.call, found):
            raise security_violation(f"Cannot create {found.qualified}: only administrators may")
        ident = self.call.tx.new_id(table(found.name).name)
        obj._id = rtypes.rlong(ident)
        self._seen[id(obj)] = obj
        self.graph.register(found.name, ident, obj)
        self._check_list(found, obj)
        self._visit_references(found, obj)
        row = row_from_object(found, obj)
        check_values(found, row)
        if self.of_client:
            check_repository(found, row)
        owner, group = new_owner_and_group(self.call, found, obj, row)
        check_links(self.call, found, row, owner, group)
        self._complete(found, obj, row, owner, group)
        self._inserts.setdefault(found.root, []).append(row)
        self._new.append((obj, found, owner, group))
        self._collect_pairs(found, obj, ident)
        self._visit_collections(found, obj)
        return obj

    def _complete(self, found: Entity, obj: Any, row: list[Any], owner: int, group: int) -> None:
        """Set the columns that clients do not set: class, details, position in a collection."""
        event = self.call.event_id
        own = {"kind": found.name, "owner_id": owner, "group_id": group, "creation_id": event, "update_id": event}
        own["external_id"] = self._external(obj)
        listed = self._listed.get(id(obj))
        where = column_indexes(found.name)
        for column, value in {**own, **(listed.columns if listed else {})}.items():
            if column in where:
                row[where[column]] = value
        fill_defaults(found, row)

    def _external(self, obj: Any) -> int | None:
        """Save the external information in an object's details; return its id."""
        given = obj._details._externalInfo if obj._details is not None else None
        return int(self.save(given)._id._val) if given is not None else None

    def _update(self, found: Entity, obj: Any) -> Any:
        ident = obj._id._val
        self._seen[id(obj)] = obj
        current = self._current(found, ident)
        check_not_stale(found, obj, ident, current)
        self._visit_references(found, obj)
        wanted = self._wanted_row(found, obj, current)
        if self.of_client:
            check_repository(found, wanted, current)
        changed = changed_columns(found, wanted, current)
        changed.update(changed_ownership(self.call, found, obj, ident, current))
        pairs = self._pairs_differ(found, obj, ident)
        if changed or pairs:
            check_editable(self.call, found, ident, current, wanted)
            self._write_changes(found, ident, changed)
            self._written.setdefault(found.qualified, []).append(ident)
        if pairs:
            self._collect_pairs(found, obj, ident)
        self._store_place(found, obj, ident, current)
        self.graph.register(found.name, ident, obj)
        self._changed.append((found, ident, obj))
        self._visit_collections(found, obj)
        self._delete_removed(found, obj, ident)
        self._cut_links(found, obj, ident)
        unload_empty_collections(found, obj)
        return obj

    def _current(self, found: Entity, ident: int) -> Any:
        self.graph.load(found.name, [ident])
        stored = self.graph.stored_row(found.name, ident)
        if stored is None:
            raise validation_error("object no longer exists in database")
        return stored

    def _wanted_row(self, found: Entity, obj: Any, current: Any) -> list[Any]:
        wanted = row_from_object(found, obj)
        for place, column in enumerate(table(found.name).columns.values()):
            if column.field is None and wanted[place] is None:
                wanted[place] = current[place]
        self._keep_external(found, obj, current, wanted)
        for field in owning_lists(found.name):  # the owner's collection decides, not the element
            wanted[column_indexes(found.name)[field.inverse]] = current[column_indexes(found.name)[field.inverse]]
        fill_defaults(found, wanted, current)
        check_values(found, wanted)
        return wanted

    def _keep_external(self, found: Entity, obj: Any, current: Any, wanted: list[Any]) -> None:
        """Refuse changes of external information, which is set once."""
        external, place = self._external(obj), column_indexes(found.name)["external_id"]
        if external is not None and current[place] not in (None, external):
            raise security_violation(f"Cannot update ExternalInfo for {found.qualified}:Id_{current[0]}")
        wanted[place] = external if external is not None else current[place]

    def _write_changes(self, found: Entity, ident: int, values: dict[str, Any]) -> None:
        if "update_id" in column_indexes(found.name):
            values["update_id"] = self.call.event_id
        if found.root == "Annotation":
            insert_namespaces(self.call.tx, [values.get("ns")])
        sets = ", ".join(f'"{name}" = ?' for name in values)
        try:
            self.call.tx.execute(f"UPDATE {table(found.name).name} SET {sets} WHERE id = ?", (*values.values(), ident))
        except sqlite3.IntegrityError as error:
            raise validation_error(f"could not update: [{found.qualified}#{ident}]; {error}") from error

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
        where = table(entity_of(target).name).name
        return self.call.tx.one(f"SELECT 1 FROM {where} WHERE id = ?", (target._id._val,)) is not None

    # ---- collections -----------------------------------------------------------------------------------------
    def _visit_collections(self, found: Entity, obj: Any) -> None:
        state = obj.__dict__
        for name, field in found.children.items():
            children = state.get(f"_{name}Seq")
            if state.get(f"_{name}Loaded") and children:
                children[:] = [self._child(obj, field, child, place) for place, child in enumerate(children)]

    def _child(self, owner: Any, field: Field, child: Any, place: int) -> Any:
        if child is None:
            return None
        if field.ordered:
            self._listed[id(child)] = ListPosition(field.inverse, owner, place)
        if child._loaded and getattr(child, "_" + field.inverse, None) is None:
            child.__dict__["_" + field.inverse] = owner
        return self.save(child)

    def _check_list(self, found: Entity, obj: Any) -> None:
        """Refuse elements of ordered collections that are not saved through their owner."""
        for field in owning_lists(found.name):
            owner = getattr(obj, "_" + field.inverse)
            if owner is None or found.fields[field.inverse].nullable or id(obj) in self._listed:
                continue
            siblings = [id(child) for child in getattr(owner, f"_{field.name}Seq", None) or []]
            if id(obj) not in siblings:
                raise omero_error(
                    omero.InternalException,
                    f"Wrapped Exception: {found.qualified} must be added to the collection {field.name} of its owner",
                )
            self._listed[id(obj)] = ListPosition(field.inverse, owner, siblings.index(id(obj)))

    def _store_place(self, found: Entity, obj: Any, ident: int, current: Any) -> None:
        """Store owner and position of an element that was saved through its owner's ordered collection."""
        listed = self._listed.get(id(obj))
        if listed is None or all(current[column_indexes(found.name)[name]] == v for name, v in listed.columns.items()):
            return
        sets = ", ".join(f'"{name}" = ?' for name in listed.columns)
        self.call.tx.execute(
            f"UPDATE {table(found.name).name} SET {sets} WHERE id = ?", (*listed.columns.values(), ident)
        )

    def _delete_removed(self, found: Entity, obj: Any, ident: int) -> None:
        """Delete the elements that a client removed from a loaded ordered collection."""
        for name, field in found.children.items():
            if not field.ordered or entity(field.target).fields[field.inverse].nullable:
                continue
            kept = [c._id._val for c in getattr(obj, f"_{name}Seq") or [] if c is not None]
            if not getattr(obj, f"_{name}Loaded") or not kept:
                continue
            where = (
                f'{table(field.target).name} WHERE "{field.inverse}" = ? AND id NOT IN (SELECT value FROM json_each(?))'
            )
            gone = [row[0] for row in self.call.tx.all(f"SELECT id FROM {where}", (ident, ids_parameter(kept)))]
            self.call.tx.execute(f"DELETE FROM {where}", (ident, ids_parameter(kept)))
            log_event(self.call, "DELETE", entity(field.target).qualified, gone)

    def _cut_links(self, found: Entity, obj: Any, ident: int) -> None:
        """Delete the links that are missing in a loaded collection of links, as Hibernate does with orphans.

        A saved object has loaded collections: if it is saved again, links made in between are deleted.
        """
        for name, field in found.children.items():
            link = entity(field.target)
            if link.is_link and not link.is_global and getattr(obj, f"_{name}Loaded"):
                kept = {child._id._val for child in getattr(obj, f"_{name}Seq") if child is not None}
                self._delete_links(link, field.inverse, ident, kept)

    def _delete_links(self, link: Entity, end: str, ident: int, kept: set[int]) -> None:
        where, seen = table(link.name).name, self.call.caller.filter_sql(table(link.name).name)
        sql = f'SELECT id, owner_id, group_id FROM {where} WHERE "{end}" = ?{" AND " + seen if seen else ""}'
        gone = [row for row in self.call.tx.all(sql, (ident,)) if row[0] not in kept]
        for link_id, owner, group in gone:
            if not self.graph.rights(owner, group).delete:
                raise security_violation(f"Deleting {link.qualified}:Id_{link_id} not allowed.")
        self.call.tx.executemany(f"DELETE FROM {where} WHERE id = ?", [(row[0],) for row in gone])
        log_event(self.call, "DELETE", link.qualified, [row[0] for row in gone])

    # ---- name-value pairs ------------------------------------------------------------------------------------
    def _collect_pairs(self, found: Entity, obj: Any, ident: int) -> None:
        for field in pair_fields(found.name):
            self._pairs.append((pair_table(found, field), ident, list(getattr(obj, "_" + field.name) or [])))

    def _pairs_differ(self, found: Entity, obj: Any, ident: int) -> bool:
        for field in pair_fields(found.name):
            given = getattr(obj, "_" + field.name)
            if given is None and (found.root, field.name) == ("Experimenter", "config"):
                continue  # never sent to clients, so never sent back
            sql = f"SELECT name, value FROM {pair_table(found, field)} WHERE id = ? ORDER BY position"
            if [(p.name, p.value) for p in given or [] if p is not None] != self.call.tx.all(sql, (ident,)):
                return True
        return False

    # ---- the end ---------------------------------------------------------------------------------------------
    def flush(self) -> None:
        """Write all rows and set the details of the saved objects."""
        try:
            for root, rows in self._inserts.items():
                marks = ", ".join("?" * len(rows[0]))
                self.call.tx.executemany(f"INSERT INTO {table(root).name} VALUES ({marks})", rows)
                if root == "Annotation":
                    insert_namespaces(self.call.tx, [row[column_indexes(root)["ns"]] for row in rows])
        except sqlite3.IntegrityError as error:
            raise validation_error(f"could not insert: [{entity(root).qualified}]; {error}") from error
        for name, ident, pairs in self._pairs:
            self.call.tx.execute(f"DELETE FROM {name} WHERE id = ?", (ident,))
            values = [(ident, i, p.name, p.value) for i, p in enumerate(pairs) if p is not None]
            self.call.tx.executemany(f"INSERT INTO {name} VALUES (?, ?, ?, ?)", values)
        self._inserts, self._pairs = {}, []
        self._log()
        self._fill_details()

    def _log(self) -> None:
        made: dict[str, list[int]] = {}
        for obj, found, *_ in self._new:
            made.setdefault(found.qualified, []).append(obj._id._val)
        log_events(self.call, "INSERT", made)
        log_events(self.call, "UPDATE", self._written)

    def _fill_details(self) -> None:
        if self._new or self._written:
            self._load_event()
        if self._new:
            self.graph.load("Experimenter", [self.call.caller.user_id])
            self.graph.load("ExperimenterGroup", {group for *_, group in self._new if group >= 0})
        for obj, found, owner, group in self._new:
            obj._details = self._details(found, obj, owner, group)
            for name in found.children:
                if not getattr(obj, f"_{name}Loaded"):
                    setattr(obj, f"_{name}Loaded", True)
                    setattr(obj, f"_{name}Seq", [])
        for found, ident, obj in self._changed:
            self.graph.refresh_details(found.name, ident, obj)
        self._new, self._changed, self._written = [], [], {}
        self.graph.finish_loading()

    def _load_event(self) -> None:
        """Load the event of this request with its session; the session's uuid is masked: it works like a password."""
        self.graph.load("Event", [self.call.event_id])
        session = self.graph.load("Session", [self.call.session.ident]).get(self.call.session.ident)
        if session is not None:
            session._uuid = rtypes.rstring(_MASK)

    def _details(self, found: Entity, obj: Any, owner: int, group: int) -> Any:
        event = self.call.event_id
        if not found.is_global:
            external, rights = self._external(obj), self.graph.permissions(owner, group)
            return self.graph.details(owner, group, event, event, external, rights)
        given = obj._details._permissions if obj._details is not None else None
        perms = self.graph.new_permissions(given._perm1 if given is not None else None)
        return self.graph.details(None, None, event, event, None, perms)
