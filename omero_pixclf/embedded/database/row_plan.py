"""How a row of a class's table becomes attributes of a model object: positions of the columns, and converters."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import omero.model
from omero import rtypes

from omero_pixclf.embedded.database.object_model import entity
from omero_pixclf.embedded.database.schema import DETAILS, table

__all__ = ["IMMUTABLE_KINDS", "TO_ICE", "RowPlan", "ValueCache", "row_plan", "unit_class"]

TO_ICE: dict[str, Callable[[Any], Any]] = {  # converters of a column's value by kind of property
    "string": rtypes.rstring,
    "int": rtypes.rint,
    "long": rtypes.rlong,
    "double": lambda v: rtypes.rdouble(float(v)),  # NaN is stored as text
    "bool": lambda v: rtypes.rbool(bool(v)),
    "time": rtypes.rtime,
    "bytes": bytes,
    "strings": json.loads,
}


IMMUTABLE_KINDS = ("string", "int", "long", "double", "bool", "time")
"""Kinds whose converted values can be shared by objects."""


@cache
def unit_class(quantity: str) -> Any:
    """Return the class of a quantity, such as omero.model.LengthI."""
    return getattr(omero.model, quantity + "I")


class ValueCache(dict[Any, Any]):
    """Cache of one kind's converted values; equal values share an object, which is sent once."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self._convert = TO_ICE[kind]

    def __missing__(self, value: Any) -> Any:
        made = self[value] = self._convert(value)
        return made


@dataclass(frozen=True)
class RowPlan:
    """Positions of a class's values in a row of its table."""

    places: dict[str, int]
    scalars: tuple[tuple[str, int, str], ...]  # attribute, place, kind
    units: tuple[tuple[str, int, int, str], ...]  # attribute, place, place of the unit's name, quantity
    references: tuple[tuple[str, int, str, str], ...]  # attribute, place, class, the class's root
    details: tuple[
        int | None, int | None, int | None, int | None, int | None
    ]  # columns of owner, group, creation, update and external info, or None

    @property
    def is_owned(self) -> bool:
        """Whether rows have an owner."""
        return self.details[0] is not None


@cache
def row_plan(kind: str) -> RowPlan:
    """Return the positions of a class's values in a row."""
    places = {name: i for i, name in enumerate(table(kind).columns)}
    scalars, units, references = [], [], []
    for field in entity(kind).fields.values():
        attribute = "_" + field.name
        if field.kind in TO_ICE:
            scalars.append((attribute, places[field.name], field.kind))
        elif field.kind == "unit":
            units.append((attribute, places[field.name], places[field.name + "_unit"], field.target))
        elif field.kind == "entity":
            references.append((attribute, places[field.name], field.target, entity(field.target).root))
    if "version" in places and not entity(kind).is_enum:
        scalars.append(("_version", places["version"], "int"))
    owner, group, creation, update, external = (places.get(name) for name in DETAILS)
    return RowPlan(places, tuple(scalars), tuple(units), tuple(references), (owner, group, creation, update, external))
