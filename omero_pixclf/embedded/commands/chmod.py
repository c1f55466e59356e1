"""Chmod2: change the permissions of groups; making a group private deletes links between members' data."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

import omero.cmd
import omero.model

from omero_pixclf.embedded.commands.chgrp import WHOLE_LINKS
from omero_pixclf.embedded.commands.delete import execute_deletion, find_named_targets
from omero_pixclf.embedded.commands.delete_rules import Deletion
from omero_pixclf.embedded.commands.graph_traversal import Action
from omero_pixclf.embedded.commands.links import StoredObject, find_objects, link_classes, relation
from omero_pixclf.embedded.commands.options import child_options
from omero_pixclf.embedded.commands.request_errors import RequestError, graph_error
from omero_pixclf.embedded.database.event_log import log_event
from omero_pixclf.embedded.database.schema import table
from omero_pixclf.embedded.server.request_context import RequestContext
from omero_pixclf.embedded.users.access_rights import GroupLevel, format_permissions

__all__ = ["TARGETS", "change_permissions"]

TARGETS = ("ExperimenterGroup",)
_FORM = re.compile(r"([Rr_-][AaWw_-]){3}")
_CUT = (  # others' objects that are deleted
    "Pixels.settings",
    "Pixels.thumbnails",
    "Image.rois",
    "Channel.statsInfo",
    "LogicalChannel.detectorSettings",
    "LogicalChannel.lightSourceSettings",
    "Image.objectiveSettings",
)
_FORBIDDEN = (  # relations between owners that forbid the change
    "Image.imagingEnvironment",
    "Image.instrument",
    "Image.stageLabel",
    "Image.experiment",
    "Channel.logicalChannel",
    "WellSample.image",
    "WellReagentLink",
    "Screen.reagents",
    "JobOriginalFileLink",
)


def change_permissions(call: RequestContext, request: Any) -> Any:
    """Answer a Chmod2 request."""
    wanted = _parse_permissions(request.permissions)
    deletion = Deletion(call.as_admin(), child_options(request.childOptions))
    groups = find_named_targets(deletion, TARGETS, request.targetObjects)
    for group in groups:
        if not (call.caller.has_privilege("ModifyGroup") or group.id in call.caller.leader_of):
            raise graph_error(f"not permitted to change the permissions of group {group.id}")
    closing = (
        []
        if GroupLevel(wanted).is_readable
        else [g.id for g in groups if deletion.call.graph.group_level(g.id).is_readable]
    )
    deletion.run(list(_cross_owner_objects(deletion, closing)), Action.DELETE)
    unlinked = deletion.references_to_clear()
    if not request.dryRun:
        for group in groups:
            sql = "UPDATE experimentergroup SET permissions = ?, update_id = ? WHERE id = ?"
            call.tx.execute(sql, (wanted, call.event_id, group.id))
            for action in ("UPDATE", f"CHMOD({format_permissions(wanted)})"):
                log_event(call, action, "ome.model.meta.ExperimenterGroup", [group.id])
        execute_deletion(deletion, unlinked)
    included = {"ome.model.meta.ExperimenterGroup": sorted(group.id for group in groups)} if groups else {}
    return omero.cmd.Chmod2Response(included, deletion.ids_by_class(Action.DELETE))


def _parse_permissions(text: str) -> int:
    if not _FORM.fullmatch(text or ""):
        raise RequestError("bad-permissions", "Permissions are of the form: ([Rr_-][AaWw_-]){3}")
    return int(omero.model.PermissionsI(text)._perm1)


def _cross_owner_objects(deletion: Deletion, groups: Sequence[int]) -> Iterator[StoredObject]:
    """Yield objects that link data of different owners in groups; GraphException if one cannot be deleted."""
    for group in groups:
        for text in _FORBIDDEN:
            for ident in _cross_owner_rows(deletion, text, group):
                raise graph_error(f"cannot downgrade to private as {text} of {ident} has another owner")
        for text in _CUT:
            yield from find_objects(deletion.tx, relation(text).member, _cross_owner_rows(deletion, text, group, "t"))
        for name in link_classes():
            if name in WHOLE_LINKS:
                continue
            yield from find_objects(deletion.tx, name, _cross_owner_rows(deletion, name, group))


def _cross_owner_rows(deletion: Deletion, text: str, group: int, answer: str = "r") -> list[int]:
    """Return ids of rows that link a holder and a member of different owners; with ``t`` the members' ids."""
    found = relation(text)
    holder, member, row = table(found.holder), table(found.member), table(found.where)
    if "owner_id" not in holder.columns or "owner_id" not in member.columns:
        return []
    sql = (
        f'SELECT DISTINCT {answer}.id FROM {row.name} r JOIN {holder.name} h ON h.id = r."{found.holder_column}" '
        f'JOIN {member.name} t ON t.id = r."{found.member_column}" WHERE r.group_id = ? AND h.owner_id <> t.owner_id'
    )
    return [ident for (ident,) in deletion.tx.all(sql, (group,))]
