"""ITypes: OMERO's enumerations."""
# ruff: noqa: D102 - the operations are OMERO's and documented there

from __future__ import annotations

from typing import Any

import omero.api
from omero.rtypes import rint, rstring

from omero_pixclf.embedded.database.enumerations import BIT_SIZES, VALUES
from omero_pixclf.embedded.database.object_model import Entity, entities, entity, find_entity
from omero_pixclf.embedded.database.saving import Saver
from omero_pixclf.embedded.database.schema import table
from omero_pixclf.embedded.server.exceptions import api_usage_error, validation_error
from omero_pixclf.embedded.server.request_context import RequestContext
from omero_pixclf.embedded.server.servant import OmeroService, without_transaction, writes_database
from omero_pixclf.embedded.users.experimenters import require_admin

__all__ = ["TypesService"]


class TypesService(OmeroService):
    """omero.api.ITypes."""

    interface = omero.api.ITypes

    # ---- reading ---------------------------------------------------------------------------------------------
    def allEnumerations(self, call: RequestContext, kind: str) -> list[Any]:
        return _all(call, _enumeration(kind))

    def getEnumeration(self, call: RequestContext, kind: str, value: str) -> Any:
        found = _enumeration(kind)
        row = call.tx.one(f"SELECT id FROM {table(found.name).name} WHERE value = ?", (value,))
        if row is None:
            raise api_usage_error(f"An {found.qualified} enum does not exist with the value: {value}")
        made = call.graph.get(found.name, row[0])
        call.graph.finish_loading()
        return made

    @without_transaction
    def getEnumerationTypes(self, context: Any) -> list[str]:
        return [found.name for found in _enumerations()]

    @without_transaction
    def getAnnotationTypes(self, context: Any) -> list[str]:
        return list(entity("Annotation").concrete)

    def getEnumerationsWithEntries(self, call: RequestContext) -> dict[str, list[Any]]:
        return {found.name: _all(call, found) for found in _enumerations()}

    @without_transaction
    def getOriginalEnumerations(self, context: Any) -> list[Any]:
        return [_new_enumeration(kind, value) for kind, values in VALUES.items() for value in values]

    # ---- writing ---------------------------------------------------------------------------------------------
    @writes_database
    def createEnumeration(self, call: RequestContext, value: Any) -> Any:
        found = _enumeration(type(value).__name__)
        text = value._value._val if value._value is not None else None
        if not text:
            raise api_usage_error(f"a new {found.name} needs a value")
        if call.tx.one(f"SELECT 1 FROM {table(found.name).name} WHERE value = ?", (text,)) is not None:
            raise validation_error(f"could not insert: [{found.qualified}]: there is a value {text} already")
        ident = call.tx.new_id(table(found.name).name)
        call.tx.execute(f"INSERT INTO {table(found.name).name} (id, value) VALUES (?, ?)", (ident, text))
        made = call.graph.get(found.name, ident)
        call.graph.finish_loading()
        return made

    @writes_database
    def updateEnumeration(self, call: RequestContext, value: Any) -> Any:
        require_admin(call)
        saver = Saver(call)
        saved = saver.save(value)
        saver.flush()
        return saved

    @writes_database
    def updateEnumerations(self, call: RequestContext, values: list[Any]) -> None:
        require_admin(call)
        saver = Saver(call)
        for value in values:
            saver.save(value)
        saver.flush()

    @writes_database
    def deleteEnumeration(self, call: RequestContext, value: Any) -> None:
        require_admin(call)
        found = _enumeration(type(value).__name__)
        if value._id is None:
            raise api_usage_error(f"a {found.name} without id cannot be deleted")
        call.tx.execute(f"DELETE FROM {table(found.name).name} WHERE id = ?", (value._id._val,))

    @writes_database
    def resetEnumerations(self, call: RequestContext, kind: str) -> None:
        """Insert the values of a new server that were deleted."""
        require_admin(call)
        found = _enumeration(kind)
        name = table(found.name).name
        present = {row[0] for row in call.tx.all(f"SELECT value FROM {name}")}
        for value in VALUES.get(found.name, ()):
            if value not in present:
                call.tx.execute(f"INSERT INTO {name} (id, value) VALUES (?, ?)", (call.tx.new_id(name), value))


def _enumerations() -> list[Entity]:
    return [found for found in entities().values() if not found.abstract and found.is_enum]


def _enumeration(kind: str) -> Entity:
    found = find_entity(kind)
    if found is None or found.abstract or not found.is_enum:
        raise api_usage_error(f"{kind} does not specify a valid class.")
    return found


def _all(call: RequestContext, found: Entity) -> list[Any]:
    ids = [row[0] for row in call.tx.all(f"SELECT id FROM {table(found.name).name} ORDER BY id")]
    loaded = call.graph.load(found.name, ids)
    call.graph.finish_loading()
    return [loaded[ident] for ident in ids]


def _new_enumeration(kind: str, value: str) -> Any:
    made = entity(kind).factory()
    made.value = rstring(value)
    if "bitSize" in entity(kind).fields:
        made.bitSize = rint(BIT_SIZES[value])
    return made
