"""IAdmin: users, groups, passwords, privileges and the event context."""
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
from omero_pixclf.embedded.commands.request_errors import RequestError
from omero_pixclf.embedded.hql.queries import query_objects
from omero_pixclf.embedded.server.exceptions import api_usage_error, security_violation, validation_error
from omero_pixclf.embedded.server.request_context import (
    RequestContext,
    load_memberships,
)
from omero_pixclf.embedded.server.servant import OmeroService, guests_allowed, writes_database
from omero_pixclf.embedded.users import experimenters
from omero_pixclf.embedded.users.access_rights import SYSTEM_GROUP, USER_GROUP
from omero_pixclf.embedded.users.event_context import make_event_context
from omero_pixclf.embedded.users.logins import is_correct_password
from omero_pixclf.embedded.users.privileges import (
    ALL_PRIVILEGES,
    check_elevation,
    deny_privileges,
    list_privileges,
    parse_privileges,
)
from omero_pixclf.embedded.users.user_photos import load_photos, store_photo

__all__ = ["AdminService"]

_MAP = "left outer join fetch {0}.groupExperimenterMap m left outer join fetch m."
_USERS = "select distinct e from Experimenter e " + _MAP.format("e") + "parent"
_GROUPS = "select distinct g from ExperimenterGroup g " + _MAP.format("g") + "child"
_MEMBERSHIPS = "ModifyGroupMembership"
_ROOT = 0


def _target(obj: Any) -> dict[str, list[int]]:
    return {type(obj).__name__.removesuffix("I"): [obj.id.val]}


def _perform(call: RequestContext, request: Any) -> None:
    """Execute a request that follows the rules of the object graph."""
    try:
        perform(call, request)
    except RequestError as refused:
        raise security_violation(str(refused)) from refused


def _group_of(call: RequestContext, obj: Any) -> int:
    """Return the group of a stored object that the caller may read."""
    found = call.graph.get(type(obj).__name__.removesuffix("I"), obj.id.val)
    call.graph.finish_loading()
    return int(found.details.group.id.val)


def _load_privileges(call: RequestContext, names: list[str]) -> list[Any]:
    return query_objects(call, "select p from AdminPrivilege p where p.value in (:v)", v=names) if names else []


def _ids(objects_: list[Any] | None) -> list[int]:
    return [o.id.val for o in objects_ or []]


