"""IUpdate: save and delete objects."""
# ruff: noqa: D102 - the operations are OMERO's and documented there

from __future__ import annotations

from typing import Any

import omero
import omero.api

from omero_pixclf.embedded.commands.delete import delete_objects
from omero_pixclf.embedded.commands.request_errors import RequestError
from omero_pixclf.embedded.database.object_model import Entity
from omero_pixclf.embedded.database.row_mapping import column_indexes, entity_of
from omero_pixclf.embedded.database.saving import Saver
from omero_pixclf.embedded.database.saving_rights import may_change_global
from omero_pixclf.embedded.server.exceptions import api_usage_error, omero_error, security_violation
from omero_pixclf.embedded.server.request_context import RequestContext
from omero_pixclf.embedded.server.servant import OmeroService, writes_database
from omero_pixclf.embedded.users.experimenters import require_admin

__all__ = ["UpdateService"]


class UpdateService(OmeroService):
    """omero.api.IUpdate."""

    interface = omero.api.IUpdate

    @writes_database
    def saveObject(self, call: RequestContext, obj: Any) -> None:
        self._save_one(call, obj)

    @writes_database
    def saveAndReturnObject(self, call: RequestContext, obj: Any) -> Any:
        return self._save_one(call, obj)

    @writes_database
    def saveArray(self, call: RequestContext, objects: list[Any]) -> None:
        self._save_all(call, objects)

    @writes_database
    def saveCollection(self, call: RequestContext, objects: list[Any]) -> None:
        self._save_all(call, objects)

    @writes_database
    def saveAndReturnArray(self, call: RequestContext, objects: list[Any]) -> list[Any]:
        return self._save_all(call, objects)

    @writes_database
    def saveAndReturnIds(self, call: RequestContext, objects: list[Any]) -> list[int]:
        if any(o is None for o in objects):
            raise api_usage_error("attempt to create saveOrUpdate event with null entity")
        saver = Saver(call, lenient=True, of_client=True)
        saved = [saver.save(o) for o in objects]
        saver.flush()
        return [o._id._val for o in saved]

    def indexObject(self, call: RequestContext, obj: Any) -> None:
        require_admin(call)  # there is no index: searches read the texts

    @writes_database
    def deleteObject(self, call: RequestContext, obj: Any) -> None:
        if obj is None or obj._id is None:
            raise api_usage_error("Non-managed IObject entity cannot be deleted. Must have an id.")
        found, ident = entity_of(obj), obj._id._val
        call.graph.get(found.name, ident)
        if not self._may_delete(call, found, ident):
            raise security_violation(f"Deleting {found.qualified}:Id_{ident} not allowed.")
        try:
            delete_objects(call, {found.name: [ident]})
        except RequestError as refused:
            raise security_violation(f"Deleting {found.qualified}:Id_{ident} not allowed: {refused}") from refused

    def _may_delete(self, call: RequestContext, found: Entity, ident: int) -> bool:
        row, where = call.graph.stored_row(found.name, ident), column_indexes(found.name)
        if "owner_id" not in where:
            return may_change_global(call, found)
        file = ident if found.name == "OriginalFile" else None
        return call.graph.rights(row[where["owner_id"]], row[where["group_id"]], file=file).delete

    def _save_one(self, call: RequestContext, obj: Any) -> Any:
        if obj is None:
            raise api_usage_error("Argument to save cannot be null.")
        return self._save_all(call, [obj])[0]

    def _save_all(self, call: RequestContext, objects: list[Any]) -> list[Any]:
        if any(o is None for o in objects):
            raise omero_error(omero.InternalException, "Wrapped Exception: an object to save is null")
        saver = Saver(call, of_client=True)
        saved = [saver.save(o) for o in objects]
        saver.flush()
        return saved
