"""Chgrp2: objects with all that belongs to them move to another group."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import omero.cmd

from omero_pixclf.embedded.commands.cross_group_links import Crossing, crossings
from omero_pixclf.embedded.commands.delete import carry_out, named_targets
from omero_pixclf.embedded.commands.delete_rules import Removal, check_filesets, is_any
from omero_pixclf.embedded.commands.graph_traversal import Action, Fate, Journey
from omero_pixclf.embedded.commands.links import Bond, Item, annotation_links, bond, of_kind, text_of
from omero_pixclf.embedded.commands.options import child_options
from omero_pixclf.embedded.commands.request_errors import Refused, graph_failure
from omero_pixclf.embedded.commands.rules import (
    BORROWED_ANNOTATIONS,
    CONTENTS,
    FILE_USERS,
    FREE_ANNOTATIONS,
    HOLDS,
    PARTS,
    SETTINGS,
    UNOWNED,
    Hold,
)
from omero_pixclf.embedded.database.event_log import note_all
from omero_pixclf.embedded.database.object_model import entity
from omero_pixclf.embedded.database.schema import table
from omero_pixclf.embedded.database.sqlite import ids_parameter
from omero_pixclf.embedded.server.request_context import Call
from omero_pixclf.embedded.users.access_rights import GroupLevel

__all__ = [
    "SHARED",
    "TARGETS",
    "WHOLE_LINKS",
    "Moving",
    "change_group",
    "check_not_alone",
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
SHARED = (  # what some of its holders cannot take away from the others
    "Image.imagingEnvironment",
    "Image.instrument",
    "Image.stageLabel",
    "Image.experiment",
    "Channel.statsInfo",
    "Shape.transform",
)
_NEVER_ALONE = ("Image.rois", "Image.experiment")  # the thing goes with its holders only
WHOLE_LINKS = ("JobOriginalFileLink", "PixelsOriginalFileMap", "FilesetJobLink")  # both ends move, or none


class Moving(Journey):
    """Chgrp2's spread; what cannot come along into a private group is dropped."""

    parts: Sequence[str] = (*PARTS, *SETTINGS, "Shape.transform")
    holds: Sequence[Hold] = (*HOLDS, *CONTENTS)
    companions: Sequence[str] = (*Journey.companions, *FILE_USERS)

    def __init__(self, call: Call, options: Any, group: int, ignored: Sequence[str] = ()) -> None:
        super().__init__(call, options, ignored)
        self.group = group
        self.to_private = not _level(call, group).readable

    # ---- what goes along -------------------------------------------------------------------------------------
    def spread(self, action: Action, batch: list[Item]) -> None:
        """Follow parts, rendering settings and annotations."""
        super().spread(action, batch)
        for text in _DISPLAY:
            found = bond(text)
            holders = {item.id: item for item in batch if of_kind(item.kind, found.holder)}
            for pair in found.things(self.tx, holders) if holders else ():
                self._follow_display(action, holders[pair.known], pair.other)
        self._annotations(batch)

    def _follow_display(self, action: Action, pixels: Item, thing: Item) -> None:
        lost = self.to_private and thing.owner != pixels.owner
        self.decide(thing, Action.DROP if lost else action, checked=thing.owner == pixels.owner)

    def _annotations(self, batch: list[Item]) -> None:
        for name in annotation_links():
            found = bond(name)
            holders = {item.id: item for item in batch if of_kind(item.kind, found.holder)}
            for pair in found.things(self.tx, holders) if holders else ():
                borrowed = is_any(pair.other, BORROWED_ANNOTATIONS)
                if not borrowed or holders[pair.known].owner == pair.other.owner:
                    self.consider(pair.other)

    def considers(self, hold: Hold, action: Action, holder: Item, thing: Item) -> bool:
        """Own things are considered, others' only outside private groups."""
        if hold.blocks_only:
            return False
        free = hold not in CONTENTS or hold.bond in UNOWNED or of_kind(thing.kind, "Roi")
        if free or holder.owner == thing.owner:
            return True
        return not self.to_private and (self.rights(thing).delete or self.rights(holder).chgrp)

    def settled(self, thing: Item) -> Fate | None:
        """What nobody holds any more moves, is lost, or stays behind."""
        if of_kind(thing.kind, "Annotation"):
            return self._settled_annotation(thing)
        if of_kind(thing.kind, "Roi"):
            return self._settled_region(thing)
        if is_any(thing, _WITH_IMAGE):
            return None
        if is_any(thing, _CONTAINED):
            return self._settled_content(thing)
        return Fate(thing, Action.TAKE, not of_kind(thing.kind, "StatsInfo"))

    def _settled_region(self, thing: Item) -> Fate | None:
        movers = self._movers(thing)
        own = any(holder.owner == thing.owner for holder in movers)
        if movers and (own or not self.to_private):
            return Fate(thing, Action.TAKE, own)
        return Fate(thing, Action.DROP, False) if movers else None

    def _settled_content(self, thing: Item) -> Fate | None:
        if self.call.caller.has("Chgrp") or thing.owner == self.call.caller.user_id:
            return Fate(thing, Action.TAKE, True)
        rights = self.rights(thing)
        may = rights.delete or rights.chgrp
        return Fate(thing, Action.TAKE, False) if may and not self.to_private else None

    def _settled_annotation(self, thing: Item) -> Fate | None:
        deletable, movers = self.rights(thing).delete, self._movers(thing)
        if any(holder.owner == thing.owner for holder in movers):
            return Fate(thing, Action.TAKE, True)
        if movers and not self.to_private and deletable:
            return Fate(thing, Action.TAKE, True)
        if deletable or is_any(thing, FREE_ANNOTATIONS):
            return Fate(thing, Action.DROP, deletable)
        return None

    def _movers(self, thing: Item) -> list[Item]:
        """Those holders of a thing that move."""
        found = []
        for text in self.holding():
            pairs = bond(text)
            if of_kind(thing.kind, pairs.thing):
                found += [p.other for p in pairs.holders(self.tx, [thing.id]) if self.goes(p.other.key, Action.TAKE)]
        return found

    # ---- links -----------------------------------------------------------------------------------------------
    def round_off(self) -> None:
        """Links move with both ends; with one end only they are lost, and so are an image's objective settings."""
        self.follow(bond("Image.objectiveSettings"), Action.DROP, self.taken("Image"))
        movers = [fate.item for fate in self.fates.values() if fate.action is Action.TAKE]
        for link, _end, _side in self.links(movers):
            if link.key not in self.fates:
                self._settle_link(link)

    def _settle_link(self, link: Item) -> None:
        parent, child = (self._end(link, side) for side in ("parent", "child"))
        both = all(self.goes(end.key, Action.TAKE) for end in (parent, child))
        if both and (not self.to_private or parent.owner == child.owner or entity(link.kind).is_annotation_link):
            self.decide(link, Action.TAKE, checked=False)
        elif both or link.kind not in WHOLE_LINKS:
            self._check_tag(parent, child)
            self.decide(link, Action.DROP, checked=False)

    def _check_tag(self, parent: Item, child: Item) -> None:
        stays = not self.goes(parent.key) and self.goes(child.key, Action.TAKE)
        if stays and of_kind(child.kind, "TagAnnotation") and not self.rights(parent).delete:
            raise graph_failure(f"may not move {text_of(child)} while used by {text_of(parent)}")

    def _end(self, link: Item, side: str) -> Item:
        return bond(f"{link.kind}.{side}").things(self.tx, [link.id])[0].other

    # ---- what forbids it -------------------------------------------------------------------------------------
    def check(self) -> None:
        """GraphException where something may not be moved or lost."""
        for fate in self.fates.values():
            rights = self.rights(fate.item)
            if fate.checked and not (rights.chgrp if fate.action is Action.TAKE else rights.delete):
                raise graph_failure(f"not permitted to process {text_of(fate.item)}")
        for thing in self.considered.values():
            if of_kind(thing.kind, "OriginalFile"):
                raise graph_failure(f"cannot move {text_of(thing)} while objects using it remain")
        for text in SHARED:
            check_shared(self, bond(text))
        for text in _NEVER_ALONE:
            check_not_alone(self, bond(text))
        check_not_alone(self, bond("FileAnnotation.file"), Action.TAKE)
        check_filesets(self, self.taken("Image"))

    def to_unlink(self) -> list[tuple[str, str, list[int]]]:
        """(table's class, property, ids) of references to empty; GraphException where one must stand."""
        found = []
        for crossing in crossings(self):
            if not crossing.nullable:
                raise graph_failure(f"may not move {text_of(crossing.item)} without {_key_text(crossing)}")
            if not self.rights(crossing.item).edit:
                raise graph_failure(f"not permitted to update {text_of(crossing.item)}")
            found.append((crossing.kind, crossing.name, [crossing.item.id]))
        return found


