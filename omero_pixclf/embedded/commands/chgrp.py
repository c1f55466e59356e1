"""Chgrp2: move objects with everything that belongs to them to another group."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import omero.cmd

from omero_pixclf.embedded.commands.cross_group_links import CrossGroupReference, find_cross_group_references
from omero_pixclf.embedded.commands.delete import execute_deletion, find_named_targets
from omero_pixclf.embedded.commands.delete_rules import Deletion, check_filesets, is_any_kind
from omero_pixclf.embedded.commands.graph_traversal import Action, Decision, GraphTraversal
from omero_pixclf.embedded.commands.links import (
    Relation,
    StoredObject,
    annotation_links,
    format_object,
    is_kind,
    relation,
)
from omero_pixclf.embedded.commands.options import child_options
from omero_pixclf.embedded.commands.request_errors import RequestError, graph_error
from omero_pixclf.embedded.commands.rules import (
    BORROWED_ANNOTATIONS,
    CONTENTS,
    FILE_USERS,
    FREE_ANNOTATIONS,
    HOLDS,
    PARTS,
    SETTINGS,
    UNOWNED,
    HoldRule,
)
from omero_pixclf.embedded.database.event_log import log_events
from omero_pixclf.embedded.database.object_model import entity
from omero_pixclf.embedded.database.schema import table
from omero_pixclf.embedded.database.sqlite import ids_parameter
from omero_pixclf.embedded.server.request_context import RequestContext
from omero_pixclf.embedded.users.access_rights import GroupLevel

__all__ = [
    "SHARED_RELATIONS",
    "TARGETS",
    "WHOLE_LINKS",
    "GroupChange",
    "change_group",
    "check_destination",
    "check_holders_included",
    "check_shared",
    "plan",
    "set_column",
]

# fmt: off
TARGETS = (
    "Annotation", "AnnotationLink", "Dataset", "DatasetImageLink", "Experiment", "Fileset", "Folder", "FolderImageLink",
    "FolderRoiLink", "Image", "Instrument", "Job", "OriginalFile", "Plate", "Project", "ProjectDatasetLink", "Reagent",
    "Roi", "Screen", "ScreenPlateLink", "WellReagentLink",
)
# fmt: on
_WITH_IMAGE = ("Pixels", "FilesetEntry")  # move only as parts
_DISPLAY = ("Pixels.settings", "Pixels.thumbnails")
_CONTAINED = ("Dataset", "Folder", "Image", "Plate")
SHARED_RELATIONS = (  # objects that move only if all of their holders move
    "Image.imagingEnvironment",
    "Image.instrument",
    "Image.stageLabel",
    "Image.experiment",
    "Channel.statsInfo",
    "Shape.transform",
)
_NEVER_ALONE = ("Image.rois", "Image.experiment")  # members that move only together with their holders
WHOLE_LINKS = (
    "JobOriginalFileLink",
    "PixelsOriginalFileMap",
    "FilesetJobLink",
)  # both ends move, or none


class GroupChange(GraphTraversal):
    """The traversal of Chgrp2; objects that cannot move into a private group are deleted."""

    parts: Sequence[str] = (*PARTS, *SETTINGS, "Shape.transform")
    holds: Sequence[HoldRule] = (*HOLDS, *CONTENTS)
    companions: Sequence[str] = (*GraphTraversal.companions, *FILE_USERS)

    def __init__(self, call: RequestContext, options: Any, group: int, ignored: Sequence[str] = ()) -> None:
        super().__init__(call, options, ignored)
        self.group = group
        self.to_private = not _level(call, group).is_readable

    # ---- what goes along -------------------------------------------------------------------------------------
    def expand(self, action: Action, batch: list[StoredObject]) -> None:
        """Follow parts, rendering settings and annotations."""
        super().expand(action, batch)
        for text in _DISPLAY:
            found = relation(text)
            holders = {item.id: item for item in batch if is_kind(item.kind, found.holder)}
            for pair in found.members(self.tx, holders) if holders else ():
                self._follow_display(action, holders[pair.known], pair.other)
        self._annotations(batch)

    def _follow_display(self, action: Action, pixels: StoredObject, member: StoredObject) -> None:
        lost = self.to_private and member.owner != pixels.owner
        self.decide(member, Action.DELETE if lost else action, checked=member.owner == pixels.owner)

    def _annotations(self, batch: list[StoredObject]) -> None:
        for name in annotation_links():
            found = relation(name)
            holders = {item.id: item for item in batch if is_kind(item.kind, found.holder)}
            for pair in found.members(self.tx, holders) if holders else ():
                borrowed = is_any_kind(pair.other, BORROWED_ANNOTATIONS)
                if not borrowed or holders[pair.known].owner == pair.other.owner:
                    self.consider(pair.other)

    def may_consider(self, hold: HoldRule, action: Action, holder: StoredObject, member: StoredObject) -> bool:
        """Consider own objects; others' objects only outside of private groups."""
        if hold.blocks_only:
            return False
        free = hold not in CONTENTS or hold.relation in UNOWNED or is_kind(member.kind, "Roi")
        if free or holder.owner == member.owner:
            return True
        return not self.to_private and (self.rights(member).delete or self.rights(holder).chgrp)

    def decide_unheld(self, member: StoredObject) -> Decision | None:
        """Decide whether an object that no other object holds moves, is deleted, or stays."""
        if is_kind(member.kind, "Annotation"):
            return self._decide_annotation(member)
        if is_kind(member.kind, "Roi"):
            return self._decide_roi(member)
        if is_any_kind(member, _WITH_IMAGE):
            return None
        if is_any_kind(member, _CONTAINED):
            return self._decide_content(member)
        return Decision(member, Action.INCLUDE, not is_kind(member.kind, "StatsInfo"))

    def _decide_roi(self, member: StoredObject) -> Decision | None:
        included = self._included_holders(member)
        own = any(holder.owner == member.owner for holder in included)
        if included and (own or not self.to_private):
            return Decision(member, Action.INCLUDE, own)
        return Decision(member, Action.DELETE, False) if included else None

    def _decide_content(self, member: StoredObject) -> Decision | None:
        if self.call.caller.has_privilege("Chgrp") or member.owner == self.call.caller.user_id:
            return Decision(member, Action.INCLUDE, True)
        rights = self.rights(member)
        may = rights.delete or rights.chgrp
        return Decision(member, Action.INCLUDE, False) if may and not self.to_private else None

    def _decide_annotation(self, member: StoredObject) -> Decision | None:
        deletable, included = self.rights(member).delete, self._included_holders(member)
        if any(holder.owner == member.owner for holder in included):
            return Decision(member, Action.INCLUDE, True)
        if included and not self.to_private and deletable:
            return Decision(member, Action.INCLUDE, True)
        if deletable or is_any_kind(member, FREE_ANNOTATIONS):
            return Decision(member, Action.DELETE, deletable)
        return None

    def _included_holders(self, member: StoredObject) -> list[StoredObject]:
        """Return those holders of an object that move."""
        found = []
        for text in self.holding_relations():
            pairs = relation(text)
            if is_kind(member.kind, pairs.member):
                found += [
                    p.other
                    for p in pairs.holders(self.tx, [member.id])
                    if self.has_decision(p.other.key, Action.INCLUDE)
                ]
        return found

    # ---- links -----------------------------------------------------------------------------------------------
    def finalize(self) -> None:
        """Move links whose ends both move, delete links with one end, and objective settings."""
        self.follow(relation("Image.objectiveSettings"), Action.DELETE, self.decided_objects("Image"))
        included = [decision.item for decision in self.decisions.values() if decision.action is Action.INCLUDE]
        for link, _end, _side in self.find_links(included):
            if link.key not in self.decisions:
                self._decide_link(link)

    def _decide_link(self, link: StoredObject) -> None:
        parent, child = (self._end(link, side) for side in ("parent", "child"))
        both = all(self.has_decision(end.key, Action.INCLUDE) for end in (parent, child))
        if both and (not self.to_private or parent.owner == child.owner or entity(link.kind).is_annotation_link):
            self.decide(link, Action.INCLUDE, checked=False)
        elif both or link.kind not in WHOLE_LINKS:
            self._check_tag(parent, child)
            self.decide(link, Action.DELETE, checked=False)

    def _check_tag(self, parent: StoredObject, child: StoredObject) -> None:
        stays = not self.has_decision(parent.key) and self.has_decision(child.key, Action.INCLUDE)
        if stays and is_kind(child.kind, "TagAnnotation") and not self.rights(parent).delete:
            raise graph_error(f"may not move {format_object(child)} while used by {format_object(parent)}")

    def _end(self, link: StoredObject, side: str) -> StoredObject:
        return relation(f"{link.kind}.{side}").members(self.tx, [link.id])[0].other

    # ---- what forbids it -------------------------------------------------------------------------------------
    def check(self) -> None:
        """Raise GraphException if something may not be moved or deleted."""
        for decision in self.decisions.values():
            rights = self.rights(decision.item)
            if decision.checked and not (rights.chgrp if decision.action is Action.INCLUDE else rights.delete):
                raise graph_error(f"not permitted to process {format_object(decision.item)}")
        for member in self.considered.values():
            if is_kind(member.kind, "OriginalFile"):
                raise graph_error(f"cannot move {format_object(member)} while objects using it remain")
        for text in SHARED_RELATIONS:
            check_shared(self, relation(text))
        for text in _NEVER_ALONE:
            check_holders_included(self, relation(text))
        check_holders_included(self, relation("FileAnnotation.file"), Action.INCLUDE)
        check_filesets(self, self.decided_objects("Image"))

    def references_to_clear(self) -> list[tuple[str, str, list[int]]]:
        """Return (class of the table, property, ids) of references to clear; GraphException if one is required."""
        found = []
        for crossing in find_cross_group_references(self):
            if not crossing.nullable:
                raise graph_error(f"may not move {format_object(crossing.item)} without {_key_text(crossing)}")
            if not self.rights(crossing.item).edit:
                raise graph_error(f"not permitted to update {format_object(crossing.item)}")
            found.append((crossing.kind, crossing.name, [crossing.item.id]))
        return found


