"""References between objects that move to another group and objects that stay."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from omero_pixclf.embedded.commands.graph_traversal import Action, GraphTraversal
from omero_pixclf.embedded.commands.links import StoredObject, find_objects, referring_fields
from omero_pixclf.embedded.database.object_model import entity
from omero_pixclf.embedded.database.schema import table
from omero_pixclf.embedded.database.sqlite import ids_parameter

__all__ = ["CrossGroupReference", "find_cross_group_references", "find_referring_objects"]


class CrossGroupReference(NamedTuple):
    """A reference from an object to one with another decision."""

    kind: str  # class of the table
    name: str  # property
    nullable: bool
    item: StoredObject  # the object that refers
    target: tuple[str, int]


def find_cross_group_references(traversal: GraphTraversal) -> Iterator[CrossGroupReference]:
    """Yield all references between included objects and objects that stay; global objects are ignored."""
    for root, ids in traversal.ids_by_table(Action.INCLUDE).items():
        yield from _outgoing(traversal, root, ids)
        yield from _incoming(traversal, root, ids)


def _outgoing(traversal: GraphTraversal, root: str, ids: list[int]) -> Iterator[CrossGroupReference]:
    for field in table(root).fields.values():
        if field.kind != "entity" or entity(field.target).is_global or field.target == "ExternalInfo":
            continue
        sql = (
            f'SELECT id, "{field.name}" FROM {table(root).name} WHERE "{field.name}" IS NOT NULL '
            "AND id IN (SELECT value FROM json_each(?))"
        )
        target_root = entity(field.target).root
        for ident, target in traversal.tx.all(sql, (ids_parameter(ids),)):
            if not traversal.has_decision((target_root, target)):
                item = traversal.decisions[(root, ident)].item
                yield CrossGroupReference(root, field.name, field.nullable, item, (target_root, target))


def _incoming(traversal: GraphTraversal, root: str, ids: list[int]) -> Iterator[CrossGroupReference]:
    for kind, name, nullable in referring_fields(root):
        if entity(kind).is_global:
            continue
        for item, target in find_referring_objects(traversal, kind, name, ids):
            if not traversal.has_decision(item.key):
                yield CrossGroupReference(kind, name, nullable, item, (root, target))


def find_referring_objects(
    traversal: GraphTraversal, kind: str, name: str, ids: list[int]
) -> list[tuple[StoredObject, int]]:
    """Return (object, id) of the objects in a table that refer to some ids."""
    sql = f'SELECT id, "{name}" FROM {table(kind).name} WHERE "{name}" IN (SELECT value FROM json_each(?))'
    targets = dict(traversal.tx.all(sql, (ids_parameter(ids),)))
    return [(item, targets[item.id]) for item in find_objects(traversal.tx, kind, targets)] if targets else []
