"""Search: find objects by words, tags or HQL, in batches."""
# ruff: noqa: D102 - the operations are OMERO's and documented there

from __future__ import annotations

from typing import Any

import omero
import omero.api
from omero import rtypes

from omero_pixclf.embedded.database.fulltext import SearchTerm, find_matches, parse_search_query
from omero_pixclf.embedded.database.object_model import Entity
from omero_pixclf.embedded.hql.queries import run_object_query
from omero_pixclf.embedded.server.exceptions import api_usage_error
from omero_pixclf.embedded.server.request_context import RequestContext
from omero_pixclf.embedded.server.servant import OmeroService
from omero_pixclf.embedded.services.query import find_concrete_class

__all__ = ["SearchService"]

_LAST = 9_999_999_999_999


class SearchService(OmeroService):
    """omero.api.Search."""

    interface = omero.api.Search
    stateful = True

    def __init__(self, server: Any, session: Any) -> None:
        super().__init__(server, session)
        self._queue: list[list[Any]] = []
        self.resetDefaults(None)

    # ---- what to look for ------------------------------------------------------------------------------------
    def resetDefaults(self, call: RequestContext | None) -> None:
        self._kinds: list[Entity] = []
        self._ids: set[int] | None = None
        self._owner: int | None = None
        self._not_owner: int | None = None
        self._created: tuple[int, int] | None = None
        self._modified: tuple[int, int] | None = None
        self._orders: list[str] = []
        self._batch = 1000
        self._case_sensitive = False
        self._wildcards = False

    def onlyType(self, call: RequestContext, klass: str) -> None:
        self._kinds = [find_concrete_class(klass)]

    def onlyTypes(self, call: RequestContext, classes: list[str]) -> None:
        self._kinds = [find_concrete_class(c) for c in classes]

    def allTypes(self, call: RequestContext) -> None:
        raise api_usage_error("a search over all types is not possible: name them by onlyTypes")

    def onlyIds(self, call: RequestContext, ids: list[int] | None) -> None:
        self._ids = set(ids) if ids is not None else None

    def onlyOwnedBy(self, call: RequestContext, details: Any) -> None:
        self._owner = _owner_of(details)

    def notOwnedBy(self, call: RequestContext, details: Any) -> None:
        self._not_owner = _owner_of(details)

    def onlyCreatedBetween(self, call: RequestContext, start: Any, stop: Any) -> None:
        self._created = _period(start, stop)

    def onlyModifiedBetween(self, call: RequestContext, start: Any, stop: Any) -> None:
        self._modified = _period(start, stop)

    # ---- in what order ---------------------------------------------------------------------------------------
    def addOrderByAsc(self, call: RequestContext, path: str) -> None:
        self._orders.append(f"x.{path} asc")

    def addOrderByDesc(self, call: RequestContext, path: str) -> None:
        self._orders.append(f"x.{path} desc")

    def unordered(self, call: RequestContext) -> None:
        self._orders = []

    # ---- how -------------------------------------------------------------------------------------------------

    def setBatchSize(self, call: RequestContext, size: int) -> None:
        if size < 1:
            raise api_usage_error(f"a batch holds at least one result, not {size}")
        self._batch = size

    def getBatchSize(self, call: RequestContext) -> int:
        return self._batch

    def setCaseSensitive(self, call: RequestContext, value: bool) -> None:
        self._case_sensitive = value

    def isCaseSensitive(self, call: RequestContext) -> bool:
        return self._case_sensitive

    def setAllowLeadingWildcard(self, call: RequestContext, value: bool) -> None:
        self._wildcards = value

    def isAllowLeadingWildcard(self, call: RequestContext) -> bool:
        return self._wildcards

    # ---- searching -------------------------------------------------------------------------------------------
    def byFullText(self, call: RequestContext, query: str) -> None:
        asked = parse_search_query(query)
        if not self._wildcards and any(t.text[:1] in "*?" for t in asked):
            raise api_usage_error("a word may start with a wildcard after setAllowLeadingWildcard(True) only")
        self._find(call, asked)

    def byLuceneQueryBuilder(
        self, call: RequestContext, fields: str, first: str | None, last: str | None, date: str | None, query: str
    ) -> None:
        names = [f.strip() for f in (fields or "").split(",") if f.strip()]
        asked = [
            SearchTerm(t.text, t.need, t.field or name) for t in parse_search_query(query) for name in names or [""]
        ]
        self._find(call, asked)

    def bySomeMustNone(self, call: RequestContext, some: list[str], must: list[str], none: list[str]) -> None:
        given = (("any", some), ("must", must), ("not", none))
        self._find(call, [SearchTerm(text, need) for need, texts in given for text in texts or []])

    def byHqlQuery(self, call: RequestContext, query: str, params: Any) -> None:
        given = dict(params.map or {}) if params is not None else {}
        self._enqueue(run_object_query(call, query, given, params.theFilter if params is not None else None))

    def _find(self, call: RequestContext, asked: list[SearchTerm]) -> None:
        if not self._kinds:
            raise api_usage_error("onlyType or onlyTypes must be called first")
        for kind in self._kinds:
            ids = [i for i in find_matches(call, kind, asked) if self._ids is None or i in self._ids]
            self._enqueue(self._objects(call, kind, ids))

    def _objects(self, call: RequestContext, kind: Entity, ids: list[int]) -> list[Any]:
        if not ids:
            return []
        conditions, given = ["x.id in (:ids)"], {"ids": rtypes.rlist([rtypes.rlong(i) for i in ids])}
        for name, condition, value in (
            ("owner", "x.details.owner.id = :owner", self._owner),
            ("other", "x.details.owner.id <> :other", self._not_owner),
        ):
            if value is not None:
                conditions.append(condition)
                given[name] = rtypes.rlong(value)
        for event, period in (("creation", self._created), ("update", self._modified)):
            if period is not None:
                conditions.append(f"x.details.{event}Event.time between :{event}1 and :{event}2")
                given[f"{event}1"], given[f"{event}2"] = (rtypes.rtime(t) for t in period)
        order = ", ".join([*self._orders, "x.id"])
        text = f"select x from {kind.name} x where {' and '.join(conditions)} order by {order}"
        return run_object_query(call, text, given, None)

    def _enqueue(self, found: list[Any]) -> None:
        self._queue = [found] if found else []

    # ---- results ---------------------------------------------------------------------------------------------
    def hasNext(self, call: RequestContext) -> bool:
        return bool(self._queue)

    def next(self, call: RequestContext) -> Any:
        return self._take(1)[0]

    def results(self, call: RequestContext) -> list[Any]:
        return self._take(self._batch)

    def _take(self, count: int) -> list[Any]:
        if not self._queue:
            raise api_usage_error("No elements")
        taken, rest = self._queue[0][:count], self._queue[0][count:]
        self._queue = [rest] if rest else []
        return taken

    def activeQueries(self, call: RequestContext) -> int:
        return len(self._queue)

    def clearQueries(self, call: RequestContext) -> None:
        self._queue = []


def _period(start: Any, stop: Any) -> tuple[int, int]:
    """Return milliseconds since 1970; an end that is not given is open."""
    first, last = (rtypes.unwrap(t) for t in (start, stop))
    return first or 0, last if last is not None else _LAST


def _owner_of(details: Any) -> int | None:
    owner = details._owner if details is not None else None
    return int(owner._id._val) if owner is not None else None
