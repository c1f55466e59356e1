"""Permission checks for saving: owner of new objects, links to others' objects, changed details, stale copies."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import omero
import omero.model

from omero_pixclf.embedded.database.object_model import Entity, entity
from omero_pixclf.embedded.database.row_mapping import column_indexes
from omero_pixclf.embedded.server.exceptions import api_usage_error, omero_error, security_violation
from omero_pixclf.embedded.server.request_context import RequestContext
from omero_pixclf.embedded.users.access_rights import SYSTEM_GROUP, USER_GROUP, GroupLevel

__all__ = [
    "changed_ownership",
    "check_editable",
    "check_group",
    "check_links",
    "check_not_stale",
    "check_repository",
    "may_change_global",
    "new_owner_and_group",
]

_PRIVILEGES = {
    "Experimenter": "ModifyUser",
    "ExperimenterGroup": "ModifyGroup",
    "GroupExperimenterMap": "ModifyGroupMembership",
}

_NO_GROUP = (
    "No valid permissions available! DUMMY permissions are not intended for copying. "
    "Make sure that you have not passed omero.group=-1 for a save without context"
)


@dataclass(frozen=True)
class _LinkedObject:
    """A stored object that another object refers to."""

    kind: Entity
    ident: int
    owner: int
    group: int

    def __str__(self) -> str:
        return f"{self.kind.qualified}:Id_{self.ident}"


def may_change_global(call: RequestContext, found: Entity) -> bool:
    """Whether the caller may create, change and delete objects without an owner; some classes require a privilege."""
    privilege = _PRIVILEGES.get(found.name)
    return call.caller.is_admin if privilege is None else call.caller.has_privilege(privilege)


# ---- new objects ---------------------------------------------------------------------------------------------
def new_owner_and_group(call: RequestContext, found: Entity, obj: Any, row: list[Any]) -> tuple[int, int]:
    """Return owner and group of a new object: the caller and the request's group.

    Administrators may set another owner. A request in all groups takes the group from the object's details, else from
    the objects that it refers to.
    """
    caller = call.caller
    if found.is_global:
        return caller.user_id, -1
    wanted = _given_id(obj, "_owner")
    if wanted not in (None, caller.user_id) and not caller.has_privilege("WriteOwned"):
        raise security_violation(f"You are not authorized to set the Experimenter for {found.qualified} to {wanted}")
    return caller.user_id if wanted is None else wanted, _group(call, found, obj, row)


def _group(call: RequestContext, found: Entity, obj: Any, row: list[Any]) -> int:
    caller, wanted = call.caller, _given_id(obj, "_group")
    if wanted is None:
        return caller.group_id if caller.group_id is not None else _linked_group(call, found, row)
    across = caller.group_id is None and (caller.is_admin or wanted in caller.member_of)
    if wanted == caller.group_id or across or (caller.is_admin and wanted == USER_GROUP):
        return wanted
    raise security_violation(f"You are not authorized to set the ExperimenterGroup for {found.qualified} to {wanted}")


def _linked_group(call: RequestContext, found: Entity, row: list[Any]) -> int:
    groups = {linked.group for linked in _linked_objects(call, found, row)}
    if len(groups) > 1:
        raise _mixed_group_error(found, *sorted(groups)[:2])
    if not groups:
        raise api_usage_error(_NO_GROUP)
    return groups.pop()


def _mixed_group_error(found: Entity, first: int, second: int) -> Any:
    text = f"MIXED GROUP: {found.qualified}(group={first}) and an object of group {second} cannot be linked."
    return omero_error(omero.GroupSecurityViolation, text)


def _given_id(obj: Any, name: str) -> int | None:
    part = getattr(obj._details, name) if obj._details is not None else None
    return int(part._id._val) if part is not None and part._id is not None else None


# ---- links ---------------------------------------------------------------------------------------------------
def _linked_objects(call: RequestContext, found: Entity, row: list[Any]) -> Iterator[_LinkedObject]:
    """Yield the stored objects that a row refers to, except those of the groups system and user."""
    for name, field in found.references.items():
        target_id = row[column_indexes(found.name)[name]]
        if target_id is None or entity(field.target).is_global:
            continue
        stored, where = call.graph.stored_row(field.target, target_id), column_indexes(field.target)
        if stored is None or "owner_id" not in where:
            continue  # created by this request, or without an owner
        owner, group = stored[where["owner_id"]], stored[where["group_id"]]
        if group not in (SYSTEM_GROUP, USER_GROUP):
            yield _LinkedObject(entity(field.target), target_id, owner, group)


def check_links(call: RequestContext, found: Entity, row: list[Any], owner: int, group: int) -> None:
    """Check that objects referred to are in the same group and that the caller may link to them."""
    if found.is_global or group == SYSTEM_GROUP:
        return
    for linked in _linked_objects(call, found, row):
        if linked.group != group:
            raise _mixed_group_error(found, group, linked.group)
        if linked.owner == call.caller.user_id:
            continue
        level = call.graph.group_level(linked.group)
        if not (call.caller.has_privilege("WriteOwned") or linked.group in call.caller.leader_of):
            _check_member(found, linked, level, linked.group in call.caller.member_of)
        elif not level.is_readable and owner != linked.owner:
            raise omero_error(omero.ReadOnlyGroupSecurityViolation, f"Cannot link to {linked}")


def _check_member(found: Entity, linked: _LinkedObject, level: GroupLevel, is_member: bool) -> None:
    """Check a plain member's right to link: read for settings, annotate for annotations and ROIs, else write."""
    names = (found.name, linked.kind.name)
    if "RenderingDef" in names or names == ("Thumbnail", "Pixels"):
        granted = level.is_readable
    elif found.is_annotation_link or names == ("Roi", "Image"):
        granted = level.is_annotatable
    else:
        granted = level.is_writable
    if not (granted and is_member):
        raise security_violation(f"Group is {omero.model.PermissionsI(level.perm1)}. Cannot link to object: {linked}")


