"""ITimeline: recently changed objects."""
# ruff: noqa: D102 - the operations are OMERO's and documented there

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import omero.api
from omero.rtypes import rlong, rstring, rtime, unwrap

from omero_pixclf.embedded.database.object_model import find_entity
from omero_pixclf.embedded.hql.queries import query_objects, query_rows
from omero_pixclf.embedded.server.exceptions import api_usage_error
from omero_pixclf.embedded.server.request_context import RequestContext
from omero_pixclf.embedded.server.servant import OmeroService
from omero_pixclf.embedded.server.service_options import ServiceOptions, parse_service_options

__all__ = ["TimelineService"]

_KINDS = ("RenderingDef", "Image", "Project", "Dataset", "Annotation")
_DETAILS = (
    "join {fetch} obj.details.creationEvent ce join {fetch} obj.details.updateEvent ue "
    "join {fetch} obj.details.owner join {fetch} obj.details.group "
)
_CHANGED = "(ce.time >= :start or ue.time >= :start) and (ce.time <= :end or ue.time <= :end)"
_QUERIES = {  # joins, condition on time, whose owner counts, order
    "Project": (_DETAILS, _CHANGED, "obj", "ue.id desc"),
    "Dataset": (_DETAILS, _CHANGED, "obj", "ue.id desc"),
    "Image": (
        _DETAILS,
        "obj.acquisitionDate >= :start and obj.acquisitionDate <= :end",
        "obj",
        "obj.acquisitionDate desc",
    ),
    "RenderingDef": (
        _DETAILS + "left outer join {fetch} obj.pixels p left outer join {fetch} p.image i ",
        _CHANGED,
        "i",
        "i.details.creationEvent.time desc",
    ),
}
_LONG_AGO, _FAR_AHEAD = 0, 4_102_444_800_000  # 1970 and 2100, ms
_LIMIT = 50
_LOGGED = (("Dataset", "ome.model.containers.Dataset"), ("Project", "ome.model.containers.Project"))


class TimelineService(OmeroService):
    """omero.api.ITimeline."""

    interface = omero.api.ITimeline

    def countByPeriod(self, call: RequestContext, kinds: list[str], start: Any, end: Any, given: Any) -> dict[str, int]:
        """Return counts by class; -1 for classes without a timeline."""
        options = _own_by_default(call, given)
        counts = {}
        for kind in kinds or _KINDS:
            if kind not in _QUERIES:
                counts[kind] = -1
                continue
            text, values = _query(kind, options, _period(start, end), "count(obj)", "")
            counts[kind] = int(query_rows(call, text, **values)[0][0])
        return counts

    def getByPeriod(
        self, call: RequestContext, kinds: list[str], start: Any, end: Any, given: Any, merge: bool
    ) -> dict[str, list[Any]]:
        return self._recent(call, kinds, _period(start, end), given, merge)

    def getMostRecentObjects(
        self, call: RequestContext, kinds: list[str], given: Any, merge: bool
    ) -> dict[str, list[Any]]:
        return self._recent(call, kinds, (_LONG_AGO, _FAR_AHEAD), given, merge)

    def _recent(
        self, call: RequestContext, kinds: Sequence[str], period: tuple[int, int], given: Any, merge: bool
    ) -> dict[str, list[Any]]:
        options = _own_by_default(call, given)
        found: dict[str, list[Any]] = {}
        for kind in kinds or _KINDS:
            if kind in _QUERIES:
                text, values = _query(kind, options, period, "obj", "fetch")
                found[kind] = _page(query_objects(call, text, **values), options)
        return _merge(found, _limit(options)) if merge else found

    def getMostRecentAnnotationLinks(
        self, call: RequestContext, parents: list[str], children: list[str], namespaces: list[str], given: Any
    ) -> list[Any]:
        """Return the newest links to annotations of a class or namespace."""
        options = _own_by_default(call, given)
        if len(children or []) > 1:
            raise api_usage_error("HHH-879: You can only restrict to a single annotation type at the moment")
        found: list[Any] = []
        for parent in parents or ("Project", "Dataset", "Image"):
            found += _links(call, parent, children or [], namespaces or [], options)
        found.sort(key=_update_time, reverse=True)
        return found[: _limit(options)]

    def getMostRecentShareCommentLinks(self, call: RequestContext, given: Any) -> list[Any]:
        """Return nothing: there are no shares."""
        return []

    def getEventLogsByPeriod(self, call: RequestContext, start: Any, end: Any, given: Any) -> list[Any]:
        """Return logs of containers created or changed, and of images by acquisition date."""
        options, (first, last) = _own_by_default(call, given), _period(start, end)
        logs = []
        for kind, qualified in _LOGGED:
            text, values = _query(kind, options, (first, last), "obj.id, ue.time", "")
            logs += [_log(qualified, ident, time) for ident, time in query_rows(call, text, **values)]
        text, values = _query("Image", options, (first, last), "obj.id, obj.acquisitionDate", "")
        logs += [_log("ome.model.core.Image", ident, time) for ident, time in query_rows(call, text, **values)]
        return _page(logs, options)


