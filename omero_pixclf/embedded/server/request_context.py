"""The context of a request: session, caller and permissions, transaction, and the objects loaded so far."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

from omero_pixclf.embedded.database.object_loader import ObjectGraph
from omero_pixclf.embedded.database.sqlite import Transaction, now_ms
from omero_pixclf.embedded.server.exceptions import api_usage_error, missing_row_error, security_violation
from omero_pixclf.embedded.server.protocols import RequestServer
from omero_pixclf.embedded.users.access_rights import SYSTEM_GROUP, USER_GROUP, Caller, GroupLevel
from omero_pixclf.embedded.users.event_context import make_event_context
from omero_pixclf.embedded.users.sessions import ClientSession

__all__ = ["PRIVILEGE_PREFIX", "RequestContext", "load_caller", "load_denied_privileges", "load_memberships"]

PRIVILEGE_PREFIX = "AdminPrivilege:"  # prefix of a user's settings that deny a privilege
_ROOT = 0


def load_memberships(tx: Transaction, user_id: int) -> tuple[list[int], list[int]]:
    """Return the ids of a user's groups, the default group first, and of the groups that the user leads."""
    rows = tx.all("SELECT parent, owner FROM groupexperimentermap WHERE child = ? ORDER BY child_index, id", (user_id,))
    return [row[0] for row in rows], [row[0] for row in rows if row[1]]


def load_denied_privileges(tx: Transaction, user_id: int) -> frozenset[str]:
    """Return the administrator privileges that are denied to a user."""
    if user_id == _ROOT:
        return frozenset()
    rows = tx.all(
        "SELECT name, value FROM experimenter_config WHERE id = ? AND name LIKE 'AdminPrivilege:%'", (user_id,)
    )
    return frozenset(name.removeprefix(PRIVILEGE_PREFIX) for name, value in rows if (value or "").lower() != "true")


def load_caller(tx: Transaction, user_id: int, group_id: int | None, sudoer_id: int | None = None) -> Caller:
    """Return the user with the current memberships.

    A user who acts for another user gains no rights: an administrator no denied privileges, a group owner no other
    groups and no administration.
    """
    name = tx.one("SELECT omeName FROM experimenter WHERE id = ?", (user_id,))
    members, leads = load_memberships(tx, user_id)
    denied: frozenset[str] = load_denied_privileges(tx, user_id) if SYSTEM_GROUP in members else frozenset()
    if sudoer_id is not None:
        members, leads, denied = _restrict_to_sudoer(tx, sudoer_id, members, leads, denied)
    levels = tx.all(
        "SELECT g.id, g.permissions FROM groupexperimentermap m JOIN experimentergroup g ON g.id = m.parent "
        "WHERE m.child = ?",
        (user_id,),
    )
    readable = frozenset(g for g, perm1 in levels if g in members and GroupLevel(perm1).is_readable)
    return Caller(
        user_id,
        name[0] if name else "",
        group_id,
        SYSTEM_GROUP in members,
        frozenset(members),
        frozenset(leads),
        readable,
        denied,
    )


def _restrict_to_sudoer(
    tx: Transaction, sudoer_id: int, members: list[int], leads: list[int], denied: frozenset[str]
) -> tuple[list[int], list[int], frozenset[str]]:
    """Restrict the groups, led groups and privileges of a user to those of the user who acts for them."""
    behind, led = load_memberships(tx, sudoer_id)
    lacking = load_denied_privileges(tx, sudoer_id) if SYSTEM_GROUP in behind else frozenset()
    if SYSTEM_GROUP not in behind or "Sudo" in lacking:
        members, leads = [g for g in members if g in behind], [g for g in leads if g in led]
    return members, leads, denied | lacking if SYSTEM_GROUP in members else frozenset()