class _LookupOperations(OmeroService):
    """Operations that everybody may call."""

    @guests_allowed
    def getEventContext(self, call: RequestContext) -> Any:
        return make_event_context(call.tx, call.session, call.caller)

    @guests_allowed
    def getSecurityRoles(self, call: RequestContext) -> Any:
        made = omero.sys.Roles()
        made.rootId, made.rootName, made.systemGroupId, made.systemGroupName = 0, "root", 0, "system"
        made.userGroupId, made.userGroupName = 1, "user"
        made.guestId, made.guestName, made.guestGroupId, made.guestGroupName = 1, "guest", 2, "guest"
        return made

    def getExperimenter(self, call: RequestContext, ident: int) -> Any:
        found = query_objects(call, f"{_USERS} where e.id = :i", i=ident)
        if not found:
            raise api_usage_error(f"No such experimenter: {ident}")
        return found[0]

    def lookupExperimenter(self, call: RequestContext, name: str) -> Any:
        return self.getExperimenter(call, experimenters.find_user(call, name))

    def lookupExperimenters(self, call: RequestContext) -> list[Any]:
        return query_objects(call, f"{_USERS} order by e.id")

    def lookupLdapAuthExperimenter(self, call: RequestContext, ident: int) -> None:
        return None

    def lookupLdapAuthExperimenters(self, call: RequestContext) -> list[Any]:
        return []

    def getGroup(self, call: RequestContext, ident: int) -> Any:
        found = query_objects(call, f"{_GROUPS} where g.id = :i", i=ident)
        if not found:
            raise api_usage_error(f"No such group: {ident}")
        return found[0]

    def lookupGroup(self, call: RequestContext, name: str) -> Any:
        return self.getGroup(call, experimenters.find_group(call, name))

    def lookupGroups(self, call: RequestContext) -> list[Any]:
        return query_objects(call, f"{_GROUPS} order by g.id")

    def containedExperimenters(self, call: RequestContext, group: int) -> list[Any]:
        return query_objects(
            call,
            f"{_USERS} where exists (select x from GroupExperimenterMap x where x.child = e and x.parent.id = :g)",
            g=group,
        )

    def containedGroups(self, call: RequestContext, user: int) -> list[Any]:
        return query_objects(
            call,
            f"{_GROUPS} where exists (select x from GroupExperimenterMap x where x.parent = g and x.child.id = :e)",
            e=user,
        )

    def getDefaultGroup(self, call: RequestContext, user: int) -> Any:
        members, _ = load_memberships(call.tx, user)
        if not members or members[0] == USER_GROUP:
            raise validation_error(f"The user {user} has no default group set.")
        return self.getGroup(call, members[0])

    def getMemberOfGroupIds(self, call: RequestContext, user: Any) -> list[int]:
        return load_memberships(call.tx, user.id.val)[0]

    def getLeaderOfGroupIds(self, call: RequestContext, user: Any) -> list[int]:
        return load_memberships(call.tx, user.id.val)[1]

    def getMyUserPhotos(self, call: RequestContext) -> list[Any]:
        return load_photos(call)

    @writes_database
    def uploadMyUserPhoto(self, call: RequestContext, filename: str, mimetype: str, data: bytes) -> int:
        return store_photo(call, filename, mimetype, bytes(data))

    def canUpdate(self, call: RequestContext, obj: Any) -> bool:
        row = call.graph.get(type(obj).__name__[:-1], obj.id.val)
        call.graph.finish_loading()
        return bool(row.details.permissions.canEdit())

    def getCurrentAdminPrivileges(self, call: RequestContext) -> list[Any]:
        return _load_privileges(call, [name for name in ALL_PRIVILEGES if call.caller.has_privilege(name)])

    def getAdminPrivileges(self, call: RequestContext, user: Any) -> list[Any]:
        return _load_privileges(call, list_privileges(call, user.id.val))

    def getAdminsWithPrivileges(self, call: RequestContext, privileges: list[Any]) -> list[Any]:
        wanted = {rtypes.unwrap(p.value) for p in privileges}
        admins = self.containedExperimenters(call, SYSTEM_GROUP)
        return [a for a in admins if wanted <= set(list_privileges(call, a.id.val))]


