"""Chmod2: the permissions of groups; making a group private cuts what connects its members' data."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

import omero.cmd
import omero.model

from omero_pixclf.embedded.commands.chgrp import WHOLE_LINKS
from omero_pixclf.embedded.commands.delete import carry_out, named_targets
from omero_pixclf.embedded.commands.delete_rules import Removal
from omero_pixclf.embedded.commands.graph_traversal import Action
from omero_pixclf.embedded.commands.links import Item, bond, items, link_classes
from omero_pixclf.embedded.commands.options import child_options
from omero_pixclf.embedded.commands.request_errors import Refused, graph_failure
from omero_pixclf.embedded.database.event_log import note
from omero_pixclf.embedded.database.schema import table
from omero_pixclf.embedded.server.request_context import Call
from omero_pixclf.embedded.users.access_rights import GroupLevel, level_text

__all__ = ["TARGETS", "change_permissions"]

TARGETS = ("ExperimenterGroup",)
_FORM = re.compile(r"([Rr_-][AaWw_-]){3}")
_CUT = (  # others' things that go
    "Pixels.settings",
    "Pixels.thumbnails",
    "Image.rois",
    "Channel.statsInfo",
    "LogicalChannel.detectorSettings",
    "LogicalChannel.lightSourceSettings",
    "Image.objectiveSettings",
)
_FORBIDDEN = (  # what cannot be cut between owners
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


def change_permissions(call: Call, request: Any) -> Any:
    """Answer a Chmod2 request."""
    wanted = _parsed(request.permissions)
    removal = Removal(call.as_admin(), child_options(request.childOptions))
    groups = named_targets(removal, TARGETS, request.targetObjects)
    for group in groups:
        if not (call.caller.has("ModifyGroup") or group.id in call.caller.leader_of):
            raise graph_failure(f"not permitted to change the permissions of group {group.id}")
    closing = [] if GroupLevel(wanted).readable else [g.id for g in groups if removal.call.graph.level(g.id).readable]
    removal.run(list(_connections(removal, closing)), Action.DROP)
    unlinked = removal.to_unlink()
    if not request.dryRun:
        for group in groups:
            sql = "UPDATE experimentergroup SET permissions = ?, update_id = ? WHERE id = ?"
            call.tx.execute(sql, (wanted, call.event_id, group.id))
            for action in ("UPDATE", f"CHMOD({level_text(wanted)})"):
                note(call, action, "ome.model.meta.ExperimenterGroup", [group.id])
        carry_out(removal, unlinked)
    included = {"ome.model.meta.ExperimenterGroup": sorted(group.id for group in groups)} if groups else {}
    return omero.cmd.Chmod2Response(included, removal.by_class(Action.DROP))


def _parsed(text: str) -> int:
    if not _FORM.fullmatch(text or ""):
        raise Refused("bad-permissions", "Permissions are of the form: ([Rr_-][AaWw_-]){3}")
    return int(omero.model.PermissionsI(text)._perm1)


def _connections(removal: Removal, groups: Sequence[int]) -> Iterator[Item]:
    """What connects data of different owners in some groups; GraphException where it cannot be cut."""
    for group in groups:
        for text in _FORBIDDEN:
            for ident in _across(removal, text, group):
                raise graph_failure(f"cannot downgrade to private as {text} of {ident} has another owner")
        for text in _CUT:
            yield from items(removal.tx, bond(text).thing, _across(removal, text, group, "t"))
        for name in link_classes():
            if name in WHOLE_LINKS:
                continue
            yield from items(removal.tx, name, _across(removal, name, group))


def _across(removal: Removal, text: str, group: int, answer: str = "r") -> list[int]:
    """Rows that tie a holder and a thing of different owners, or (``t``) the things."""
    found = bond(text)
    holder, thing, row = table(found.holder), table(found.thing), table(found.where)
    if "owner_id" not in holder.columns or "owner_id" not in thing.columns:
        return []
    sql = (
        f'SELECT DISTINCT {answer}.id FROM {row.name} r JOIN {holder.name} h ON h.id = r."{found.holder_column}" '
        f'JOIN {thing.name} t ON t.id = r."{found.thing_column}" WHERE r.group_id = ? AND h.owner_id <> t.owner_id'
    )
    return [ident for (ident,) in removal.tx.all(sql, (group,))]
