"""IUpdate: saving and deleting objects."""
# ruff: noqa: D102 - the operations are OMERO's and documented there

from __future__ import annotations

from typing import Any

import omero
import omero.api

from omero_pixclf.embedded.call import Call
from omero_pixclf.embedded.faults import fault, misuse
from omero_pixclf.embedded.saving import Saver
from omero_pixclf.embedded.service import Service, changes

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
        saver = Saver(call, lenient=True)
        saved = [saver.save(o) for o in objects]
        saver.flush()
        return [o._id._val for o in saved]

    def _save_one(self, call: Call, obj: Any) -> Any:
        if obj is None:
            raise misuse("Argument to save cannot be null.")
        return self._save_all(call, [obj])[0]

    def _save_all(self, call: Call, objects: list[Any]) -> list[Any]:
        if any(o is None for o in objects):
            raise fault(omero.InternalException, "Wrapped Exception: an object to save is null")
        saver = Saver(call)
        saved = [saver.save(o) for o in objects]
        saver.flush()
        return saved