# ---- changes -------------------------------------------------------------------------------------------------
def changed_ownership(call: RequestContext, found: Entity, obj: Any, ident: int, current: Any) -> dict[str, int]:
    """Return the columns of owner and group that a client changes and may change."""
    where = column_indexes(found.name)
    if "owner_id" not in where:
        return {}
    changed = {}
    owner, group = _given_id(obj, "_owner"), _given_id(obj, "_group")
    if owner not in (None, current[where["owner_id"]]):
        if not call.caller.has_privilege("WriteOwned"):
            raise security_violation(f"You are not authorized to change the owner for {found.qualified}:Id_{ident}")
        changed["owner_id"] = int(owner or 0)
    if group not in (None, current[where["group_id"]]):
        if not (call.caller.is_admin or (group in call.caller.member_of and group != USER_GROUP)):
            raise security_violation(f"You are not authorized to change the group for {found.qualified}:Id_{ident}")
        changed["group_id"] = int(group or 0)
    return changed


def check_editable(call: RequestContext, found: Entity, ident: int, current: Any, wanted: list[Any]) -> None:
    """Raise SecurityViolation unless the caller may change the current row into the wanted one."""
    where, what = column_indexes(found.name), f"{found.qualified}:Id_{ident}"
    if "owner_id" not in where:
        if not may_change_global(call, found):
            raise security_violation(f"Updating {what} not allowed.")
        return
    owner, group = current[where["owner_id"]], current[where["group_id"]]
    check_links(call, found, wanted, owner, group)
    check_group(call, group)
    if not call.graph.rights(owner, group, file=ident if found.name == "OriginalFile" else None).edit:
        raise security_violation(f"Updating {what} not allowed.")


def check_group(call: RequestContext, group: int) -> None:
    """Raise SecurityViolation unless the request runs in the group of the object that it changes."""
    current = -1 if call.caller.group_id is None else call.caller.group_id
    if current != group and group != USER_GROUP:
        raise security_violation(f"Currently logged into group {current}. Cannot alter object in group {group}")


def check_repository(found: Entity, wanted: list[Any], current: Any = None) -> None:
    """Raise SecurityViolation if a client sets the repository of a file."""
    if found.name != "OriginalFile":
        return
    place = column_indexes(found.name)["repo"]
    if wanted[place] is not None and (current is None or wanted[place] != current[place]):
        raise security_violation("cannot set original file repo property without secret key")


def check_not_stale(found: Entity, obj: Any, ident: int, current: Any) -> None:
    """Raise OptimisticLockException if the object was changed after the client read it."""
    for name, attribute in (("update_id", "_updateEvent"), ("creation_id", "_creationEvent")):
        known, place = _given_id(obj, attribute), column_indexes(found.name).get(name)
        if place is None or not found.is_mutable or None in (known, current[place]) or known == current[place]:
            continue
        text = f"event for {found.qualified}:Id_{ident} from ome.model.meta.Event:Id_{current[place]} to Id_{known}"
        if name == "creation_id":
            raise security_violation(f"You are not authorized to change the creation {text}")
        raise omero_error(omero.OptimisticLockException, f"You are not authorized to change the update {text}")
