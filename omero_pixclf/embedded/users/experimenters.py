"""Users, groups and memberships: the changes that IAdmin makes, and the rights they require."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import omero.model
from omero import rtypes

from omero_pixclf.embedded.database.event_log import log_event
from omero_pixclf.embedded.database.initial_rows import set_password
from omero_pixclf.embedded.database.object_model import entities
from omero_pixclf.embedded.database.saving import Saver
from omero_pixclf.embedded.database.schema import table
from omero_pixclf.embedded.server.exceptions import (
    api_usage_error,
    missing_row_error,
    security_violation,
    validation_error,
)
from omero_pixclf.embedded.server.request_context import RequestContext, load_memberships
from omero_pixclf.embedded.users.access_rights import SYSTEM_GROUP, USER_GROUP, GroupLevel, format_permissions

__all__ = [
    "add_to_groups",
    "change_group_level",
    "change_password",
    "create_group",
    "create_user",
    "delete_group",
    "delete_user",
    "find_group",
    "find_user",
    "remove_from_groups",
    "require_admin",
    "require_leader",
    "require_privilege",
    "set_default_group",
    "set_group_leader",
    "update_group",
    "update_user",
]

_PRIVATE = "rw----"
_MEMBERSHIP = "ome.model.meta.GroupExperimenterMap"
_OWN = ("firstName", "middleName", "lastName", "email", "institution")
_SPECIAL_USERS, _SPECIAL_GROUPS = ("root", "guest"), ("system", "user", "guest")


def require_admin(call: RequestContext) -> None:
    """Raise SecurityViolation unless the caller is an administrator."""
    if not call.caller.is_admin:
        raise security_violation(f"No matching roles found for session {call.session.uuid} (allowed: [system])")


def require_privilege(call: RequestContext, privilege: str) -> None:
    """Raise SecurityViolation unless the caller is an administrator with a privilege."""
    if not call.caller.has_privilege(privilege):
        raise security_violation("Current user is not admin for the given user(s)")


def require_leader(call: RequestContext, groups: Iterable[int], privilege: str) -> None:
    """Raise SecurityViolation unless the caller has a privilege or leads all of the groups."""
    wanted = [g for g in groups if g != USER_GROUP]
    if call.caller.has_privilege(privilege) or (wanted and all(g in call.caller.leader_of for g in wanted)):
        return
    raise security_violation("Current user is neither admin nor group-leader for the given user(s)/group(s)")


def find_user(call: RequestContext, name: str) -> int:
    """Return a user's id by login name; ApiUsageException if there is none."""
    row = call.tx.one("SELECT id FROM experimenter WHERE omeName = ?", (name,))
    if row is None:
        raise api_usage_error(f"No such experimenter: {name}")
    return int(row[0])


def find_group(call: RequestContext, name: str) -> int:
    """Return a group's id by name; ApiUsageException if there is none."""
    row = call.tx.one("SELECT id FROM experimentergroup WHERE name = ?", (name,))
    if row is None:
        raise api_usage_error(f"No such group: {name}")
    return int(row[0])


def create_group(call: RequestContext, group: Any) -> int:
    """Store a new group; it is private unless its details give permissions."""
    made = omero.model.ExperimenterGroupI()
    made.name, made.description = group.name, group.description
    made.ldap = group.ldap if group.ldap is not None else rtypes.rbool(False)
    perms = getattr(group._details, "_permissions", None) if group._details is not None else None
    made.details.permissions = omero.model.PermissionsI(perms._perm1 if perms is not None else _PRIVATE)
    return _save(call, made)


def create_user(call: RequestContext, person: Any, password: str | None, groups: Sequence[int]) -> int:
    """Store a new user as a member of groups, the first one the default group, and of the group ``user``."""
    made = omero.model.ExperimenterI()
    for name in ("omeName", "firstName", "middleName", "lastName", "institution", "email"):
        setattr(made, name, getattr(person, name))
    made.ldap = person.ldap if person.ldap is not None else rtypes.rbool(False)
    user = _save(call, made)
    add_to_groups(call, user, [*dict.fromkeys(groups), *(() if USER_GROUP in groups else (USER_GROUP,))])
    if password and password.strip():
        set_password(call.tx, user, password)
    return user


