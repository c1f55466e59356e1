"""ISession: create, look up, renew and close sessions, and their variables."""
# ruff: noqa: D102 - the operations are OMERO's and documented there

from __future__ import annotations

from typing import Any

import omero
import omero.api
from omero.rtypes import unwrap

from omero_pixclf.embedded.server.exceptions import api_usage_error, omero_error, security_violation
from omero_pixclf.embedded.server.request_context import RequestContext
from omero_pixclf.embedded.server.servant import OmeroService, guests_allowed, without_transaction, writes_database
from omero_pixclf.embedded.users.logins import choose_group, find_user_id, is_correct_password, open_session
from omero_pixclf.embedded.users.sessions import IDLE_MS, ClientSession

__all__ = ["SessionService"]

_AGENT = "createSession"
_SUDO_AGENT = "OMERO.sudo"
_CLIENT_AGENTS = ("OMERO.insight", "OMERO.web", "OMERO.importer")


class SessionService(OmeroService):
    """omero.api.ISession."""

    interface = omero.api.ISession

    # ---- making and ending -----------------------------------------------------------------------------------
    @guests_allowed
    @writes_database
    def createSession(self, call: RequestContext, principal: Any, credentials: str) -> Any:
        user = _known_user(call, principal.name)
        if not is_correct_password(call.tx, user, credentials):
            raise omero_error(omero.AuthenticationException, f"Error creating session for {principal.name}")
        group = choose_group(call.tx, user, principal.group or "")
        return _load_session(call, _open_session(call, user, group, _AGENT))

    @writes_database
    def createUserSession(self, call: RequestContext, live_ms: int, idle_ms: int, group: str | None) -> Any:
        self.require_password()
        own = choose_group(call.tx, self.session.user_id, group or "")
        made = _open_session(call, self.session.user_id, own, _AGENT, idle_ms=idle_ms, live_ms=live_ms)
        return _load_session(call, made)

    @writes_database
    def createSessionWithTimeout(self, call: RequestContext, principal: Any, live_ms: int) -> Any:
        return self._sudo(call, principal, live_ms, 0)

    @writes_database
    def createSessionWithTimeouts(self, call: RequestContext, principal: Any, live_ms: int, idle_ms: int) -> Any:
        return self._sudo(call, principal, live_ms, idle_ms)

    def _sudo(self, call: RequestContext, principal: Any, live_ms: int, idle_ms: int) -> Any:
        """Create a session for another user: administrators for all, group owners in the groups that they lead.

        A group owner may act for an administrator, but has no administrator rights then (see `load_caller`).
        """
        user = _known_user(call, principal.name)
        group = choose_group(call.tx, user, principal.group or "")
        led = None if call.caller.has_privilege("Sudo") else call.caller.leader_of
        if led is not None and group not in led:
            raise security_violation(f"Group sudo is not permitted for group {principal.group} (gid={group})")
        behind = (self.session.user_id, self.session.user_name)
        if self.session.sudoer_id is not None:
            behind = (self.session.sudoer_id, self.session.sudoer_name or "")
        made = _open_session(call, user, group, _SUDO_AGENT, idle_ms=idle_ms, live_ms=live_ms, sudoer=behind)
        made.groups = led
        return _load_session(call, made)

    @without_transaction
    def closeSession(self, context: Any, session: Any) -> int:
        """Remove one client of the session; the last one closes it. Returns the number of clients left."""
        uuid = unwrap(session.uuid) if session is not None else None
        if uuid is None:
            raise api_usage_error("a session without uuid cannot be closed")
        found = self.server.sessions.find(uuid)
        if found is None:
            return -1
        left = self.server.sessions.leave(found)
        if left == 0:
            self.server.sessions.close(found)  # also if its clients have detached
        return left

    # ---- looking up ------------------------------------------------------------------------------------------
    @guests_allowed
    def getSession(self, call: RequestContext, uuid: str) -> Any:
        return _load_session(call, self._open(uuid))

    @without_transaction
    def getReferenceCount(self, context: Any, uuid: str) -> int:
        return self._open(uuid).references

    def getMyOpenSessions(self, call: RequestContext) -> list[Any]:
        return self._mine(call)

    def getMyOpenAgentSessions(self, call: RequestContext, agent: str) -> list[Any]:
        return self._mine(call, agent)

    def getMyOpenClientSessions(self, call: RequestContext) -> list[Any]:
        return self._mine(call, *_CLIENT_AGENTS)

    def _mine(self, call: RequestContext, *agents: str) -> list[Any]:
        own = [s for s in self.server.sessions.all() if s.user_id == self.session.user_id]
        found = call.graph.load("Session", [s.ident for s in own])
        call.graph.finish_loading()
        return [s for s in found.values() if not agents or unwrap(s.userAgent) in agents]

    def _open(self, uuid: str) -> ClientSession:
        found = self.server.sessions.find(uuid)
        if found is None:
            raise omero_error(omero.RemovedSessionException, f"No context for {uuid}")
        return found

    # ---- variables -------------------------------------------------------------------------------------------
    @without_transaction
    def getInput(self, context: Any, uuid: str, key: str) -> Any:
        return self._open(uuid).inputs.get(key)

    @without_transaction
    def getOutput(self, context: Any, uuid: str, key: str) -> Any:
        return self._open(uuid).outputs.get(key)

    @without_transaction
    def setInput(self, context: Any, uuid: str, key: str, value: Any) -> None:
        self._open(uuid).inputs[key] = _present(value)

    @without_transaction
    def setOutput(self, context: Any, uuid: str, key: str, value: Any) -> None:
        self._open(uuid).outputs[key] = _present(value)

    @without_transaction
    def getInputKeys(self, context: Any, uuid: str) -> list[str]:
        return list(self._open(uuid).inputs)

    @without_transaction
    def getOutputKeys(self, context: Any, uuid: str) -> list[str]:
        return list(self._open(uuid).outputs)

    @without_transaction
    def getInputs(self, context: Any, uuid: str) -> dict[str, Any]:
        return dict(self._open(uuid).inputs)

    @without_transaction
    def getOutputs(self, context: Any, uuid: str) -> dict[str, Any]:
        return dict(self._open(uuid).outputs)