class RequestContext:
    """What a service's method gets: the session, the caller with permissions, and the open transaction."""

    def __init__(
        self,
        server: RequestServer,
        session: ClientSession,
        tx: Transaction,
        context: Mapping[str, str],
        current: Any = None,
    ) -> None:
        self.server = server
        self.session = session
        self.tx = tx
        self.context = dict(context)
        self.current = current
        self.caller = self._caller()

    @classmethod
    def for_server(cls, server: RequestServer, tx: Transaction) -> RequestContext:
        """Return a context of the server's own, with root's permissions in all groups."""
        made = cls.__new__(cls)
        made.server, made.tx, made.context, made.current = server, tx, {}, None
        made.session = ClientSession("-", 0, 0, "root", SYSTEM_GROUP, event_type="Internal")
        return made.as_admin()

    @property
    def folder(self) -> Path:
        """The server's data folder."""
        return self.server.folder

    @cached_property
    def graph(self) -> ObjectGraph:
        """The model objects that this request has loaded."""
        return ObjectGraph(self.tx, self.caller, self._masked_event_context)

    def _masked_event_context(self) -> Any:
        """Return the event context for objects' details, without the session's uuid: it works like a password."""
        made = make_event_context(self.tx, self.session, self.caller)
        made.sessionUuid = "*********"
        return made

    def in_group(self, group_id: int | None) -> RequestContext:
        """Return the same request in another group (None: all of the user's groups)."""
        context = {**self.context, "omero.group": "-1" if group_id is None else str(group_id)}
        return RequestContext(self.server, self.session, self.tx, context, self.current)

    def as_admin(self) -> RequestContext:
        """Return the same request with root's permissions in all groups; for internal use of the server only."""
        made = RequestContext.__new__(RequestContext)
        made.__dict__.update({k: v for k, v in self.__dict__.items() if k != "graph"})
        made.caller = Caller(0, "root", None, True, frozenset({SYSTEM_GROUP, USER_GROUP}), frozenset(), frozenset())
        return made

    def _caller(self) -> Caller:
        own = load_caller(self.tx, self.session.user_id, self.session.group_id, self.session.sudoer_id)
        wanted = self._number("omero.group")
        group = self.session.group_id if wanted is None else wanted
        if self.session.groups is not None and group not in self.session.groups:
            raise security_violation("Group-sudo session cannot change context!")
        user = self._number("omero.user")
        if group is not None and group >= 0:
            self._check_member(own, group)
        if user is not None and user != own.user_id:
            if not own.is_leader(group):
                raise security_violation(
                    f"User {own.user_id} is not an admin or leader and may not act for user {user}"
                )
            own = load_caller(self.tx, user, None)
        return replace(own, group_id=None if group < 0 else group)

    def _number(self, key: str) -> int | None:
        text = self.context.get(key, "")
        try:
            return int(text) if text else None
        except ValueError:
            return None

    def _check_member(self, own: Caller, group: int) -> None:
        if group in own.member_of:
            return
        if self.tx.one("SELECT 1 FROM experimentergroup WHERE id = ?", (group,)) is None:
            raise missing_row_error("ome.model.meta.ExperimenterGroup", group)
        if not own.is_admin:
            raise security_violation(f"User {own.user_id} is not a member of group {group} and cannot login")

    def require_user(self) -> None:
        """Raise SecurityViolation for guests and deactivated users (not members of the group ``user``)."""
        if USER_GROUP not in self.caller.member_of:
            raise security_violation(f"No matching roles found for session {self.session.uuid} (allowed: [user])")

    @property
    def write_group(self) -> int:
        """The group of new objects; ApiUsageException if the request spans all groups."""
        if self.caller.group_id is None:
            raise api_usage_error(
                "No valid permissions available! DUMMY permissions are not intended for copying. Make sure that "
                "you have not passed omero.group=-1 for a save without context"
            )
        return self.caller.group_id

    @cached_property
    def event_id(self) -> int:
        """The event of this request's changes, created when it is first needed."""
        ident = self.tx.new_id("event")
        if ident == 0:
            ident = self.tx.new_id("event")
        kind = self.tx.one("SELECT id FROM eventtype WHERE value = ?", (self.session.event_type,))
        group = self.caller.group_id if self.caller.group_id is not None else self.session.group_id
        self.tx.execute(
            "INSERT INTO event (id, time, experimenter, experimenterGroup, type, session) VALUES (?, ?, ?, ?, ?, ?)",
            (ident, now_ms(), self.caller.user_id, group, kind[0] if kind else None, self.session.ident),
        )
        return ident