def check_shared(traversal: GraphTraversal, found: Relation) -> None:
    """Raise GraphException if only some holders of a shared object are included."""
    included = [item.id for item in traversal.decided_objects(found.holder)]
    members = {pair.other.id: pair.known for pair in found.members(traversal.tx, included)} if included else {}
    for pair in found.holders(traversal.tx, members) if members else ():
        if not traversal.has_decision(pair.other.key):
            raise graph_error(
                f"may not take {found.holder}[{members[pair.known]}] while {format_object(pair.other)} remains as they "
                f"share {found.member}[{pair.known}]"
            )


def check_holders_included(traversal: GraphTraversal, found: Relation, action: Action | None = None) -> None:
    """Raise GraphException if a holder of an included object is not included (with this action)."""
    members = [item.id for item in traversal.decided_objects(found.member)]
    for pair in found.holders(traversal.tx, members) if members else ():
        if not traversal.has_decision(pair.other.key, action):
            raise graph_error(f"may not take {found.member}[{pair.known}] while {format_object(pair.other)} remains")


def _key_text(crossing: CrossGroupReference) -> str:
    return f"{crossing.target[0]}[{crossing.target[1]}]"


def _level(call: RequestContext, group: int) -> GroupLevel:
    return call.as_admin().graph.group_level(group)


