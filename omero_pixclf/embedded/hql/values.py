"""Typed SQL expressions of HQL values, and query parameters checked against the types they are compared with."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import Ice
import omero

from omero_pixclf.embedded.database.sqlite import ids_parameter
from omero_pixclf.embedded.server.exceptions import api_usage_error, omero_error, validation_error

__all__ = ["QueryParameters", "Value", "check_comparable", "check_number", "check_text", "unwrap_parameter"]

_RTYPES = {
    "RLong": "long",
    "RInt": "int",
    "RString": "string",
    "RBool": "bool",
    "RDouble": "double",
    "RFloat": "float",
    "RTime": "time",
    "RClass": "string",
}
_NUMBERS = ("int", "long", "double", "entity", "time")
_NUMBER = re.compile(r"\s*[+-]?\d+(\.\d*)?\s*")
_EXPECTED = {"entity": "long", "discriminator": "string"}


@dataclass(frozen=True)
class Value:
    """An expression in SQL.

    ``kind`` is a scalar's kind, or entity (``target`` the class), unit (``target`` the quantity, ``extra`` the column
    of the unit's name), permissions (``sql`` the owner, ``extra`` the group), type, discriminator, or "" when unknown.
    """

    sql: str
    kind: str = ""
    target: str = ""
    extra: str = ""
    literal: bool = False
    constant: Any = None  # of a literal


def unwrap_parameter(value: Any) -> Any:
    """Return a parameter's value without its rtype; lists become Python lists."""
    if isinstance(value, (omero.RList, omero.RSet, omero.RArray)):
        return [unwrap_parameter(v) for v in value.getValue() or []]
    return value.getValue()


def check_comparable(left: Value, right: Value) -> None:
    """Raise for comparisons that PostgreSQL refuses (ApiUsageException), or with a text that is no number."""
    for text, number in ((left, right), (right, left)):
        if text.kind != "string" or number.kind not in _NUMBERS:
            continue
        if not text.literal:
            raise api_usage_error("could not execute query: operator does not exist: character varying = number")
        if not _NUMBER.fullmatch(str(text.constant)):
            raise validation_error(f"could not execute query: invalid input syntax for a number: {text.constant!r}")


def check_text(*values: Value) -> None:
    """Raise ApiUsageException if a text function or operator gets a number."""
    if any(v.kind in ("int", "long", "double", "bool", "entity") for v in values):
        raise api_usage_error("could not execute query: function or operator does not exist for numbers")


def check_number(*values: Value) -> None:
    """Raise ApiUsageException if arithmetic gets a text."""
    if any(v.kind in ("string", "bool") and not v.literal for v in values):
        raise api_usage_error("could not execute query: function or operator does not exist for texts")


class QueryParameters:
    """Named parameters of a query: taken from the client's, passed to SQLite."""

    def __init__(self, given: dict[str, Any] | None) -> None:
        self._given = given or {}
        self.bound: dict[str, Any] = {}

    def scalar(self, name: str, expected: str) -> Value:
        """Return one value; a list of one element counts as the element."""
        value = self._get(name)
        if isinstance(value, (omero.RList, omero.RSet, omero.RArray)):
            elements = value.getValue() or []
            if len(elements) != 1:
                raise api_usage_error(f"parameter {name} holds {len(elements)} values where one is needed")
            value = elements[0]
        return self._bind(unwrap_parameter(value), self._check_type(name, value, expected))

    def choices(self, name: str, expected: str) -> str:
        """Return SQL that yields the values of a list."""
        value = self._get(name)
        if not isinstance(value, (omero.RList, omero.RSet, omero.RArray)):
            return f"({self.scalar(name, expected).sql})"
        elements = value.getValue() or []
        if not elements:
            raise api_usage_error(f"unexpected end of subtree: the list {name} is empty")
        for element in elements:
            self._check_type(name, element, expected)
        return f"(SELECT value FROM json_each({self._bind(ids_parameter(unwrap_parameter(value)), 'string').sql}))"

    def constant(self, value: Any, kind: str) -> Value:
        """Return a literal of the query, passed as a parameter."""
        made = self._bind(value, kind)
        return Value(made.sql, kind, literal=True, constant=value)

    def _get(self, name: str) -> Any:
        if name not in self._given:
            raise api_usage_error(f"Null parameters not allowed: {name}")
        value = self._given[name]
        if value is None or isinstance(value, omero.RObject):
            raise Ice.UnknownException(f"parameter {name} has no value that a query can compare")
        return value

    def _check_type(self, name: str, value: Any, expected: str) -> str:
        kind = next((k for r, k in _RTYPES.items() if isinstance(value, getattr(omero, r))), "")
        wanted = _EXPECTED.get(expected, expected)
        if wanted in ("string", "int", "long", "double", "bool", "time") and kind != wanted:
            raise omero_error(
                omero.InternalException,
                f"Wrapped Exception: (java.lang.ClassCastException): parameter {name} is {kind}, needed is {wanted}",
            )
        return kind

    def _bind(self, value: Any, kind: str) -> Value:
        name = f"p{len(self.bound)}"
        self.bound[name] = int(value) if isinstance(value, bool) else value
        return Value(":" + name, kind)
