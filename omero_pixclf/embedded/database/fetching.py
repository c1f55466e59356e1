"""Fetching of associated objects along a path, like the 'join fetch' of OMERO's services."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from omero_pixclf.embedded.database.object_model import entity
from omero_pixclf.embedded.database.schema import table
from omero_pixclf.embedded.database.sqlite import ids_parameter
from omero_pixclf.embedded.server.request_context import RequestContext

__all__ = ["load_path", "readable_ids"]


def readable_ids(call: RequestContext, kind: str, ids: Iterable[int]) -> list[int]:
    """Return those ids that exist and that the caller may read, in ascending order."""
    name = table(kind).name  # users and groups are visible to everybody
    condition = "" if table(kind).root.is_global else call.caller.filter_sql(name)
    sql = (
        f"SELECT id FROM {name} WHERE id IN (SELECT value FROM json_each(?)){' AND ' + condition if condition else ''}"
    )
    return sorted(row[0] for row in call.tx.all(sql, (ids_parameter(ids),)))


def load_path(call: RequestContext, kind: str, ids: Iterable[int], path: str) -> None:
    """Load the objects that a dotted path of references and collections leads to.

    ``load_path(call, "Pixels", [3], "channels.statsInfo")`` loads the channels of a Pixels object and their
    statistics; the object itself is loaded too. `ObjectGraph.finish_loading` then resolves the references.
    """
    current, at = list(ids), kind
    call.graph.load(at, current)
    for name in path.split("."):
        current, at = _step(call, at, current, name)


def _step(call: RequestContext, kind: str, ids: list[int], name: str) -> tuple[list[int], str]:
    found = entity(kind)
    if name in found.children:
        owners = call.graph.load(kind, ids).values()
        if owners and all(getattr(o, f"_{name}Loaded") for o in owners):
            loaded_already = [c._id._val for o in owners for c in getattr(o, f"_{name}Seq") if c is not None]
            return loaded_already, found.children[name].target
        return call.graph.load_children(kind, ids, name), found.children[name].target
    target: Any = found.fields[name].target
    sql = (
        f'SELECT DISTINCT "{name}" FROM {table(kind).name} WHERE id IN (SELECT value FROM json_each(?)) '
        f'AND "{name}" IS NOT NULL'
    )
    loaded = call.graph.load(target, [row[0] for row in call.tx.all(sql, (ids_parameter(ids),))])
    return list(loaded), target
