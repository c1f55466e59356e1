"""Access rights: what a caller may read, change, annotate and link, by OMERO's group permission levels.

In a private group only the owner, the group's leaders and administrators see an object; there leaders and
administrators may edit and delete, but neither annotate nor link.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import omero.model
from omero.constants import permissions as restriction

__all__ = [
    "ALL_RIGHTS",
    "NO_RIGHTS",
    "SYSTEM_GROUP",
    "USER_GROUP",
    "Caller",
    "GroupLevel",
    "Rights",
    "format_permissions",
    "make_permissions",
]

SYSTEM_GROUP, USER_GROUP = 0, 1
_GROUP_READ, _GROUP_ANNOTATE, _GROUP_WRITE = 4 << 4, 1 << 4, 2 << 4
_NAMES = ("link", "edit", "delete", "annotate", "chgrp", "chown")
_BITS = {
    name: getattr(restriction, name.upper() + "RESTRICTION")
    for name in _NAMES  # index of each right in OMERO's list of restrictions
}


@dataclass(frozen=True)
class GroupLevel:
    """The permission level of a group: what it allows its plain members."""

    perm1: int

    @property
    def is_readable(self) -> bool:
        """Whether members can see each other's objects."""
        return bool(self.perm1 & _GROUP_READ)

    @property
    def is_annotatable(self) -> bool:
        """Whether members may annotate each other's objects."""
        return bool(self.perm1 & (_GROUP_ANNOTATE | _GROUP_WRITE))

    @property
    def is_writable(self) -> bool:
        """Whether members have full access to each other's objects."""
        return bool(self.perm1 & _GROUP_WRITE)


@dataclass(frozen=True)
class Rights:
    """What one caller may do to one object."""

    link: bool
    edit: bool
    delete: bool
    annotate: bool
    chgrp: bool
    chown: bool


ALL_RIGHTS = Rights(True, True, True, True, True, True)
NO_RIGHTS = Rights(False, False, False, False, False, False)


@dataclass(frozen=True)
class Caller:
    """The user of a request and the group of the request (None: all of the user's groups)."""

    user_id: int
    user_name: str
    group_id: int | None
    is_admin: bool
    member_of: frozenset[int]
    leader_of: frozenset[int]
    readable_groups: frozenset[int]  # groups of the user in which colleagues' objects are visible
    denied: frozenset[str] = frozenset()  # administrator privileges that are denied

    def has_privilege(self, privilege: str) -> bool:
        """Whether the caller is an administrator with a privilege, such as ``ModifyUser``."""
        return self.is_admin and privilege not in self.denied

    def is_leader(self, group_id: int) -> bool:
        """Whether the caller has a leader's rights in a group."""
        return self.is_admin or group_id in self.leader_of

    def may_read(self, owner_id: int, group_id: int) -> bool:
        """Whether an object is visible in this request; the same rule as `filter_sql`."""
        if group_id == USER_GROUP:  # contains OMERO's own scripts and repositories
            return True
        if self.group_id is not None and group_id != self.group_id:
            return False
        return owner_id == self.user_id or self.is_leader(group_id) or group_id in self.readable_groups

    def filter_sql(self, alias: str) -> str:
        """Return an SQL condition that selects the rows the caller may read; "" if that is all of them."""
        if self.group_id is not None:
            # the + keeps SQLite from using an index for these conditions
            if self.is_leader(self.group_id) or self.group_id in self.readable_groups:
                return f"+{alias}.group_id IN ({self.group_id}, {USER_GROUP})"
            own = f"+{alias}.group_id = {self.group_id} AND {alias}.owner_id = {self.user_id}"
            return f"({own} OR +{alias}.group_id = {USER_GROUP})"
        if self.is_admin:
            return ""
        groups = ", ".join(str(g) for g in sorted(self.readable_groups | self.leader_of | {USER_GROUP}))
        return f"({alias}.owner_id = {self.user_id} OR {alias}.group_id IN ({groups}))"

    def rights(self, owner_id: int, group_id: int, level: GroupLevel, domain: str = "Owned") -> Rights:
        """Return what the caller may do to an object of that owner in that group.

        ``domain`` selects the privileges that a restricted administrator needs: for ``Owned`` objects, or, for an
        OriginalFile, for a ``File``, the ``ManagedRepo`` or the ``ScriptRepo``.
        """
        if owner_id == self.user_id:
            return ALL_RIGHTS
        if self.is_admin and self.denied:
            return self._add_privileges(self._as_member(group_id, level), level, domain)
        if self.is_admin:
            return Rights(level.is_readable, True, True, level.is_readable, True, True)
        return self._as_member(group_id, level)

    def _add_privileges(self, plain: Rights, level: GroupLevel, domain: str) -> Rights:
        """Add the privileges of a restricted administrator to the rights of a plain member."""
        writes = self.has_privilege(f"Write{domain}")
        connects = writes and level.is_readable
        return Rights(
            plain.link or connects,
            plain.edit or writes,
            plain.delete or self.has_privilege(f"Delete{domain}"),
            plain.annotate or connects,
            plain.chgrp or self.has_privilege("Chgrp"),
            plain.chown or self.has_privilege("Chown"),
        )

    def _as_member(self, group_id: int, level: GroupLevel) -> Rights:
        if group_id in self.leader_of:
            return Rights(level.is_readable, True, True, level.is_readable, False, True)
        if group_id == USER_GROUP:
            return Rights(True, False, False, True, False, False)
        if group_id not in self.member_of:
            return NO_RIGHTS
        if level.is_writable:
            return Rights(True, True, True, True, False, False)
        return Rights(False, False, False, level.is_readable and level.is_annotatable, False, False)


def make_permissions(perm1: int, rights: Rights) -> Any:
    """Return OMERO's permissions object with the level and the denied rights."""
    made = omero.model.PermissionsI(perm1)
    denied = [False] * len(_BITS)
    for name, place in _BITS.items():
        denied[place] = not getattr(rights, name)
    made._restrictions = denied
    made._extendedRestrictions = []
    return made


def format_permissions(perm1: int) -> str:
    """Return the text form of permissions, such as ``rwra--``."""
    return str(omero.model.PermissionsI(perm1))