def _save(call: RequestContext, obj: Any) -> int:
    saver = Saver(call.as_admin())
    saved = saver.save(obj)
    saver.flush()
    return int(saved.id.val)


def _require_row(call: RequestContext, kind: str, ident: int) -> None:
    if call.tx.one(f"SELECT 1 FROM {table(kind).name} WHERE id = ?", (ident,)) is None:
        raise missing_row_error(f"ome.model.meta.{kind}", ident)


def add_to_groups(call: RequestContext, user: int, groups: Iterable[int], *, leader: bool = False) -> None:
    """Make a user a member of groups; existing memberships stay as they are."""
    _require_row(call, "Experimenter", user)
    known, _ = load_memberships(call.tx, user)
    place = call.tx.one("SELECT max(child_index) FROM groupexperimentermap WHERE child = ?", (user,))[0]
    for group in groups:
        _require_row(call, "ExperimenterGroup", group)
        if group in known:
            continue
        place = 0 if place is None else place + 1
        ident = call.tx.new_id("groupexperimentermap")
        call.tx.execute(
            "INSERT INTO groupexperimentermap (id, parent, child, owner, child_index) VALUES (?, ?, ?, ?, ?)",
            (ident, group, user, leader, place),
        )
        log_event(call, "INSERT", _MEMBERSHIP, [ident])


def remove_from_groups(call: RequestContext, user: int, groups: Iterable[int]) -> None:
    """End memberships; every user keeps a group, and root and the caller stay in ``system`` and ``user``."""
    known, _ = load_memberships(call.tx, user)
    gone = set(groups)
    if gone & {SYSTEM_GROUP, USER_GROUP} and user in (0, call.caller.user_id):
        raise validation_error("experimenters may not remove root or themselves from the groups 'system' and 'user'")
    if not [g for g in known if g not in gone and g != USER_GROUP]:
        raise validation_error("Users must have at least one group besides the group of all users")
    for group in gone:
        pair = (user, group)
        row = call.tx.one("SELECT id FROM groupexperimentermap WHERE child = ? AND parent = ?", pair)
        call.tx.execute("DELETE FROM groupexperimentermap WHERE child = ? AND parent = ?", pair)
        log_event(call, "DELETE", _MEMBERSHIP, row or ())
    _store_group_order(call, user, load_memberships(call.tx, user)[0])


def set_default_group(call: RequestContext, user: int, group: int) -> None:
    """Make a group the first of a user's groups."""
    known, _ = load_memberships(call.tx, user)
    if group not in known:
        raise api_usage_error(f"Group {group} was not found. Use addGroups before calling setDefaultGroup")
    if group == USER_GROUP:
        raise api_usage_error("Cannot set default group to: user")
    _store_group_order(call, user, [group, *(g for g in known if g != group)])


def _store_group_order(call: RequestContext, user: int, groups: Sequence[int]) -> None:
    for place, group in enumerate(groups):
        call.tx.execute(
            "UPDATE groupexperimentermap SET child_index = ? WHERE child = ? AND parent = ?", (place, user, group)
        )


def set_group_leader(call: RequestContext, user: int, group: int, leads: bool) -> None:
    """Make a user leader of a group, or a plain member again; a user who is not a member becomes one."""
    add_to_groups(call, user, [group])
    call.tx.execute("UPDATE groupexperimentermap SET owner = ? WHERE child = ? AND parent = ?", (leads, user, group))


def update_user(call: RequestContext, user: int, person: Any, *, everything: bool) -> None:
    """Change a user's details; ``everything`` includes the login name."""
    names = (*_OWN, *(("omeName", "ldap") if everything else ()))
    current = call.as_admin().graph.get("Experimenter", user)
    old = current.omeName.val
    if everything and old in _SPECIAL_USERS and rtypes.unwrap(person.omeName) != old:
        raise validation_error(f"cannot change name of special experimenter '{old}'")
    for name in names:
        setattr(current, name, getattr(person, name))
    _save(call, current)


