"""The event context: user, group, memberships and privileges of a request, as OMERO describes them to clients."""

from __future__ import annotations

from typing import Any

import omero.sys
from omero import rtypes

from omero_pixclf.embedded.database.enumerations import VALUES
from omero_pixclf.embedded.database.sqlite import Transaction
from omero_pixclf.embedded.users.access_rights import ALL_RIGHTS, Caller, make_permissions
from omero_pixclf.embedded.users.sessions import ClientSession

__all__ = ["make_event_context"]


def make_event_context(tx: Transaction, session: ClientSession, caller: Caller) -> Any:
    """Return the omero.sys.EventContext of a caller in a session."""
    made = omero.sys.EventContext()
    made.shareId, made.sessionId, made.sessionUuid = -1, session.ident, session.uuid
    made.userId, made.userName = caller.user_id, caller.user_name
    made.sudoerId = rtypes.rlong(session.sudoer_id) if session.sudoer_id is not None else None
    made.sudoerName = rtypes.rstring(session.sudoer_name) if session.sudoer_name is not None else None
    made.groupId = caller.group_id if caller.group_id is not None else -1
    group = tx.one("SELECT name, permissions FROM experimentergroup WHERE id = ?", (made.groupId,))
    made.groupName = group[0] if group else ""
    made.isAdmin = caller.is_admin
    made.adminPrivileges = [name for name in VALUES["AdminPrivilege"] if caller.has_privilege(name)]
    made.eventId, made.eventType = -1, "Internal"
    made.memberOfGroups, made.leaderOfGroups = _ordered_groups(tx, caller)
    made.groupPermissions = make_permissions(group[1] if group else 0, ALL_RIGHTS)
    return made


def _ordered_groups(tx: Transaction, caller: Caller) -> tuple[list[int], list[int]]:
    sql = "SELECT parent, owner FROM groupexperimentermap WHERE child = ? ORDER BY child_index, id"
    rows = tx.all(sql, (caller.user_id,))
    return [r[0] for r in rows if r[0] in caller.member_of], [r[0] for r in rows if r[0] in caller.leader_of]