def _own_by_default(call: RequestContext, given: Any) -> ServiceOptions:
    options = parse_service_options(given)
    if options.owner is None and options.group is None:
        return replace(options, owner=call.caller.user_id)
    return options


def _period(start: Any, end: Any) -> tuple[int, int]:
    first, last = unwrap(start), unwrap(end)
    return (_LONG_AGO if first is None else first, _FAR_AHEAD if last is None else last)


def _query(
    kind: str, options: ServiceOptions, period: tuple[int, int], selected: str, fetch: str
) -> tuple[str, dict[str, Any]]:
    joins, condition, owner, order = _QUERIES[kind]
    where = " and ".join([condition, *options.conditions(owner)])
    text = f"select {selected} from {kind} obj {joins.format(fetch=fetch)}where {where}"
    if not selected.startswith("count"):
        text += f" order by {order}"
    return text, {"start": rtime(period[0]), "end": rtime(period[1])}


def _limit(options: ServiceOptions) -> int:
    return _LIMIT if options.limit is None else options.limit


def _page(found: list[Any], options: ServiceOptions) -> list[Any]:
    start = options.offset or 0
    return found[start : start + _limit(options)]


def _update_time(obj: Any) -> int:
    event = obj._details._updateEvent if obj._details is not None else None
    return event._time._val if event is not None and event._loaded and event._time is not None else 0


def _merge(found: dict[str, list[Any]], limit: int) -> dict[str, list[Any]]:
    """Return the newest objects of all classes together."""
    newest = sorted(((obj, kind) for kind, objs in found.items() for obj in objs), key=lambda p: -_update_time(p[0]))
    merged: dict[str, list[Any]] = {kind: [] for kind in found}
    for obj, kind in newest[:limit]:
        merged[kind].append(obj)
    return merged


def _links(
    call: RequestContext, parent: str, children: Sequence[str], namespaces: Sequence[str], options: ServiceOptions
) -> list[Any]:
    found = find_entity(parent)
    if found is None or "annotationLinks" not in found.children:
        raise api_usage_error(f"{parent} does not specify a valid class.")
    where = options.conditions("link")
    for child in children:
        kind = find_entity(child)
        if kind is None:
            raise api_usage_error(f"Error mapping: {child}")
        where.append(f"child.class = {kind.name}")
    values: dict[str, Any] = {f"ns{i}": name for i, name in enumerate(namespaces)}
    if values:
        where.append(f"({' or '.join(f'child.ns like :{name}' for name in values)})")
    text = (
        f"select link from {found.children['annotationLinks'].target} link join fetch link.child child "
        "join fetch link.details.creationEvent join fetch link.details.updateEvent update "
        f"{'where ' + ' and '.join(where) if where else ''} order by update.id desc"
    )
    return _page(query_objects(call, text, **values), options)


def _log(kind: str, ident: int, time: int) -> Any:
    made = omero.model.EventLogI()
    made.entityId, made.entityType, made.action = rlong(ident), rstring(kind), rstring("INSERT")
    made.event = omero.model.EventI()
    made.event.time = rtime(time)
    return made
