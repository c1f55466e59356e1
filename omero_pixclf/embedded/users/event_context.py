"""The event context: OMERO's description of who a request runs as."""

from __future__ import annotations

from typing import Any

import omero.sys
from omero import rtypes

from omero_pixclf.embedded.database.enumerations import VALUES
from omero_pixclf.embedded.server.request_context import RequestContext
from omero_pixclf.embedded.users.access_rights import ALL_RIGHTS, make_permissions

__all__ = ["make_event_context"]


def make_event_context(call: RequestContext) -> Any:
    """The omero.sys.EventContext of the request."""
    caller, session = call.caller, call.session
    made = omero.sys.EventContext()
    made.shareId, made.sessionId, made.sessionUuid = -1, session.ident, session.uuid
    made.userId, made.userName = caller.user_id, caller.user_name
    made.sudoerId = rtypes.rlong(session.sudoer_id) if session.sudoer_id is not None else None
    made.sudoerName = rtypes.rstring(session.sudoer_name) if session.sudoer_name is not None else None
    made.groupId = caller.group_id if caller.group_id is not None else -1
    group = call.tx.one("SELECT name, permissions FROM experimentergroup WHERE id = ?", (made.groupId,))
    made.groupName = group[0] if group else ""
    made.isAdmin = caller.is_admin
    made.adminPrivileges = [name for name in VALUES["AdminPrivilege"] if caller.has(name)]
    made.eventId, made.eventType = -1, "Internal"
    made.memberOfGroups, made.leaderOfGroups = _ordered_groups(call)
    made.groupPermissions = make_permissions(group[1] if group else 0, ALL_RIGHTS)
    return made


def _ordered_groups(call: RequestContext) -> tuple[list[int], list[int]]:
    sql = "SELECT parent, owner FROM groupexperimentermap WHERE child = ? ORDER BY child_index, id"
    rows = call.tx.all(sql, (call.caller.user_id,))
    caller = call.caller
    return [r[0] for r in rows if r[0] in caller.member_of], [r[0] for r in rows if r[0] in caller.leader_of]