def check_shared(journey: Journey, found: Bond) -> None:
    """GraphException where only some of a thing's holders are taken."""
    movers = [item.id for item in journey.taken(found.holder)]
    things = {pair.other.id: pair.known for pair in found.things(journey.tx, movers)} if movers else {}
    for pair in found.holders(journey.tx, things) if things else ():
        if not journey.goes(pair.other.key):
            raise graph_failure(
                f"may not take {found.holder}[{things[pair.known]}] while {text_of(pair.other)} remains as they share "
                f"{found.thing}[{pair.known}]"
            )


def check_not_alone(journey: Journey, found: Bond, action: Action | None = None) -> None:
    """GraphException where things are taken from holders that stay, or do not have the fate they need to have."""
    things = [item.id for item in journey.taken(found.thing)]
    for pair in found.holders(journey.tx, things) if things else ():
        if not journey.goes(pair.other.key, action):
            raise graph_failure(f"may not take {found.thing}[{pair.known}] while {text_of(pair.other)} remains")


def _key_text(crossing: Crossing) -> str:
    return f"{crossing.target[0]}[{crossing.target[1]}]"


def _level(call: Call, group: int) -> GroupLevel:
    return call.as_admin().graph.level(group)


def check_destination(call: Call, group: int) -> None:
    """Refused where the caller cannot move data to a group."""
    exists = call.tx.one("SELECT 1 FROM experimentergroup WHERE id = ?", (group,)) is not None
    if not exists or not (call.caller.has("Chgrp") or group in call.caller.member_of):
        raise Refused("not-in-group", "not a member of the chgrp destination group")


