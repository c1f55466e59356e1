"""Which class serves which of OMERO's services: adding a service is a file in services/ and a line here."""

from __future__ import annotations

from functools import cache
from importlib import import_module
from typing import Any

__all__ = ["STATEFUL", "STATELESS", "service_class"]

STATELESS = {
    "omero.api.IAdmin": "admin.Admin",
    "omero.api.IPixels": "pixels.Pixels",
    "omero.api.IQuery": "query.Query",
    "omero.api.IUpdate": "update.Update",
    "omero.grid.SharedResources": "resources.SharedResources",
}
STATEFUL: dict[str, str] = {
    "omero.api.RawFileStore": "file_store.RawFileStore",
    "omero.api.RawPixelsStore": "pixels_store.RawPixelsStore",
}


@cache
def service_class(name: str) -> Any:
    """The class registered for a service's name (``omero.api.IQuery``), or None."""
    where = STATELESS.get(name) or STATEFUL.get(name)
    if where is None:
        return None
    module, kind = where.split(".")
    return getattr(import_module(f"omero_pixclf.embedded.services.{module}"), kind)