def update_group(call: RequestContext, group: Any) -> None:
    """Change a group's name, description and permissions."""
    ident = group.id.val
    current = call.as_admin().graph.get("ExperimenterGroup", ident)
    old, new = current.name.val, rtypes.unwrap(group.name)
    if old != new and (old in _SPECIAL_GROUPS or new in _SPECIAL_GROUPS):
        raise validation_error(f"cannot change name of special group '{old}' or to '{new}'")
    if old != new and ident == call.caller.group_id:
        raise validation_error(f"cannot rename the current group context '{old}'")
    current.name, current.description = group.name, group.description
    _save(call, current)
    perms = group._details._permissions if group._details is not None else None
    if perms is not None:
        change_group_level(call, ident, perms._perm1)


def change_group_level(call: RequestContext, group: int, perm1: int) -> None:
    """Change a group's permissions; SecurityViolation if making it private would break references."""
    before = call.tx.one("SELECT permissions FROM experimentergroup WHERE id = ?", (group,))[0]
    if before == perm1:
        return
    if GroupLevel(before).is_readable and not GroupLevel(perm1).is_readable:
        for text in _references_across_owners(call, group):
            raise security_violation(
                f"Cannot change permissions of group {group} to {format_permissions(perm1)} due to locks: {text}"
            )
    call.tx.execute("UPDATE experimentergroup SET permissions = ? WHERE id = ?", (perm1, group))
    log_event(call, f"CHMOD({format_permissions(perm1)})", "ome.model.meta.ExperimenterGroup", [group])


def _references_across_owners(call: RequestContext, group: int) -> Iterator[str]:
    """Yield class and property of references in a group between objects of different owners."""
    for found in (e for e in entities().values() if e.name == e.root and not e.is_global):
        for name, field in table(found.name).fields.items():
            if field.kind != "entity" or "owner_id" not in table(field.target).columns:
                continue
            sql = (
                f'SELECT 1 FROM {table(found.name).name} x JOIN {table(field.target).name} y ON y.id = x."{name}" '
                "WHERE x.group_id = ? AND y.group_id = ? AND x.owner_id <> y.owner_id LIMIT 1"
            )
            if call.tx.one(sql, (group, group)) is not None:
                yield f"{found.name}.{name}"


def delete_user(call: RequestContext, user: int) -> None:
    """Delete a user without objects and without past sessions; ValidationException otherwise."""
    _require_row(call, "Experimenter", user)
    _require_unused(call, "owner_id", user)
    for name in ("session", "event"):
        column = "owner" if name == "session" else "experimenter"
        if call.tx.one(f"SELECT 1 FROM {name} WHERE {column} = ?", (user,)):
            raise validation_error(f"could not delete: user {user} has been logged in")
    call.tx.execute("DELETE FROM groupexperimentermap WHERE child = ?", (user,))
    call.tx.execute("DELETE FROM password WHERE experimenter_id = ?", (user,))
    call.tx.execute("DELETE FROM experimenter WHERE id = ?", (user,))


def delete_group(call: RequestContext, group: int) -> None:
    """Delete a group without members and objects; ValidationException otherwise."""
    _require_row(call, "ExperimenterGroup", group)
    _require_unused(call, "group_id", group)
    if call.tx.one("SELECT 1 FROM event WHERE experimenterGroup = ?", (group,)):
        raise validation_error(f"could not delete: group {group} has been worked in")
    call.tx.execute("DELETE FROM groupexperimentermap WHERE parent = ?", (group,))
    call.tx.execute("DELETE FROM experimentergroup WHERE id = ?", (group,))


def _require_unused(call: RequestContext, column: str, ident: int) -> None:
    for where in {table(e.name) for e in entities().values() if column in table(e.name).columns}:
        if call.tx.one(f"SELECT 1 FROM {where.name} WHERE {column} = ?", (ident,)):
            raise validation_error(f"could not delete: there are objects in {where.name} with {column} {ident}")


def change_password(call: RequestContext, user: int, password: Any) -> None:
    """Change a user's password (an rstring); an empty or blank one locks the account."""
    text = rtypes.unwrap(password)
    if text and text.strip():
        set_password(call.tx, user, text)
    else:
        call.tx.execute("DELETE FROM password WHERE experimenter_id = ?", (user,))
    log_event(call, "PASSWORD", "ome.model.meta.Experimenter", [user])
