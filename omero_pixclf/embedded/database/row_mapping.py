"""Mapping of a client's objects to table rows, with default values and checks."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import omero

from omero_pixclf.embedded.database.object_model import Entity, Field, entities, entity, find_entity
from omero_pixclf.embedded.database.schema import DEFAULTS, table
from omero_pixclf.embedded.server.exceptions import api_usage_error, validation_error

__all__ = [
    "ListPosition",
    "changed_columns",
    "check_values",
    "column_indexes",
    "entity_of",
    "fill_defaults",
    "owning_lists",
    "pair_fields",
    "row_from_object",
    "unload_empty_collections",
]

_POSITIVE = {  # the model's positive integers and lengths
    "Pixels": "significantBits sizeX sizeY sizeZ sizeC sizeT physicalSizeX physicalSizeY physicalSizeZ",
    "LogicalChannel": "samplesPerPixel excitationWave emissionWave",
    "DetectorSettings": "integration",
    "Thumbnail": "sizeX sizeY",
    "Laser": "frequencyMultiplication",
    "ProjectionDef": "stepping",
}
_FRACTIONS = {
    "ImagingEnvironment": "humidity co2percent",
    "LightSettings": "attenuation",
    "TransmittanceRange": "transmittance",
}
_NOT_NEGATIVE = {"Image": "series", "PlaneInfo": "theZ theC theT", "ProjectionDef": "startPlane endPlane"}


@dataclass(frozen=True)
class ListPosition:
    """The position of an object in an ordered collection of its owner."""

    inverse: str  # the object's property that refers to the owner
    owner: Any
    index: int

    @property
    def columns(self) -> dict[str, int]:
        """The columns of the object's row that store the position; the owner must have an id."""
        return {self.inverse: self.owner._id._val, self.inverse + "_index": self.index}


def entity_of(obj: Any) -> Entity:
    """Return the class of a client's object."""
    found = find_entity(type(obj).__name__)
    if found is None:
        raise api_usage_error(f"{type(obj).__name__} cannot be stored")
    return found


@cache
def column_indexes(kind: str) -> dict[str, int]:
    """Return the index of each of a class's columns in a row."""
    return {name: i for i, name in enumerate(table(kind).columns)}


@cache
def _stored_fields(kind: str) -> tuple[tuple[Field, int], ...]:
    """Return the properties of a class that its row stores, with their index."""
    fields = entity(kind).fields.values()
    return tuple((f, column_indexes(kind)[f.name]) for f in fields if f.kind not in ("children", "pairs"))


@cache
def owning_lists(kind: str) -> tuple[Field, ...]:
    """Return the ordered collections, of any class, that contain objects of this class."""
    ancestors = entity(kind).ancestors
    lists = (f for e in entities().values() for f in e.children.values() if f.ordered and f.target in ancestors)
    return tuple({f.inverse: f for f in lists}.values())


@cache
def pair_fields(kind: str) -> tuple[Field, ...]:
    """Return the properties of a class that hold name-value pairs."""
    return tuple(f for f in entity(kind).fields.values() if f.kind == "pairs")


def row_from_object(found: Entity, obj: Any) -> list[Any]:
    """Return the values of an object in the order of the table's columns; references must have ids."""
    state = obj.__dict__
    row: list[Any] = [None] * len(column_indexes(found.name))
    row[0] = obj._id._val
    perms = obj._details._permissions if obj._details is not None else None
    if found.name == "ExperimenterGroup" and perms is not None:
        row[column_indexes(found.name)["permissions"]] = perms._perm1
    for field, place in _stored_fields(found.name):
        value = state["_" + field.name]
        if value is None:
            continue
        kind = field.kind
        if kind == "entity":
            row[place] = value._id._val
        elif kind == "unit":
            row[place], row[place + 1] = value._value, str(value._unit)
        elif kind == "bytes":
            row[place] = bytes(value)
        elif kind == "strings":
            row[place] = json.dumps(list(value))
        elif kind == "double":
            row[place] = value._val if value._val == value._val else "NaN"  # SQLite cannot store NaN
        else:
            row[place] = value._val
    return row


def fill_defaults(found: Entity, row: list[Any], current: Any = None) -> None:
    """Set missing values to the database's defaults, or to those of the current row."""
    for (kind, name), value in DEFAULTS.items():
        place = column_indexes(found.name).get(name)
        if kind == found.name and place is not None and row[place] is None:
            row[place] = current[place] if current is not None and current[place] is not None else value


def check_values(found: Entity, row: list[Any]) -> None:
    """Raise ValidationException for a missing required property, InternalException for a number out of range."""
    for field, place in _stored_fields(found.name):
        if row[place] is None and not field.nullable and field.kind != "bytes":
            raise validation_error(
                f"not-null property references a null or transient value: {found.qualified}.{field.name}"
            )
    _check_range(found, row, _POSITIVE, lambda v: v > 0, "must be strictly positive")
    _check_range(found, row, _NOT_NEGATIVE, lambda v: v >= 0, "must not be negative")
    _check_range(found, row, _FRACTIONS, lambda v: 0 <= v <= 1, "may range from zero to one only")


def _check_range(found: Entity, row: list[Any], names: dict[str, str], fits: Callable[[Any], bool], words: str) -> None:
    for name in names.get(found.name, "").split():
        value = row[column_indexes(found.name)[name]]
        if value is not None and not fits(float(value)):  # NaN is stored as text
            message = f"values of {found.name}.{name} {words}"
            raise omero.InternalException("", "java.lang.IllegalArgumentException", message)


def changed_columns(found: Entity, wanted: list[Any], current: Any) -> dict[str, Any]:
    """Return the columns to change with their new values; none for immutable classes, as in OMERO."""
    if not (found.is_mutable or found.is_enum):
        return {}
    return {
        name: wanted[place] for name, place in column_indexes(found.name).items() if wanted[place] != current[place]
    }


def unload_empty_collections(found: Entity, obj: Any) -> None:
    """Unload the empty collections of a changed object that are neither links nor ordered, as Hibernate does.

    Hibernate empties such a collection without reading it, so that the server does not know its content.
    """
    for name, field in found.children.items():
        plain = not field.ordered and not entity(field.target).is_link
        if plain and getattr(obj, f"_{name}Loaded") and not getattr(obj, f"_{name}Seq"):
            setattr(obj, f"_{name}Loaded", False)
            setattr(obj, f"_{name}Seq", [])
