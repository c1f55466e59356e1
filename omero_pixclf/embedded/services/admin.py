"""IAdmin: users, groups and the caller's context."""
# ruff: noqa: D102 - the operations are OMERO's and documented there

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import omero
import omero.api
import omero.cmd
import omero.sys
from omero import rtypes

from omero_pixclf.embedded.commands.perform import perform
from omero_pixclf.embedded.commands.request_errors import Refused
from omero_pixclf.embedded.database.enumerations import VALUES
from omero_pixclf.embedded.hql.queries import objects
from omero_pixclf.embedded.server.exceptions import invalid, misuse, violation
from omero_pixclf.embedded.server.request_context import PRIVILEGE, Call, denied_privileges, memberships
from omero_pixclf.embedded.server.servant import Service, changes, for_everybody
from omero_pixclf.embedded.users import experimenters
from omero_pixclf.embedded.users.access_rights import SYSTEM_GROUP, USER_GROUP
from omero_pixclf.embedded.users.event_context import event_context
from omero_pixclf.embedded.users.logins import password_fits
from omero_pixclf.embedded.users.user_photos import photos, store_photo

__all__ = ["Admin"]

_MAP = "left outer join fetch {0}.groupExperimenterMap m left outer join fetch m."
_USERS = "select distinct e from Experimenter e " + _MAP.format("e") + "parent"
_GROUPS = "select distinct g from ExperimenterGroup g " + _MAP.format("g") + "child"
_ALL_PRIVILEGES = VALUES["AdminPrivilege"]
_MEMBERSHIPS = "ModifyGroupMembership"
_ROOT = 0


def _target(obj: Any) -> dict[str, list[int]]:
    return {type(obj).__name__.removesuffix("I"): [obj.id.val]}


def _perform(call: Call, request: Any) -> None:
    """Carry out a request that goes by the rules of the object graph."""
    try:
        perform(call, request)
    except Refused as refused:
        raise violation(str(refused)) from refused


def _group_of(call: Call, obj: Any) -> int:
    """The group of a stored object that the caller may read."""
    found = call.graph.get(type(obj).__name__.removesuffix("I"), obj.id.val)
    call.graph.finish()
    return int(found.details.group.id.val)


def _privileges(call: Call, user: int) -> list[str]:
    """What a user may do as an administrator; nothing for who is none."""
    if SYSTEM_GROUP not in memberships(call.tx, user)[0]:
        return []
    denied = denied_privileges(call.tx, user)
    return [name for name in _ALL_PRIVILEGES if name not in denied]


def _enumerated(call: Call, names: list[str]) -> list[Any]:
    return objects(call, "select p from AdminPrivilege p where p.value in (:v)", v=names) if names else []


def _check_elevation(call: Call, user: int, before: Iterable[str] = ()) -> None:
    """SecurityViolation where a user has got a privilege that the caller has not."""
    gained = set(_privileges(call, user)) - set(before)
    if any(not call.caller.has(name) for name in gained):
        raise violation("cannot give administrator privileges that current user does not have")


def _deny(call: Call, user: int, denied: Iterable[str]) -> None:
    """Store which privileges a user shall not have as an administrator."""
    call.tx.execute("DELETE FROM experimenter_config WHERE id = ? AND name LIKE 'AdminPrivilege:%'", (user,))
    start = call.tx.one("SELECT coalesce(max(position), -1) FROM experimenter_config WHERE id = ?", (user,))[0] + 1
    rows = [(user, start + place, PRIVILEGE + name, "false") for place, name in enumerate(sorted(denied))]
    call.tx.executemany("INSERT INTO experimenter_config VALUES (?, ?, ?, ?)", rows)


def _known(privileges: list[Any]) -> set[str]:
    names = {str(rtypes.unwrap(p.value)) for p in privileges or []}
    for name in names.difference(_ALL_PRIVILEGES):
        raise misuse(f"unknown light administrator privilege: {name}")
    return names


def _ids(objects_: list[Any] | None) -> list[int]:
    return [o.id.val for o in objects_ or []]


