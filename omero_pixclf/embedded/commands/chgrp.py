"""Chgrp2: objects with all that belongs to them move to another group."""

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
_WITH_IMAGE = ("Pixels", "FilesetEntry")  # move as parts only
_DISPLAY = ("Pixels.settings", "Pixels.thumbnails")
_CONTAINED = ("Dataset", "Folder", "Image", "Plate")
SHARED_RELATIONS = (  # what some of its holders cannot take away from the others
    "Image.imagingEnvironment",
    "Image.instrument",
    "Image.stageLabel",
    "Image.experiment",
    "Channel.statsInfo",
    "Shape.transform",
)
_NEVER_ALONE = ("Image.rois", "Image.experiment")  # the thing goes with its holders only
WHOLE_LINKS = ("JobOriginalFileLink", "PixelsOriginalFileMap", "FilesetJobLink")  # both ends move, or none


class GroupChange(GraphTraversal):
    """Chgrp2's spread; what cannot come along into a private group is dropped."""

    parts: Sequence[str] = (*PARTS, *SETTINGS, "Shape.transform")
    holds: Sequence[HoldRule] = (*HOLDS, *CONTENTS)
    companions: Sequence[str] = (*GraphTraversal.companions, *FILE_USERS)

    def __init__(self, call: RequestContext, options: Any, group: int, ignored: Sequence[str] = ()) -> None:
        super().__init__(call, options, ignored)
        self.group = group
        self.to_private = not _level(call, group).readable

    # ---- what goes along -------------------------------------------------------------------------------------
    def spread(self, action: Action, batch: list[StoredObject]) -> None:
        """Follow parts, rendering settings and annotations."""
        super().spread(action, batch)
        for text in _DISPLAY:
            found = relation(text)
            holders = {item.id: item for item in batch if is_kind(item.kind, found.holder)}
            for pair in found.things(self.tx, holders) if holders else ():
                self._follow_display(action, holders[pair.known], pair.other)
        self._annotations(batch)

    def _follow_display(self, action: Action, pixels: StoredObject, thing: StoredObject) -> None:
        lost = self.to_private and thing.owner != pixels.owner
        self.decide(thing, Action.DROP if lost else action, checked=thing.owner == pixels.owner)

    def _annotations(self, batch: list[StoredObject]) -> None:
        for name in annotation_links():
            found = relation(name)
            holders = {item.id: item for item in batch if is_kind(item.kind, found.holder)}
            for pair in found.things(self.tx, holders) if holders else ():
                borrowed = is_any_kind(pair.other, BORROWED_ANNOTATIONS)
                if not borrowed or holders[pair.known].owner == pair.other.owner:
                    self.consider(pair.other)

    def considers(self, hold: HoldRule, action: Action, holder: StoredObject, thing: StoredObject) -> bool:
        """Own things are considered, others' only outside private groups."""
        if hold.blocks_only:
            return False
        free = hold not in CONTENTS or hold.bond in UNOWNED or is_kind(thing.kind, "Roi")
        if free or holder.owner == thing.owner:
            return True
        return not self.to_private and (self.rights(thing).delete or self.rights(holder).chgrp)

    def settled(self, thing: StoredObject) -> Decision | None:
        """What nobody holds any more moves, is lost, or stays behind."""
        if is_kind(thing.kind, "Annotation"):
            return self._settled_annotation(thing)
        if is_kind(thing.kind, "Roi"):
            return self._settled_region(thing)
        if is_any_kind(thing, _WITH_IMAGE):
            return None
        if is_any_kind(thing, _CONTAINED):
            return self._settled_content(thing)
        return Decision(thing, Action.TAKE, not is_kind(thing.kind, "StatsInfo"))

    def _settled_region(self, thing: StoredObject) -> Decision | None:
        movers = self._movers(thing)
        own = any(holder.owner == thing.owner for holder in movers)
        if movers and (own or not self.to_private):
            return Decision(thing, Action.TAKE, own)
        return Decision(thing, Action.DROP, False) if movers else None

    def _settled_content(self, thing: StoredObject) -> Decision | None:
        if self.call.caller.has("Chgrp") or thing.owner == self.call.caller.user_id:
            return Decision(thing, Action.TAKE, True)
        rights = self.rights(thing)
        may = rights.delete or rights.chgrp
        return Decision(thing, Action.TAKE, False) if may and not self.to_private else None

    def _settled_annotation(self, thing: StoredObject) -> Decision | None:
        deletable, movers = self.rights(thing).delete, self._movers(thing)
        if any(holder.owner == thing.owner for holder in movers):
            return Decision(thing, Action.TAKE, True)
        if movers and not self.to_private and deletable:
            return Decision(thing, Action.TAKE, True)
        if deletable or is_any_kind(thing, FREE_ANNOTATIONS):
            return Decision(thing, Action.DROP, deletable)
        return None

    def _movers(self, thing: StoredObject) -> list[StoredObject]:
        """Those holders of a thing that move."""
        found = []
        for text in self.holding():
            pairs = relation(text)
            if is_kind(thing.kind, pairs.thing):
                found += [p.other for p in pairs.holders(self.tx, [thing.id]) if self.goes(p.other.key, Action.TAKE)]
        return found

    # ---- links -----------------------------------------------------------------------------------------------
    def round_off(self) -> None:
        """Links move with both ends; with one end only they are lost, and so are an image's objective settings."""
        self.follow(relation("Image.objectiveSettings"), Action.DROP, self.taken("Image"))
        movers = [fate.item for fate in self.fates.values() if fate.action is Action.TAKE]
        for link, _end, _side in self.links(movers):
            if link.key not in self.fates:
                self._settle_link(link)

    def _settle_link(self, link: StoredObject) -> None:
        parent, child = (self._end(link, side) for side in ("parent", "child"))
        both = all(self.goes(end.key, Action.TAKE) for end in (parent, child))
        if both and (not self.to_private or parent.owner == child.owner or entity(link.kind).is_annotation_link):
            self.decide(link, Action.TAKE, checked=False)
        elif both or link.kind not in WHOLE_LINKS:
            self._check_tag(parent, child)
            self.decide(link, Action.DROP, checked=False)

    def _check_tag(self, parent: StoredObject, child: StoredObject) -> None:
        stays = not self.goes(parent.key) and self.goes(child.key, Action.TAKE)
        if stays and is_kind(child.kind, "TagAnnotation") and not self.rights(parent).delete:
            raise graph_error(f"may not move {format_object(child)} while used by {format_object(parent)}")

    def _end(self, link: StoredObject, side: str) -> StoredObject:
        return relation(f"{link.kind}.{side}").things(self.tx, [link.id])[0].other

    # ---- what forbids it -------------------------------------------------------------------------------------
    def check(self) -> None:
        """GraphException where something may not be moved or lost."""
        for fate in self.fates.values():
            rights = self.rights(fate.item)
            if fate.checked and not (rights.chgrp if fate.action is Action.TAKE else rights.delete):
                raise graph_error(f"not permitted to process {format_object(fate.item)}")
        for thing in self.considered.values():
            if is_kind(thing.kind, "OriginalFile"):
                raise graph_error(f"cannot move {format_object(thing)} while objects using it remain")
        for text in SHARED_RELATIONS:
            check_shared(self, relation(text))
        for text in _NEVER_ALONE:
            check_holders_included(self, relation(text))
        check_holders_included(self, relation("FileAnnotation.file"), Action.TAKE)
        check_filesets(self, self.taken("Image"))

    def to_unlink(self) -> list[tuple[str, str, list[int]]]:
        """(table's class, property, ids) of references to empty; GraphException where one must stand."""
        found = []
        for crossing in find_cross_group_references(self):
            if not crossing.nullable:
                raise graph_error(f"may not move {format_object(crossing.item)} without {_key_text(crossing)}")
            if not self.rights(crossing.item).edit:
                raise graph_error(f"not permitted to update {format_object(crossing.item)}")
            found.append((crossing.kind, crossing.name, [crossing.item.id]))
        return found


