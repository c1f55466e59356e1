"""IQuery: objects by id, by example and by HQL."""

from __future__ import annotations

from typing import Any

import omero.api

from omero_pixclf.embedded.call import Call
from omero_pixclf.embedded.faults import misuse
from omero_pixclf.embedded.model import Entity, find_entity
from omero_pixclf.embedded.service import Service

__all__ = ["Query"]


def concrete_class(name: str) -> Entity:
    """The instantiable class of that name; ApiUsageException otherwise."""
    found = find_entity(name)
    if found is None or found.abstract:
        raise misuse(f"{name} does not specify a valid class.")
    return found


class Query(Service):
    """omero.api.IQuery."""

    interface = omero.api.IQuery

    def get(self, call: Call, klass: str, ident: int) -> Any:
        found = call.graph.get(concrete_class(klass).name, ident)
        call.graph.finish()
        return found

    def find(self, call: Call, klass: str, ident: int) -> Any:
        found = call.graph.find(concrete_class(klass).name, ident)
        call.graph.finish()
        return found
