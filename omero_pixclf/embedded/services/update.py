"""IUpdate: saving and deleting objects."""
# ruff: noqa: D102 - the operations are OMERO's and documented there

from __future__ import annotations

from typing import Any

import omero
import omero.api

from omero_pixclf.embedded.commands.delete import delete_objects
from omero_pixclf.embedded.commands.request_errors import Refused
from omero_pixclf.embedded.database.object_model import Entity
from omero_pixclf.embedded.database.row_mapping import kind_of, places
from omero_pixclf.embedded.database.saving import Saver
from omero_pixclf.embedded.database.saving_rights import may_alter
from omero_pixclf.embedded.server.exceptions import fault, misuse, violation
from omero_pixclf.embedded.server.request_context import Call
from omero_pixclf.embedded.server.servant import Service, changes
from omero_pixclf.embedded.users.experimenters import must_administer

__all__ = ["Update"]


class Update(Service):
    """omero.api.IUpdate."""

    interface = omero.api.IUpdate

    @changes
    def saveObject(self, call: Call, obj: Any) -> None:
        self._save_one(call, obj)

    @changes
    def saveAndReturnObject(self, call: Call, obj: Any) -> Any:
        return self._save_one(call, obj)

    @changes
    def saveArray(self, call: Call, objects: list[Any]) -> None:
        self._save_all(call, objects)

    @changes
    def saveCollection(self, call: Call, objects: list[Any]) -> None:
        self._save_all(call, objects)

    @changes
    def saveAndReturnArray(self, call: Call, objects: list[Any]) -> list[Any]:
        return self._save_all(call, objects)

    @changes
    def saveAndReturnIds(self, call: Call, objects: list[Any]) -> list[int]:
        if any(o is None for o in objects):
            raise misuse("attempt to create saveOrUpdate event with null entity")
        saver = Saver(call, lenient=True, of_client=True)
        saved = [saver.save(o) for o in objects]
        saver.flush()
        return [o._id._val for o in saved]

    def indexObject(self, call: Call, obj: Any) -> None:
        must_administer(call)  # there is no index: searches read the words themselves

    @changes
    def deleteObject(self, call: Call, obj: Any) -> None:
        if obj is None or obj._id is None:
            raise misuse("Non-managed IObject entity cannot be deleted. Must have an id.")
        found, ident = kind_of(obj), obj._id._val
        call.graph.get(found.name, ident)
        if not self._may_delete(call, found, ident):
            raise violation(f"Deleting {found.qualified}:Id_{ident} not allowed.")
        try:
            delete_objects(call, {found.name: [ident]})
        except Refused as refused:
            raise violation(f"Deleting {found.qualified}:Id_{ident} not allowed: {refused}") from refused

    def _may_delete(self, call: Call, found: Entity, ident: int) -> bool:
        row, where = call.graph.row(found.name, ident), places(found.name)
        if "owner_id" not in where:
            return may_alter(call, found)
        file = ident if found.name == "OriginalFile" else None
        return call.graph.rights(row[where["owner_id"]], row[where["group_id"]], file=file).delete

    def _save_one(self, call: Call, obj: Any) -> Any:
        if obj is None:
            raise misuse("Argument to save cannot be null.")
        return self._save_all(call, [obj])[0]

    def _save_all(self, call: Call, objects: list[Any]) -> list[Any]:
        if any(o is None for o in objects):
            raise fault(omero.InternalException, "Wrapped Exception: an object to save is null")
        saver = Saver(call, of_client=True)
        saved = [saver.save(o) for o in objects]
        saver.flush()
        return saved
