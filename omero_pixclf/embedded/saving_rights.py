"""Who may save what: ownership of new objects, links to others' objects, changes, stale copies."""

from __future__ import annotations

from typing import Any

import omero
import omero.model

from omero_pixclf.embedded.call import Call
from omero_pixclf.embedded.faults import fault, violation
from omero_pixclf.embedded.model import Entity, entity
from omero_pixclf.embedded.storing import places

__all__ = ["check_editable", "check_fresh", "check_links", "ownership"]

_ANNOTATING = {("Roi", "Image"), ("Thumbnail", "Pixels"), ("RenderingDef", "Pixels")}  # ask for annotate, not for link


def ownership(call: Call, found: Entity, obj: Any) -> tuple[int, int]:
    """Owner and group of a new object: the caller and the request's group, unless its details may say otherwise."""
    caller = call.caller
    if found.is_global:
        return caller.user_id, -1
    group, owner = call.write_group, caller.user_id
    wanted = _wanted(obj, "_group")
    if wanted is not None and wanted != group:
        if not (caller.is_admin or wanted in caller.member_of):
            raise violation(f"You are not authorized to set the group of {found.qualified}")
        group = wanted if caller.is_admin else group
    wanted = _wanted(obj, "_owner")
    if wanted is not None and wanted != owner:
        if not caller.leads(group):
            raise violation(f"You are not authorized to set the ExperimenterID for {found.qualified}")
        owner = wanted
    return owner, group


def _wanted(obj: Any, name: str) -> int | None:
    part = getattr(obj._details, name) if obj._details is not None else None
    return int(part._id._val) if part is not None and part._id is not None else None


def check_links(call: Call, found: Entity, row: list[Any], current: Any = None) -> None:
    """New references to others' objects take the right to annotate or to link; those of the current row stand."""
    for name, field in found.references.items():
        place = places(found.name)[name]
        target_id = row[place]
        if target_id is None or entity(field.target).is_global or (current and current[place] == target_id):
            continue
        stored, where = call.graph.row(field.target, target_id), places(field.target)
        if stored is None or "owner_id" not in where:
            continue  # made by this very request, or nobody's
        rights = call.graph.rights(stored[where["owner_id"]], stored[where["group_id"]])
        annotates = found.is_annotation_link or (found.name, field.target) in _ANNOTATING
        if not (rights.annotate if annotates else rights.link):
            _refuse_link(call, field.target, target_id, stored[where["group_id"]])


def _refuse_link(call: Call, kind: str, ident: int, group: int) -> None:
    level = call.graph.level(group)
    where = f"{entity(kind).qualified}:Id_{ident}"
    if not level.readable:
        raise fault(omero.ReadOnlyGroupSecurityViolation, f"Cannot link to {where}")
    raise violation(f"Group is {omero.model.PermissionsI(level.perm1)}. Cannot link to object: {where}")


def check_editable(call: Call, found: Entity, ident: int, current: Any, wanted: list[Any]) -> None:
    """SecurityViolation unless the caller may turn the current row into the wanted one."""
    check_links(call, found, wanted, current)
    where = places(found.name)
    if "owner_id" in where:
        allowed = call.graph.rights(current[where["owner_id"]], current[where["group_id"]]).edit
    else:
        allowed = call.caller.is_admin
    if not allowed:
        raise violation(f"Updating {found.qualified}:Id_{ident} not allowed.")


def check_fresh(found: Entity, obj: Any, ident: int, current: Any) -> None:
    """OptimisticLockException where the object was changed since the client read it."""
    known = obj._details._updateEvent if obj._details is not None else None
    place = places(found.name).get("update_id")
    if known is None or known._id is None or place is None or not found.is_mutable:
        return
    if current[place] is not None and known._id._val != current[place]:
        raise fault(
            omero.OptimisticLockException,
            f"You are not authorized to change the update event for {found.qualified}:Id_{ident} from "
            f"ome.model.meta.Event:Id_{current[place]} to ome.model.meta.Event:Id_{known._id._val}",
        )
