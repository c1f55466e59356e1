"""Requests that contain requests: DoAll runs several in one transaction, SkipHead one below its targets."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import omero.cmd

from omero_pixclf.embedded.commands import chgrp, chown, delete, duplication
from omero_pixclf.embedded.commands.links import is_kind
from omero_pixclf.embedded.commands.options import find_class
from omero_pixclf.embedded.commands.perform import call_context, perform
from omero_pixclf.embedded.commands.request_errors import RequestError
from omero_pixclf.embedded.server.request_context import RequestContext

__all__ = ["do_all", "skip_head"]

_PLANS: dict[str, Callable[..., Any]] = {
    "Chgrp2": chgrp.plan,
    "Chown2": chown.plan,
    "Delete2": delete.plan,
    "Duplicate": duplication.plan,
}


def do_all(call: RequestContext, request: Any) -> Any:
    """Answer a DoAll request; all parts succeed or none."""
    parts = [part for part in request.requests or [] if part is not None]
    if not parts:
        raise RequestError("no-steps", "DoAll has no requests", plain=True)
    contexts = list(request.contexts or [])
    responses, statuses = [], []
    for place, part in enumerate(parts):
        own = contexts[place] if place < len(contexts) and contexts[place] else {}
        responses.append(perform(_within(call, part, own), part))
        statuses.append(omero.cmd.Status(None, "", "", [], {}, 0, 1, 0, [], [], 0))
    return omero.cmd.DoAllRsp(responses, statuses)


def _within(call: RequestContext, part: Any, own: dict[str, str]) -> RequestContext:
    context = call_context(part, {**call.context, **own})
    return RequestContext(call.server, call.session, call.tx, context, call.current)


def skip_head(call: RequestContext, request: Any) -> Any:
    """Answer a SkipHead request: run the wrapped request from the named classes downwards."""
    wrapped = request.request
    if type(wrapped).__name__ not in _PLANS or not request.startFrom:
        raise RequestError("bad-options", "SkipHead needs a request about a graph of objects and classes to start from")
    inner = copy.copy(wrapped)
    inner.childOptions = wrapped.childOptions or request.childOptions
    inner.dryRun = wrapped.dryRun or request.dryRun
    within = _within(call, inner, {})
    inner.targetObjects = _starting_points(within, request, inner)
    return perform(within, inner)


def _starting_points(call: RequestContext, request: Any, inner: Any) -> dict[str, list[int]]:
    """Return the first objects of the named classes that the wrapped request reaches from the targets."""
    stops = [find_class(name).name for name in request.startFrom]
    head = copy.copy(inner)
    head.targetObjects = request.targetObjects
    found: dict[str, list[int]] = {}
    for decision in _PLANS[type(inner).__name__](call, head, stops).decisions.values():
        if any(is_kind(decision.item.kind, kind) for kind in stops):
            found.setdefault(decision.item.kind, []).append(decision.item.id)
    return found