class _GroupOperations(_LookupOperations):
    """Operations on groups and memberships."""

    @writes_database
    def createGroup(self, call: RequestContext, group: Any) -> int:
        experimenters.require_admin(call)
        experimenters.require_leader(call, [], "ModifyGroup")
        return experimenters.create_group(call, group)

    @writes_database
    def updateGroup(self, call: RequestContext, group: Any) -> None:
        experimenters.require_leader(call, [group.id.val], "ModifyGroup")
        experimenters.update_group(call, group)

    @writes_database
    def deleteGroup(self, call: RequestContext, group: Any) -> None:
        experimenters.require_leader(call, [group.id.val], "ModifyGroup")
        experimenters.delete_group(call, group.id.val)

    @writes_database
    def addGroups(self, call: RequestContext, user: Any, groups: list[Any]) -> None:
        if not groups:
            raise validation_error("Nothing to do.")
        experimenters.require_leader(call, _ids(groups), _MEMBERSHIPS)
        before = list_privileges(call, user.id.val)
        experimenters.add_to_groups(call, user.id.val, _ids(groups))
        check_elevation(call, user.id.val, before)

    @writes_database
    def removeGroups(self, call: RequestContext, user: Any, groups: list[Any]) -> None:
        experimenters.require_leader(call, _ids(groups), _MEMBERSHIPS)
        experimenters.remove_from_groups(call, user.id.val, _ids(groups))

    @writes_database
    def setDefaultGroup(self, call: RequestContext, user: Any, group: Any) -> None:
        if user.id.val != call.caller.user_id and not call.caller.has_privilege("ModifyUser"):
            raise security_violation(f"User {user.id.val} can only set own default group.")
        experimenters.set_default_group(call, user.id.val, group.id.val)

    @writes_database
    def setGroupOwner(self, call: RequestContext, group: Any, owner: Any) -> None:
        experimenters.require_leader(call, [group.id.val], _MEMBERSHIPS)
        experimenters.set_group_leader(call, owner.id.val, group.id.val, True)

    @writes_database
    def unsetGroupOwner(self, call: RequestContext, group: Any, owner: Any) -> None:
        experimenters.require_leader(call, [group.id.val], _MEMBERSHIPS)
        experimenters.set_group_leader(call, owner.id.val, group.id.val, False)

    @writes_database
    def addGroupOwners(self, call: RequestContext, group: Any, owners: list[Any]) -> None:
        experimenters.require_leader(call, [group.id.val], _MEMBERSHIPS)
        for owner in _ids(owners):
            experimenters.set_group_leader(call, owner, group.id.val, True)

    @writes_database
    def removeGroupOwners(self, call: RequestContext, group: Any, owners: list[Any]) -> None:
        experimenters.require_leader(call, [group.id.val], _MEMBERSHIPS)
        for owner in _ids(owners):
            experimenters.set_group_leader(call, owner, group.id.val, False)

    @writes_database
    def changeOwner(self, call: RequestContext, obj: Any, name: str) -> None:
        _perform(call, omero.cmd.Chown2(targetObjects=_target(obj), userId=experimenters.find_user(call, name)))

    @writes_database
    def changeGroup(self, call: RequestContext, obj: Any, name: str) -> None:
        _perform(call, omero.cmd.Chgrp2(targetObjects=_target(obj), groupId=experimenters.find_group(call, name)))

    @writes_database
    def moveToCommonSpace(self, call: RequestContext, moved: list[Any]) -> None:
        for obj in moved:
            experimenters.require_leader(call, [_group_of(call, obj)], "ModifyGroup")
            _perform(call, omero.cmd.Chgrp2(targetObjects=_target(obj), groupId=USER_GROUP))

    @writes_database
    def changePermissions(self, call: RequestContext, obj: Any, perms: Any) -> None:
        if not isinstance(obj, omero.model.ExperimenterGroup):
            raise api_usage_error("Only the permissions of groups can be changed")
        experimenters.require_leader(call, [obj.id.val], "ModifyGroup")
        experimenters.change_group_level(call, obj.id.val, perms._perm1)