class _Lookups(Service):
    """What anybody may ask."""

    @for_everybody
    def getEventContext(self, call: Call) -> Any:
        return event_context(call)

    @for_everybody
    def getSecurityRoles(self, call: Call) -> Any:
        made = omero.sys.Roles()
        made.rootId, made.rootName, made.systemGroupId, made.systemGroupName = 0, "root", 0, "system"
        made.userGroupId, made.userGroupName = 1, "user"
        made.guestId, made.guestName, made.guestGroupId, made.guestGroupName = 1, "guest", 2, "guest"
        return made

    def getExperimenter(self, call: Call, ident: int) -> Any:
        found = objects(call, f"{_USERS} where e.id = :i", i=ident)
        if not found:
            raise misuse(f"No such experimenter: {ident}")
        return found[0]

    def lookupExperimenter(self, call: Call, name: str) -> Any:
        return self.getExperimenter(call, experimenters.user_by_name(call, name))

    def lookupExperimenters(self, call: Call) -> list[Any]:
        return objects(call, f"{_USERS} order by e.id")

    def lookupLdapAuthExperimenter(self, call: Call, ident: int) -> None:
        return None

    def lookupLdapAuthExperimenters(self, call: Call) -> list[Any]:
        return []

    def getGroup(self, call: Call, ident: int) -> Any:
        found = objects(call, f"{_GROUPS} where g.id = :i", i=ident)
        if not found:
            raise misuse(f"No such group: {ident}")
        return found[0]

    def lookupGroup(self, call: Call, name: str) -> Any:
        return self.getGroup(call, experimenters.group_by_name(call, name))

    def lookupGroups(self, call: Call) -> list[Any]:
        return objects(call, f"{_GROUPS} order by g.id")

    def containedExperimenters(self, call: Call, group: int) -> list[Any]:
        return objects(
            call,
            f"{_USERS} where exists (select x from GroupExperimenterMap x where x.child = e and x.parent.id = :g)",
            g=group,
        )

    def containedGroups(self, call: Call, user: int) -> list[Any]:
        return objects(
            call,
            f"{_GROUPS} where exists (select x from GroupExperimenterMap x where x.parent = g and x.child.id = :e)",
            e=user,
        )

    def getDefaultGroup(self, call: Call, user: int) -> Any:
        members, _ = memberships(call.tx, user)
        if not members or members[0] == USER_GROUP:
            raise invalid(f"The user {user} has no default group set.")
        return self.getGroup(call, members[0])

    def getMemberOfGroupIds(self, call: Call, user: Any) -> list[int]:
        return memberships(call.tx, user.id.val)[0]

    def getLeaderOfGroupIds(self, call: Call, user: Any) -> list[int]:
        return memberships(call.tx, user.id.val)[1]

    def getMyUserPhotos(self, call: Call) -> list[Any]:
        return photos(call)

    @changes
    def uploadMyUserPhoto(self, call: Call, filename: str, mimetype: str, data: bytes) -> int:
        return store_photo(call, filename, mimetype, bytes(data))

    def canUpdate(self, call: Call, obj: Any) -> bool:
        row = call.graph.get(type(obj).__name__[:-1], obj.id.val)
        call.graph.finish()
        return bool(row.details.permissions.canEdit())

    def getCurrentAdminPrivileges(self, call: Call) -> list[Any]:
        return _enumerated(call, [name for name in _ALL_PRIVILEGES if call.caller.has(name)])

    def getAdminPrivileges(self, call: Call, user: Any) -> list[Any]:
        return _enumerated(call, _privileges(call, user.id.val))

    def getAdminsWithPrivileges(self, call: Call, privileges: list[Any]) -> list[Any]:
        wanted = {rtypes.unwrap(p.value) for p in privileges}
        admins = self.containedExperimenters(call, SYSTEM_GROUP)
        return [a for a in admins if wanted <= set(_privileges(call, a.id.val))]


