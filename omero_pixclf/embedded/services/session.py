"""ISession: sessions made, renewed and closed by clients, and their variables."""
# ruff: noqa: D102 - the operations are OMERO's and documented there

from __future__ import annotations

from typing import Any

import omero
import omero.api
from omero.rtypes import unwrap

from omero_pixclf.embedded.server.exceptions import fault, misuse, violation
from omero_pixclf.embedded.server.request_context import Call
from omero_pixclf.embedded.server.servant import Service, changes, for_everybody, untransacted
from omero_pixclf.embedded.users.logins import open_session, password_fits, pick_group, user_id
from omero_pixclf.embedded.users.sessions import IDLE_MS, ClientSession

__all__ = ["Session"]

_AGENT = "createSession"
_SUDO_AGENT = "OMERO.sudo"
_CLIENT_AGENTS = ("OMERO.insight", "OMERO.web", "OMERO.importer")


class Session(Service):
    """omero.api.ISession."""

    interface = omero.api.ISession

    # ---- making and ending -----------------------------------------------------------------------------------
    @for_everybody
    @changes
    def createSession(self, call: Call, principal: Any, credentials: str) -> Any:
        user = _known_user(call, principal.name)
        if not password_fits(call.tx, user, credentials):
            raise fault(omero.AuthenticationException, f"Error creating session for {principal.name}")
        group = pick_group(call.tx, user, principal.group or "")
        return _described(call, _opened(call, user, group, _AGENT))

    @changes
    def createUserSession(self, call: Call, live_ms: int, idle_ms: int, group: str | None) -> Any:
        self.must_have_password()
        own = pick_group(call.tx, self.session.user_id, group or "")
        made = _opened(call, self.session.user_id, own, _AGENT, idle_ms=idle_ms, live_ms=live_ms)
        return _described(call, made)

    @changes
    def createSessionWithTimeout(self, call: Call, principal: Any, live_ms: int) -> Any:
        return self._sudo(call, principal, live_ms, 0)

    @changes
    def createSessionWithTimeouts(self, call: Call, principal: Any, live_ms: int, idle_ms: int) -> Any:
        return self._sudo(call, principal, live_ms, idle_ms)

    def _sudo(self, call: Call, principal: Any, live_ms: int, idle_ms: int) -> Any:
        """A session for somebody else: administrators for all, group owners within the groups that they lead.

        A group owner may become an administrator, too, who then is none (see `caller_of`).
        """
        user = _known_user(call, principal.name)
        group = pick_group(call.tx, user, principal.group or "")
        led = None if call.caller.has("Sudo") else call.caller.leader_of
        if led is not None and group not in led:
            raise violation(f"Group sudo is not permitted for group {principal.group} (gid={group})")
        behind = (self.session.user_id, self.session.user_name)
        if self.session.sudoer_id is not None:
            behind = (self.session.sudoer_id, self.session.sudoer_name or "")
        made = _opened(call, user, group, _SUDO_AGENT, idle_ms=idle_ms, live_ms=live_ms, sudoer=behind)
        made.groups = led
        return _described(call, made)

    @untransacted
    def closeSession(self, context: Any, session: Any) -> int:
        """One user of the session less; the last one ends it. Returns how many are left."""
        uuid = unwrap(session.uuid) if session is not None else None
        if uuid is None:
            raise misuse("a session without uuid cannot be closed")
        found = self.server.sessions.find(uuid)
        if found is None:
            return -1
        left = self.server.sessions.leave(found)
        if left == 0:
            self.server.sessions.close(found)  # also where its clients have detached from it
        return left

    # ---- looking up ------------------------------------------------------------------------------------------
    @for_everybody
    def getSession(self, call: Call, uuid: str) -> Any:
        return _described(call, self._open(uuid))

    @untransacted
    def getReferenceCount(self, context: Any, uuid: str) -> int:
        return self._open(uuid).references

    def getMyOpenSessions(self, call: Call) -> list[Any]:
        return self._mine(call)

    def getMyOpenAgentSessions(self, call: Call, agent: str) -> list[Any]:
        return self._mine(call, agent)

    def getMyOpenClientSessions(self, call: Call) -> list[Any]:
        return self._mine(call, *_CLIENT_AGENTS)

    def _mine(self, call: Call, *agents: str) -> list[Any]:
        own = [s for s in self.server.sessions.all() if s.user_id == self.session.user_id]
        found = call.graph.load("Session", [s.ident for s in own])
        call.graph.finish()
        return [s for s in found.values() if not agents or unwrap(s.userAgent) in agents]

    def _open(self, uuid: str) -> ClientSession:
        found = self.server.sessions.find(uuid)
        if found is None:
            raise fault(omero.RemovedSessionException, f"No context for {uuid}")
        return found

    # ---- variables -------------------------------------------------------------------------------------------
    @untransacted
    def getInput(self, context: Any, uuid: str, key: str) -> Any:
        return self._open(uuid).inputs.get(key)

    @untransacted
    def getOutput(self, context: Any, uuid: str, key: str) -> Any:
        return self._open(uuid).outputs.get(key)

    @untransacted
    def setInput(self, context: Any, uuid: str, key: str, value: Any) -> None:
        self._open(uuid).inputs[key] = _present(value)

    @untransacted
    def setOutput(self, context: Any, uuid: str, key: str, value: Any) -> None:
        self._open(uuid).outputs[key] = _present(value)

    @untransacted
    def getInputKeys(self, context: Any, uuid: str) -> list[str]:
        return list(self._open(uuid).inputs)

    @untransacted
    def getOutputKeys(self, context: Any, uuid: str) -> list[str]:
        return list(self._open(uuid).outputs)

    @untransacted
    def getInputs(self, context: Any, uuid: str) -> dict[str, Any]:
        return dict(self._open(uuid).inputs)

    @untransacted
    def getOutputs(self, context: Any, uuid: str) -> dict[str, Any]:
        return dict(self._open(uuid).outputs)


def _present(value: Any) -> Any:
    """OMERO stores no null."""
    if value is None:
        raise misuse("Can't handle input class java.lang.Object")
    return value


def _known_user(call: Call, name: str) -> int:
    found = user_id(call.tx, name)
    if found is None:
        raise fault(omero.RemovedSessionException, f"Cannot find a user with name {name}")
    return found


def _opened(
    call: Call,
    user: int,
    group: int,
    agent: str,
    *,
    idle_ms: int = IDLE_MS,
    live_ms: int = 0,
    sudoer: tuple[int, str] | None = None,
) -> ClientSession:
    """A session that counts its maker until that one, or a timeout, ends it."""
    agent = call.context.get("omero.agent") or agent
    made = open_session(call.server, call.tx, user, group, agent=agent, idle_ms=idle_ms, live_ms=live_ms, sudoer=sudoer)
    made.references = 1
    return made


def _described(call: Call, session: ClientSession) -> Any:
    """The Session object; its details are those of its user and group."""
    found = call.graph.get("Session", session.ident)
    call.graph.load("Experimenter", [session.user_id])
    call.graph.load("ExperimenterGroup", [session.group_id])
    call.graph.finish()
    details = found._details
    creation = details._creationEvent._id._val if details._creationEvent is not None else None
    update = details._updateEvent._id._val if details._updateEvent is not None else None
    perms = call.graph.permissions(session.user_id, session.group_id)
    found._details = call.graph.details(session.user_id, session.group_id, creation, update, None, perms)
    return found