class AdminService(_GroupOperations):
    """omero.api.IAdmin."""

    interface = omero.api.IAdmin

    # ---- users -----------------------------------------------------------------------------------------------
    @writes_database
    def createUser(self, call: RequestContext, person: Any, group: str) -> int:
        ident = experimenters.find_group(call, group)
        experimenters.require_leader(call, [ident], "ModifyUser")
        return experimenters.create_user(call, person, None, [ident])

    @writes_database
    def createSystemUser(self, call: RequestContext, person: Any) -> int:
        experimenters.require_admin(call)
        return self._create_experimenter(call, person, None, [SYSTEM_GROUP])

    @writes_database
    def createRestrictedSystemUser(self, call: RequestContext, person: Any, privileges: list[Any]) -> int:
        return self._create_restricted(call, person, privileges, None)

    @writes_database
    def createRestrictedSystemUserWithPassword(
        self, call: RequestContext, person: Any, privileges: list[Any], password: Any
    ) -> int:
        return self._create_restricted(call, person, privileges, rtypes.unwrap(password))

    def _create_restricted(self, call: RequestContext, person: Any, privileges: list[Any], password: str | None) -> int:
        experimenters.require_admin(call)
        return self._create_experimenter(call, person, password, [SYSTEM_GROUP], parse_privileges(privileges))

    @writes_database
    def createExperimenter(self, call: RequestContext, person: Any, default: Any, groups: list[Any]) -> int:
        return self._create_experimenter(call, person, None, [default.id.val, *_ids(groups)])

    @writes_database
    def createExperimenterWithPassword(
        self, call: RequestContext, person: Any, password: Any, default: Any, groups: list[Any]
    ) -> int:
        return self._create_experimenter(call, person, rtypes.unwrap(password), [default.id.val, *_ids(groups)])

    def _create_experimenter(
        self,
        call: RequestContext,
        person: Any,
        password: str | None,
        groups: list[int],
        kept: Iterable[str] = ALL_PRIVILEGES,
    ) -> int:
        experimenters.require_leader(call, groups, "ModifyUser")
        user = experimenters.create_user(call, person, password, groups)
        deny_privileges(call, user, set(ALL_PRIVILEGES).difference(kept))
        check_elevation(call, user)
        return user

    @writes_database
    def updateSelf(self, call: RequestContext, person: Any) -> None:
        experimenters.update_user(call, call.caller.user_id, person, everything=False)

    @writes_database
    def updateExperimenter(self, call: RequestContext, person: Any) -> None:
        if person.id.val != call.caller.user_id:
            experimenters.require_privilege(call, "ModifyUser")
        experimenters.update_user(call, person.id.val, person, everything=call.caller.has_privilege("ModifyUser"))

    @writes_database
    def updateExperimenterWithPassword(self, call: RequestContext, person: Any, password: Any) -> None:
        self._must_manage(call, person.id.val)
        experimenters.update_user(call, person.id.val, person, everything=True)
        experimenters.change_password(call, person.id.val, password)

    @writes_database
    def deleteExperimenter(self, call: RequestContext, person: Any) -> None:
        experimenters.require_privilege(call, "ModifyUser")
        experimenters.delete_user(call, person.id.val)

    @writes_database
    def setAdminPrivileges(self, call: RequestContext, user: Any, privileges: list[Any]) -> None:
        experimenters.require_admin(call)
        denied = set(ALL_PRIVILEGES) - parse_privileges(privileges)
        if user.id.val == _ROOT and denied:
            raise api_usage_error("cannot remove light administrator privileges from the root user")
        experimenters.require_privilege(call, "ModifyUser")
        before = list_privileges(call, user.id.val)
        deny_privileges(call, user.id.val, denied)
        check_elevation(call, user.id.val, before)

    def _must_manage(self, call: RequestContext, user: int) -> None:
        """Refuse to change the password of a user with more privileges than the caller."""
        experimenters.require_privilege(call, "ModifyUser")
        if any(not call.caller.has_privilege(name) for name in list_privileges(call, user)):
            raise security_violation("Cannot change the password of a more privileged user.")

    # ---- passwords -------------------------------------------------------------------------------------------
    @writes_database
    def changePassword(self, call: RequestContext, password: Any) -> None:
        self.require_password()
        experimenters.change_password(call, call.caller.user_id, password)

    @writes_database
    def changePasswordWithOldPassword(self, call: RequestContext, old: Any, new: Any) -> None:
        if rtypes.unwrap(old) is None:
            raise api_usage_error("Value for digesting may not be null")
        if not is_correct_password(call.tx, call.caller.user_id, rtypes.unwrap(old)):
            raise security_violation("Old password is invalid")
        experimenters.change_password(call, call.caller.user_id, new)

    @writes_database
    def changeUserPassword(self, call: RequestContext, name: str, password: Any) -> None:
        self.require_password()
        user = experimenters.find_user(call, name)
        self._must_manage(call, user)
        experimenters.change_password(call, user, password)

    @guests_allowed
    @writes_database
    def changeExpiredCredentials(self, call: RequestContext, name: str, old: str, new: str) -> None:
        raise security_violation("passwords do not expire here")

    @guests_allowed
    def reportForgottenPassword(self, call: RequestContext, name: str, email: str) -> None:
        raise api_usage_error("no mail is sent from here: ask an administrator for a new password")

    def synchronizeLoginCache(self, call: RequestContext) -> None:
        """Do nothing: there is no cache."""