class _Groups(_Lookups):
    """Groups and who is in them."""

    @changes
    def createGroup(self, call: Call, group: Any) -> int:
        experimenters.must_administer(call)
        experimenters.must_lead(call, [], "ModifyGroup")
        return experimenters.create_group(call, group)

    @changes
    def updateGroup(self, call: Call, group: Any) -> None:
        experimenters.must_lead(call, [group.id.val], "ModifyGroup")
        experimenters.update_group(call, group)

    @changes
    def deleteGroup(self, call: Call, group: Any) -> None:
        experimenters.must_lead(call, [group.id.val], "ModifyGroup")
        experimenters.delete_group(call, group.id.val)

    @changes
    def addGroups(self, call: Call, user: Any, groups: list[Any]) -> None:
        if not groups:
            raise invalid("Nothing to do.")
        experimenters.must_lead(call, _ids(groups), _MEMBERSHIPS)
        before = _privileges(call, user.id.val)
        experimenters.join_groups(call, user.id.val, _ids(groups))
        _check_elevation(call, user.id.val, before)

    @changes
    def removeGroups(self, call: Call, user: Any, groups: list[Any]) -> None:
        experimenters.must_lead(call, _ids(groups), _MEMBERSHIPS)
        experimenters.leave_groups(call, user.id.val, _ids(groups))

    @changes
    def setDefaultGroup(self, call: Call, user: Any, group: Any) -> None:
        if user.id.val != call.caller.user_id and not call.caller.has("ModifyUser"):
            raise violation(f"User {user.id.val} can only set own default group.")
        experimenters.set_default_group(call, user.id.val, group.id.val)

    @changes
    def setGroupOwner(self, call: Call, group: Any, owner: Any) -> None:
        experimenters.must_lead(call, [group.id.val], _MEMBERSHIPS)
        experimenters.set_leadership(call, owner.id.val, group.id.val, True)

    @changes
    def unsetGroupOwner(self, call: Call, group: Any, owner: Any) -> None:
        experimenters.must_lead(call, [group.id.val], _MEMBERSHIPS)
        experimenters.set_leadership(call, owner.id.val, group.id.val, False)

    @changes
    def addGroupOwners(self, call: Call, group: Any, owners: list[Any]) -> None:
        experimenters.must_lead(call, [group.id.val], _MEMBERSHIPS)
        for owner in _ids(owners):
            experimenters.set_leadership(call, owner, group.id.val, True)

    @changes
    def removeGroupOwners(self, call: Call, group: Any, owners: list[Any]) -> None:
        experimenters.must_lead(call, [group.id.val], _MEMBERSHIPS)
        for owner in _ids(owners):
            experimenters.set_leadership(call, owner, group.id.val, False)

    @changes
    def changeOwner(self, call: Call, obj: Any, name: str) -> None:
        _perform(call, omero.cmd.Chown2(targetObjects=_target(obj), userId=experimenters.user_by_name(call, name)))

    @changes
    def changeGroup(self, call: Call, obj: Any, name: str) -> None:
        _perform(call, omero.cmd.Chgrp2(targetObjects=_target(obj), groupId=experimenters.group_by_name(call, name)))

    @changes
    def moveToCommonSpace(self, call: Call, moved: list[Any]) -> None:
        for obj in moved:
            experimenters.must_lead(call, [_group_of(call, obj)], "ModifyGroup")
            _perform(call, omero.cmd.Chgrp2(targetObjects=_target(obj), groupId=USER_GROUP))

    @changes
    def changePermissions(self, call: Call, obj: Any, perms: Any) -> None:
        if not isinstance(obj, omero.model.ExperimenterGroup):
            raise misuse("Only the permissions of groups can be changed")
        experimenters.must_lead(call, [obj.id.val], "ModifyGroup")
        experimenters.change_level(call, obj.id.val, perms._perm1)