def check_shared(journey: GraphTraversal, found: Relation) -> None:
    """GraphException where only some of a thing's holders are taken."""
    movers = [item.id for item in journey.taken(found.holder)]
    things = {pair.other.id: pair.known for pair in found.things(journey.tx, movers)} if movers else {}
    for pair in found.holders(journey.tx, things) if things else ():
        if not journey.goes(pair.other.key):
            raise graph_error(
                f"may not take {found.holder}[{things[pair.known]}] while {format_object(pair.other)} remains as they "
                f"share {found.thing}[{pair.known}]"
            )


def check_holders_included(journey: GraphTraversal, found: Relation, action: Action | None = None) -> None:
    """GraphException where things are taken from holders that stay, or do not have the fate they need to have."""
    things = [item.id for item in journey.taken(found.thing)]
    for pair in found.holders(journey.tx, things) if things else ():
        if not journey.goes(pair.other.key, action):
            raise graph_error(f"may not take {found.thing}[{pair.known}] while {format_object(pair.other)} remains")


def _key_text(crossing: CrossGroupReference) -> str:
    return f"{crossing.target[0]}[{crossing.target[1]}]"


def _level(call: RequestContext, group: int) -> GroupLevel:
    return call.as_admin().graph.level(group)


def check_destination(call: RequestContext, group: int) -> None:
    """Refused where the caller cannot move data to a group."""
    exists = call.tx.one("SELECT 1 FROM experimentergroup WHERE id = ?", (group,)) is not None
    if not exists or not (call.caller.has("Chgrp") or group in call.caller.member_of):
        raise RequestError("not-in-group", "not a member of the chgrp destination group")


def plan(call: RequestContext, request: Any, stops: Sequence[str] = ()) -> GroupChange:
    """What a Chgrp2 request takes along."""
    check_destination(call, request.groupId)
    moving = GroupChange(call, child_options(request.childOptions), request.groupId)
    moving.stops = stops
    moving.run(find_named_targets(moving, TARGETS, request.targetObjects), Action.TAKE)
    return moving


def change_group(call: RequestContext, request: Any) -> Any:
    """Answer a Chgrp2 request."""
    moving = plan(call, request)
    moving.check()
    dropped = Deletion(call, moving.options)
    dropped.fates = moving.fates
    unlinked = [*moving.to_unlink(), *dropped.to_unlink()]
    if not request.dryRun:
        for root, ids in moving.of_action(Action.TAKE).items():
            set_column(call, root, "group_id", request.groupId, ids)
        log_events(call, "UPDATE", moving.by_class(Action.TAKE))
        execute_deletion(moving, unlinked)
    return omero.cmd.Chgrp2Response(moving.by_class(Action.TAKE), moving.by_class(Action.DROP))


def set_column(call: RequestContext, root: str, column: str, value: int, ids: Sequence[int]) -> None:
    """Write one value to some rows of a table, where it has the column."""
    if column in table(root).columns:
        sql = f"UPDATE {table(root).name} SET {column} = ? WHERE id IN (SELECT value FROM json_each(?))"
        call.tx.execute(sql, (value, ids_parameter(ids)))