def _present(value: Any) -> Any:
    """Refuse None, which OMERO cannot store."""
    if value is None:
        raise api_usage_error("Can't handle input class java.lang.Object")
    return value


def _known_user(call: RequestContext, name: str) -> int:
    found = find_user_id(call.tx, name)
    if found is None:
        raise omero_error(omero.RemovedSessionException, f"Cannot find a user with name {name}")
    return found


def _open_session(
    call: RequestContext,
    user: int,
    group: int,
    agent: str,
    *,
    idle_ms: int = IDLE_MS,
    live_ms: int = 0,
    sudoer: tuple[int, str] | None = None,
) -> ClientSession:
    """Open a session that counts its creator as a client until it is closed or expires."""
    agent = call.context.get("omero.agent") or agent
    made = open_session(
        call.server.sessions, call.tx, user, group, agent=agent, idle_ms=idle_ms, live_ms=live_ms, sudoer=sudoer
    )
    made.references = 1
    return made


def _load_session(call: RequestContext, session: ClientSession) -> Any:
    """Return the Session object with the details of its user and group."""
    found = call.graph.get("Session", session.ident)
    call.graph.load("Experimenter", [session.user_id])
    call.graph.load("ExperimenterGroup", [session.group_id])
    call.graph.finish_loading()
    details = found._details
    creation = details._creationEvent._id._val if details._creationEvent is not None else None
    update = details._updateEvent._id._val if details._updateEvent is not None else None
    perms = call.graph.permissions(session.user_id, session.group_id)
    found._details = call.graph.details(session.user_id, session.group_id, creation, update, None, perms)
    return found