def plan(call: Call, request: Any, stops: Sequence[str] = ()) -> Moving:
    """What a Chgrp2 request takes along."""
    check_destination(call, request.groupId)
    moving = Moving(call, child_options(request.childOptions), request.groupId)
    moving.stops = stops
    moving.run(named_targets(moving, TARGETS, request.targetObjects), Action.TAKE)
    return moving


def change_group(call: Call, request: Any) -> Any:
    """Answer a Chgrp2 request."""
    moving = plan(call, request)
    moving.check()
    dropped = Removal(call, moving.options)
    dropped.fates = moving.fates
    unlinked = [*moving.to_unlink(), *dropped.to_unlink()]
    if not request.dryRun:
        for root, ids in moving.of_action(Action.TAKE).items():
            set_column(call, root, "group_id", request.groupId, ids)
        note_all(call, "UPDATE", moving.by_class(Action.TAKE))
        carry_out(moving, unlinked)
    return omero.cmd.Chgrp2Response(moving.by_class(Action.TAKE), moving.by_class(Action.DROP))


def set_column(call: Call, root: str, column: str, value: int, ids: Sequence[int]) -> None:
    """Write one value to some rows of a table, where it has the column."""
    if column in table(root).columns:
        sql = f"UPDATE {table(root).name} SET {column} = ? WHERE id IN (SELECT value FROM json_each(?))"
        call.tx.execute(sql, (value, ids_parameter(ids)))
