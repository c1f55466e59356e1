"""Requests about the server: its sessions, legal targets, the list of requests, timing."""

from __future__ import annotations

import time
from typing import Any

import omero.api
import omero.cmd
from omero.rtypes import rtime, unwrap

from omero_pixclf.embedded.commands import chgrp, chmod, delete, find_related
from omero_pixclf.embedded.commands.cancellation import check_cancelled
from omero_pixclf.embedded.commands.delete import is_legal_target
from omero_pixclf.embedded.commands.request_errors import RequestError
from omero_pixclf.embedded.database.object_model import entities
from omero_pixclf.embedded.server.request_context import RequestContext, load_caller
from omero_pixclf.embedded.users.event_context import make_event_context
from omero_pixclf.embedded.users.sessions import ClientSession

__all__ = ["current_sessions", "legal_targets", "list_requests", "timing", "update_timeout"]

_MAX_WAIT_S = 300.0
_LEGAL = {
    "Delete2": delete.TARGETS,
    "Chgrp2": chgrp.TARGETS,
    "Chown2": chgrp.TARGETS,
    "Chmod2": chmod.TARGETS,
    "Duplicate": find_related.TARGETS,
    "FindParents": find_related.TARGETS,
    "FindChildren": find_related.TARGETS,
    "DiskUsage2": find_related.TARGETS,
}


def legal_targets(call: RequestContext, request: Any) -> Any:
    """Answer a LegalGraphTargets request."""
    name = type(request.request).__name__
    if name not in _LEGAL:
        raise RequestError("bad-request", f"{name} is no request about a graph of objects")
    found = [
        kind.qualified for kind in entities().values() if not kind.abstract and is_legal_target(kind, _LEGAL[name])
    ]
    return omero.cmd.LegalGraphTargetsResponse(found)


def timing(call: RequestContext, request: Any) -> Any:
    """Answer a Timing request by waiting."""
    wait = request.steps * request.millisPerStep / 1000
    if request.steps < 0 or request.millisPerStep < 0 or wait > _MAX_WAIT_S:
        raise RequestError("timing-range", f"between 0 and {_MAX_WAIT_S:.0f} seconds, not {wait}")
    for _ in range(request.steps):
        check_cancelled(request.millisPerStep / 1000)
    return omero.cmd.OK()


def list_requests(call: RequestContext, request: Any) -> Any:
    """Answer a ListRequests request."""
    from omero_pixclf.embedded.commands.perform import REQUESTS

    return omero.cmd.ListRequestsRsp([_request(name) for name in REQUESTS])


def _request(name: str) -> Any:
    where = omero.cmd if hasattr(omero.cmd, name) else omero.api
    return getattr(where, name)()


def current_sessions(call: RequestContext, request: Any) -> Any:
    """Answer a CurrentSessionsRequest; only administrators see more than user and group of others' sessions."""
    found = call.server.sessions.all()
    full = [s for s in found if call.caller.has_privilege("ReadSession") or s.user_id == call.session.user_id]
    loaded = call.graph.load("Session", [s.ident for s in full])
    call.graph.finish_loading()
    contexts = [_session_context(call, session) for session in found]
    for session, context in zip(found, contexts, strict=True):
        if session.ident not in loaded:
            _hide_details(context)
    data = [_last_access(s) if s.ident in loaded else {} for s in found]
    return omero.cmd.CurrentSessionsResponse([loaded.get(s.ident) for s in found], contexts, data)


def _session_context(call: RequestContext, session: ClientSession) -> Any:
    """The event context of a session; its user need not have any rights in the group of the session."""
    caller = load_caller(call.tx, session.user_id, session.group_id, session.sudoer_id)
    return make_event_context(call.tx, session, caller)


def _hide_details(context: Any) -> None:
    """Keep only user and group of an event context; a session's uuid works like a password."""
    context.sessionId, context.sessionUuid, context.sudoerId, context.sudoerName = 0, "", None, None
    context.memberOfGroups, context.leaderOfGroups, context.adminPrivileges = [], [], []


def _last_access(session: ClientSession) -> dict[str, Any]:
    idle_s = time.monotonic() - session.last_used
    return {"lastAccessTime": rtime(int((time.time() - idle_s) * 1000))}


def update_timeout(call: RequestContext, request: Any) -> Any:
    """Answer an UpdateSessionTimeoutRequest; only administrators change others' sessions or extend limits."""
    found = call.server.sessions.find(request.session)
    if found is None or not (call.caller.is_admin or found.user_id == call.session.user_id):
        raise RequestError("no-session", f"no session {request.session} of yours")
    live, idle = unwrap(request.timeToLive), unwrap(request.timeToIdle)
    if not call.caller.is_admin and (_longer(live, found.live_ms) or _longer(idle, found.idle_ms)):
        raise RequestError("non-admin-increase", "only administrators may lengthen a session")
    found.live_ms = found.live_ms if live is None else live
    found.idle_ms = found.idle_ms if idle is None else idle
    sql = "UPDATE session SET timeToLive = ?, timeToIdle = ? WHERE id = ?"
    call.tx.execute(sql, (found.live_ms, found.idle_ms, found.ident))
    return omero.cmd.OK()


def _longer(wanted: int | None, now: int) -> bool:
    """Whether a limit would be extended; 0 means no limit."""
    return wanted is not None and now != 0 and (wanted == 0 or wanted > now)