def check_destination(call: RequestContext, group: int) -> None:
    """Raise RequestError if the caller cannot move data to a group."""
    exists = call.tx.one("SELECT 1 FROM experimentergroup WHERE id = ?", (group,)) is not None
    if not exists or not (call.caller.has_privilege("Chgrp") or group in call.caller.member_of):
        raise RequestError("not-in-group", "not a member of the chgrp destination group")


def plan(call: RequestContext, request: Any, stops: Sequence[str] = ()) -> GroupChange:
    """Return the decisions of a Chgrp2 request."""
    check_destination(call, request.groupId)
    change = GroupChange(call, child_options(request.childOptions), request.groupId)
    change.stop_classes = stops
    change.run(find_named_targets(change, TARGETS, request.targetObjects), Action.INCLUDE)
    return change


def change_group(call: RequestContext, request: Any) -> Any:
    """Answer a Chgrp2 request."""
    change = plan(call, request)
    change.check()
    dropped = Deletion(call, change.options)
    dropped.decisions = change.decisions
    unlinked = [*change.references_to_clear(), *dropped.references_to_clear()]
    if not request.dryRun:
        for root, ids in change.ids_by_table(Action.INCLUDE).items():
            set_column(call, root, "group_id", request.groupId, ids)
        log_events(call, "UPDATE", change.ids_by_class(Action.INCLUDE))
        execute_deletion(change, unlinked)
    return omero.cmd.Chgrp2Response(change.ids_by_class(Action.INCLUDE), change.ids_by_class(Action.DELETE))


def set_column(call: RequestContext, root: str, column: str, value: int, ids: Sequence[int]) -> None:
    """Set a column to one value in some rows of a table, if the table has the column."""
    if column in table(root).columns:
        sql = f"UPDATE {table(root).name} SET {column} = ? WHERE id IN (SELECT value FROM json_each(?))"
        call.tx.execute(sql, (value, ids_parameter(ids)))
