"""Privileges of restricted administrators: listing, denying, and the check that nobody gains any."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from omero import rtypes

from omero_pixclf.embedded.database.enumerations import VALUES
from omero_pixclf.embedded.server.exceptions import api_usage_error, security_violation
from omero_pixclf.embedded.server.request_context import (
    PRIVILEGE_PREFIX,
    RequestContext,
    load_denied_privileges,
    load_memberships,
)
from omero_pixclf.embedded.users.access_rights import SYSTEM_GROUP

__all__ = ["ALL_PRIVILEGES", "check_elevation", "deny_privileges", "list_privileges", "parse_privileges"]

ALL_PRIVILEGES = VALUES["AdminPrivilege"]


def list_privileges(call: RequestContext, user: int) -> list[str]:
    """Return a user's privileges as an administrator; none for other users."""
    if SYSTEM_GROUP not in load_memberships(call.tx, user)[0]:
        return []
    denied = load_denied_privileges(call.tx, user)
    return [name for name in ALL_PRIVILEGES if name not in denied]


def check_elevation(call: RequestContext, user: int, before: Iterable[str] = ()) -> None:
    """Raise SecurityViolation if a user has gained a privilege that the caller does not have."""
    gained = set(list_privileges(call, user)) - set(before)
    if any(not call.caller.has_privilege(name) for name in gained):
        raise security_violation("cannot give administrator privileges that current user does not have")


def deny_privileges(call: RequestContext, user: int, denied: Iterable[str]) -> None:
    """Store which privileges a user does not have as an administrator."""
    call.tx.execute("DELETE FROM experimenter_config WHERE id = ? AND name LIKE 'AdminPrivilege:%'", (user,))
    start = call.tx.one("SELECT coalesce(max(position), -1) FROM experimenter_config WHERE id = ?", (user,))[0] + 1
    rows = [(user, start + place, PRIVILEGE_PREFIX + name, "false") for place, name in enumerate(sorted(denied))]
    call.tx.executemany("INSERT INTO experimenter_config VALUES (?, ?, ?, ?)", rows)


def parse_privileges(privileges: list[Any]) -> set[str]:
    """Return the names of AdminPrivilege objects; ApiUsageException for unknown ones."""
    names = {str(rtypes.unwrap(p.value)) for p in privileges or []}
    for name in names.difference(ALL_PRIVILEGES):
        raise api_usage_error(f"unknown light administrator privilege: {name}")
    return names
