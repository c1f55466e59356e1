"""Relations of stored objects: properties and link classes of the model as pairs of holder and member."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from typing import NamedTuple

from omero_pixclf.embedded.database.object_model import entities, entity
from omero_pixclf.embedded.database.schema import table
from omero_pixclf.embedded.database.sqlite import Transaction, ids_parameter

__all__ = [
    "RelatedPair",
    "Relation",
    "StoredObject",
    "annotation_links",
    "find_objects",
    "format_object",
    "is_kind",
    "link_classes",
    "referring_fields",
    "relation",
]


class StoredObject(NamedTuple):
    """A stored object: its class, id, owner and group (None for global objects)."""

    kind: str
    id: int
    owner: int | None
    group: int | None

    @property
    def key(self) -> tuple[str, int]:
        """The key of an object: root class of its table, and id."""
        return entity(self.kind).root, self.id


class RelatedPair(NamedTuple):
    """One pair of a relation: the given id, the related object, and the row that relates them."""

    known: int
    other: StoredObject
    row: int


@dataclass(frozen=True)
class Relation:
    """A relation of holders and members, stored in the rows of one table.

    Examples: ``Roi.shapes`` (a ROI holds shapes), ``Image.instrument``, ``DatasetImageLink`` (a dataset holds images).
    """

    text: str
    holder: str
    member: str
    where: str  # class whose table stores the pairs
    holder_column: str
    member_column: str

    def members(self, tx: Transaction, holders: Iterable[int]) -> list[RelatedPair]:
        """Return all members of some holders."""
        return self._pairs(tx, holders, self.holder_column, self.member, self.member_column)

    def holders(self, tx: Transaction, members: Iterable[int]) -> list[RelatedPair]:
        """Return all holders of some members."""
        return self._pairs(tx, members, self.member_column, self.holder, self.holder_column)

    def _pairs(self, tx: Transaction, ids: Iterable[int], known: str, kind: str, wanted: str) -> list[RelatedPair]:
        pairs = table(self.where)
        own = wanted == "id"
        source = pairs.name if own else f'{pairs.name} p JOIN {table(kind).name} x ON x.id = p."{wanted}"'
        p, x = ("", "") if own else ("p.", "x.")
        condition = self._kinds(p)
        sql = (
            f'SELECT {p}id, {p}"{known}", {_columns(kind, x)} FROM {source} '
            f'WHERE {p}"{known}" IN (SELECT value FROM json_each(?)){condition}'
        )
        rows = tx.all(sql, (ids_parameter(ids),))
        return [RelatedPair(row[1], StoredObject(*row[2:]), row[0]) for row in rows if is_kind(row[2], kind)]

    def _kinds(self, prefix: str) -> str:
        """Return an SQL condition for the classes of the table that have the property."""
        found = entity(self.where)
        if found.name == found.root:
            return ""
        names = ", ".join(f"'{name}'" for name in found.concrete)
        return f" AND {prefix}kind IN ({names})"


def is_kind(kind: str, wanted: str) -> bool:
    """Whether a class is another class or a subclass of it."""
    return wanted in entity(kind).ancestors


def format_object(item: StoredObject) -> str:
    """Return an object's name in OMERO's messages."""
    return f"{entity(item.kind).qualified}[{item.id}]"


def _columns(kind: str, prefix: str) -> str:
    found = table(kind)
    name = f"{prefix}kind" if found.polymorphic else f"'{found.root.name}'"
    owned = f"{prefix}owner_id, {prefix}group_id" if "owner_id" in found.columns else "NULL, NULL"
    return f"{name}, {prefix}id, {owned}"


def find_objects(tx: Transaction, kind: str, ids: Iterable[int]) -> list[StoredObject]:
    """Return the stored objects of a class or its subclasses with some ids; missing ones are left out."""
    sql = f"SELECT {_columns(kind, '')} FROM {table(kind).name} WHERE id IN (SELECT value FROM json_each(?))"
    return [found for row in tx.all(sql, (ids_parameter(ids),)) if is_kind((found := StoredObject(*row)).kind, kind)]


@cache
def relation(text: str) -> Relation:
    """Return the relation ``Class.property`` or of a link class; a leading ``~`` swaps holder and member."""
    if text.startswith("~"):
        found = relation(text[1:])
        return Relation(text, found.member, found.holder, found.where, found.member_column, found.holder_column)
    holder, _, name = text.partition(".")
    if not name:
        fields = entity(holder).fields
        return Relation(text, fields["parent"].target, fields["child"].target, holder, "parent", "child")
    field = entity(holder).fields[name]
    if field.kind == "children":
        return Relation(text, holder, field.target, field.target, field.inverse, "id")
    return Relation(text, holder, field.target, holder, "id", name)


@cache
def link_classes() -> tuple[str, ...]:
    """Return the link classes whose objects have an owner."""
    return tuple(e.name for e in entities().values() if not e.abstract and e.is_link and not e.is_global)


@cache
def annotation_links() -> tuple[str, ...]:
    """Return the classes of links to annotations."""
    return tuple(name for name in link_classes() if entity(name).is_annotation_link)


@cache
def referring_fields(root: str) -> tuple[tuple[str, str, bool], ...]:
    """Return (class, property, nullable) of all stored references to objects of a table."""
    found = []
    for name in {e.root for e in entities().values()}:
        for field in table(name).fields.values():
            if field.kind == "entity" and entity(field.target).root == root:
                found.append((name, field.name, field.nullable))
    return tuple(sorted(found))
