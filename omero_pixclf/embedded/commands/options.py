"""Child options of graph requests: classes and namespaces of children to include or exclude."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from omero_pixclf.embedded.commands.links import StoredObject, is_kind
from omero_pixclf.embedded.commands.request_errors import RequestError
from omero_pixclf.embedded.database.object_model import Entity, find_entity
from omero_pixclf.embedded.database.sqlite import Transaction, ids_parameter

__all__ = ["ChildOptions", "child_options", "find_class"]

_EXEMPT_NAMESPACES = frozenset(  # excluded from options without namespaces
    {"openmicroscopy.org/omero/import/companionFile", "openmicroscopy.org/omero/measurement"}
)


def find_class(name: str) -> Entity:
    """Return a class by its name with or without package; RequestError if there is none."""
    found = find_entity(name.rsplit(".", 1)[-1])
    if found is None:
        raise RequestError("graph-fail", f"unknown model object class named: {name}")
    return found


@dataclass(frozen=True)
class _Option:
    included: tuple[str, ...]
    excluded: tuple[str, ...]
    only_ns: frozenset[str]
    not_ns: frozenset[str]

    def verdict(self, item: StoredObject, namespace: str | None) -> bool | None:
        """Return True to include, False to exclude, None if the option does not apply."""
        if is_kind(item.kind, "Annotation") and not self._about(namespace):
            return None
        if any(is_kind(item.kind, kind) for kind in self.included):
            return True
        return False if any(is_kind(item.kind, kind) for kind in self.excluded) else None

    def _about(self, namespace: str | None) -> bool:
        return namespace in self.only_ns if self.only_ns else namespace not in self.not_ns


@dataclass(frozen=True)
class ChildOptions:
    """All child options of a request; the first option that applies to an object decides."""

    options: tuple[_Option, ...] = ()

    def split(
        self, tx: Transaction, candidates: Sequence[StoredObject], rights: Callable[[StoredObject], Any]
    ) -> tuple[set[tuple[str, int]], set[tuple[str, int]]]:
        """Return the keys of the candidates to exclude, and of those to include whatever holds them."""
        stay: set[tuple[str, int]] = set()
        go: set[tuple[str, int]] = set()
        if not self.options:
            return stay, go
        namespaces = _namespaces(tx, candidates)
        for item in candidates:
            verdict = self._verdict(item, namespaces.get(item.id))
            if verdict is False:
                stay.add(item.key)
            elif verdict and rights(item).delete:
                go.add(item.key)
        return stay, go

    def _verdict(self, item: StoredObject, namespace: str | None) -> bool | None:
        for option in self.options:
            verdict = option.verdict(item, namespace)
            if verdict is not None:
                return verdict
        return None


def _namespaces(tx: Transaction, candidates: Sequence[StoredObject]) -> dict[int, str]:
    ids = [item.id for item in candidates if is_kind(item.kind, "Annotation")]
    if not ids:
        return {}
    sql = "SELECT id, ns FROM annotation WHERE ns IS NOT NULL AND id IN (SELECT value FROM json_each(?))"
    return dict(tx.all(sql, (ids_parameter(ids),)))


def child_options(given: Sequence[Any] | None) -> ChildOptions:
    """Return the checked options of a request."""
    return ChildOptions(tuple(_option(option) for option in given or [] if option is not None))


def _option(given: Any) -> _Option:
    included = tuple(find_class(name).name for name in given.includeType or [])
    excluded = tuple(find_class(name).name for name in given.excludeType or [])
    if not included and not excluded:
        raise RequestError("graph-fail", "child option must include or exclude some type")
    if given.includeNs and given.excludeNs:
        raise RequestError("graph-fail", "child option may not both include and exclude namespace")
    not_ns = frozenset(given.excludeNs or ([] if given.includeNs else _EXEMPT_NAMESPACES))
    return _Option(included, excluded, frozenset(given.includeNs or []), not_ns)