class Admin(_Groups):
    """omero.api.IAdmin."""

    interface = omero.api.IAdmin

    # ---- users -----------------------------------------------------------------------------------------------
    @changes
    def createUser(self, call: Call, person: Any, group: str) -> int:
        ident = experimenters.group_by_name(call, group)
        experimenters.must_lead(call, [ident], "ModifyUser")
        return experimenters.create_user(call, person, None, [ident])

    @changes
    def createSystemUser(self, call: Call, person: Any) -> int:
        experimenters.must_administer(call)
        return self._experimenter(call, person, None, [SYSTEM_GROUP])

    @changes
    def createRestrictedSystemUser(self, call: Call, person: Any, privileges: list[Any]) -> int:
        return self._restricted(call, person, privileges, None)

    @changes
    def createRestrictedSystemUserWithPassword(
        self, call: Call, person: Any, privileges: list[Any], password: Any
    ) -> int:
        return self._restricted(call, person, privileges, rtypes.unwrap(password))

    def _restricted(self, call: Call, person: Any, privileges: list[Any], password: str | None) -> int:
        experimenters.must_administer(call)
        return self._experimenter(call, person, password, [SYSTEM_GROUP], _known(privileges))

    @changes
    def createExperimenter(self, call: Call, person: Any, default: Any, groups: list[Any]) -> int:
        return self._experimenter(call, person, None, [default.id.val, *_ids(groups)])

    @changes
    def createExperimenterWithPassword(
        self, call: Call, person: Any, password: Any, default: Any, groups: list[Any]
    ) -> int:
        return self._experimenter(call, person, rtypes.unwrap(password), [default.id.val, *_ids(groups)])

    def _experimenter(
        self, call: Call, person: Any, password: str | None, groups: list[int], kept: Iterable[str] = _ALL_PRIVILEGES
    ) -> int:
        experimenters.must_lead(call, groups, "ModifyUser")
        user = experimenters.create_user(call, person, password, groups)
        _deny(call, user, set(_ALL_PRIVILEGES).difference(kept))
        _check_elevation(call, user)
        return user

    @changes
    def updateSelf(self, call: Call, person: Any) -> None:
        experimenters.update_user(call, call.caller.user_id, person, everything=False)

    @changes
    def updateExperimenter(self, call: Call, person: Any) -> None:
        if person.id.val != call.caller.user_id:
            experimenters.must_have(call, "ModifyUser")
        experimenters.update_user(call, person.id.val, person, everything=call.caller.has("ModifyUser"))

    @changes
    def updateExperimenterWithPassword(self, call: Call, person: Any, password: Any) -> None:
        self._must_manage(call, person.id.val)
        experimenters.update_user(call, person.id.val, person, everything=True)
        experimenters.store_password(call, person.id.val, password)

    @changes
    def deleteExperimenter(self, call: Call, person: Any) -> None:
        experimenters.must_have(call, "ModifyUser")
        experimenters.delete_user(call, person.id.val)

    @changes
    def setAdminPrivileges(self, call: Call, user: Any, privileges: list[Any]) -> None:
        experimenters.must_administer(call)
        denied = set(_ALL_PRIVILEGES) - _known(privileges)
        if user.id.val == _ROOT and denied:
            raise misuse("cannot remove light administrator privileges from the root user")
        experimenters.must_have(call, "ModifyUser")
        before = _privileges(call, user.id.val)
        _deny(call, user.id.val, denied)
        _check_elevation(call, user.id.val, before)

    def _must_manage(self, call: Call, user: int) -> None:
        """Whose password is changed must not be able to do more than the caller."""
        experimenters.must_have(call, "ModifyUser")
        if any(not call.caller.has(name) for name in _privileges(call, user)):
            raise violation("Cannot change the password of a more privileged user.")

    # ---- passwords -------------------------------------------------------------------------------------------
    @changes
    def changePassword(self, call: Call, password: Any) -> None:
        self.must_have_password()
        experimenters.store_password(call, call.caller.user_id, password)

    @changes
    def changePasswordWithOldPassword(self, call: Call, old: Any, new: Any) -> None:
        if rtypes.unwrap(old) is None:
            raise misuse("Value for digesting may not be null")
        if not password_fits(call.tx, call.caller.user_id, rtypes.unwrap(old)):
            raise violation("Old password is invalid")
        experimenters.store_password(call, call.caller.user_id, new)

    @changes
    def changeUserPassword(self, call: Call, name: str, password: Any) -> None:
        self.must_have_password()
        user = experimenters.user_by_name(call, name)
        self._must_manage(call, user)
        experimenters.store_password(call, user, password)

    @for_everybody
    @changes
    def changeExpiredCredentials(self, call: Call, name: str, old: str, new: str) -> None:
        raise violation("passwords do not expire here")

    @for_everybody
    def reportForgottenPassword(self, call: Call, name: str, email: str) -> None:
        raise misuse("no mail is sent from here: ask an administrator for a new password")

    def synchronizeLoginCache(self, call: Call) -> None:
        """There is no cache: nothing to do."""
