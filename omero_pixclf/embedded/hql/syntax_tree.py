"""Nodes of HQL's syntax tree, as frozen dataclasses."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

__all__ = [
    "Between",
    "Binary",
    "Case",
    "CollectionElements",
    "Constructor",
    "Exists",
    "Function",
    "In",
    "IsEmpty",
    "IsNull",
    "Join",
    "Like",
    "Literal",
    "MemberOf",
    "NamedParameter",
    "OrderTerm",
    "Path",
    "Quantified",
    "RangeVariable",
    "Select",
    "SelectItem",
    "Subselect",
    "Unary",
    "walk_nodes",
]


@dataclass(frozen=True)
class Path:
    """A dotted path: ``a.b.c``."""

    parts: tuple[str, ...]


@dataclass(frozen=True)
class Literal:
    """A constant; ``kind`` is string, int, long, double, bool or null."""

    value: Any
    kind: str


@dataclass(frozen=True)
class NamedParameter:
    """A named parameter: ``:name``."""

    name: str


@dataclass(frozen=True)
class Unary:
    """``not x`` or ``-x``."""

    operator: str
    operand: Any


@dataclass(frozen=True)
class Binary:
    """A comparison, arithmetic operation, ``||``, ``and``, ``or``."""

    operator: str
    left: Any
    right: Any


@dataclass(frozen=True)
class Function:
    """``name(arguments)``, ``count(distinct x)``, ``count(*)`` (no arguments)."""

    name: str
    arguments: tuple[Any, ...]
    distinct: bool = False


@dataclass(frozen=True)
class In:
    """``x in (…)``: a subquery, a collection or a list of expressions."""

    operand: Any
    choices: Any
    negated: bool


@dataclass(frozen=True)
class Between:
    """``x between a and b``."""

    operand: Any
    low: Any
    high: Any
    negated: bool


@dataclass(frozen=True)
class Like:
    """``x like pattern escape c``."""

    operand: Any
    pattern: Any
    escape: Any
    negated: bool


@dataclass(frozen=True)
class IsNull:
    """``x is [not] null``."""

    operand: Any
    negated: bool


@dataclass(frozen=True)
class IsEmpty:
    """``a.children is [not] empty``."""

    path: Path
    negated: bool


@dataclass(frozen=True)
class MemberOf:
    """``x [not] member of a.children``."""

    operand: Any
    path: Path
    negated: bool


@dataclass(frozen=True)
class CollectionElements:
    """``elements(a.children)``."""

    path: Path


@dataclass(frozen=True)
class Exists:
    """``exists (select …)``."""

    query: Select


@dataclass(frozen=True)
class Quantified:
    """``any (select …)``, ``some (…)``, ``all (…)``."""

    quantifier: str
    query: Select


@dataclass(frozen=True)
class Subselect:
    """A subquery in the place of a value."""

    query: Select


@dataclass(frozen=True)
class Case:
    """``case when c then x … else y end``; ``subject`` for the simple form."""

    subject: Any
    whens: tuple[tuple[Any, Any], ...]
    otherwise: Any


@dataclass(frozen=True)
class SelectItem:
    """A selected expression and its alias."""

    value: Any
    alias: str


@dataclass(frozen=True)
class Constructor:
    """``new map(…)`` or ``new list(…)``."""

    kind: str
    items: tuple[SelectItem, ...]


@dataclass(frozen=True)
class RangeVariable:
    """A class in ``from``: ``Image i``."""

    entity: str
    alias: str


@dataclass(frozen=True)
class Join:
    """``left outer join fetch i.pixels as p with …``."""

    path: Path
    alias: str
    outer: bool
    fetch: bool
    condition: Any


@dataclass(frozen=True)
class OrderTerm:
    """One term of ``order by``."""

    value: Any
    descending: bool


@dataclass(frozen=True)
class Select:
    """A query; ``items`` is empty for a query that starts with ``from``."""

    items: tuple[SelectItem, ...]
    distinct: bool
    sources: tuple[RangeVariable | Join, ...]
    where: Any = None
    group: tuple[Any, ...] = ()
    having: Any = None
    order: tuple[OrderTerm, ...] = ()


def walk_nodes(node: Any) -> Iterator[Any]:
    """Yield a node and all nodes below it, except subqueries."""
    if isinstance(node, (Subselect, Exists, Quantified, Select)):
        return
    yield node
    for child in vars(node).values() if hasattr(node, "__dataclass_fields__") else ():
        for inner in child if isinstance(child, tuple) else (child,):
            yield from walk_nodes(inner)
