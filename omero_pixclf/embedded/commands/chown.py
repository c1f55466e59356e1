"""Chown2: objects with all that belongs to them are given to another user."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import omero.cmd

from omero_pixclf.embedded.commands.chgrp import (
    SHARED_RELATIONS,
    TARGETS,
    WHOLE_LINKS,
    check_holders_included,
    check_shared,
    set_column,
)
from omero_pixclf.embedded.commands.delete import execute_deletion, find_named_targets
from omero_pixclf.embedded.commands.delete_rules import Deletion, check_filesets, is_any_kind
from omero_pixclf.embedded.commands.graph_traversal import Action, Decision, GraphTraversal
from omero_pixclf.embedded.commands.links import StoredObject, annotation_links, format_object, is_kind, relation
from omero_pixclf.embedded.commands.options import child_options
from omero_pixclf.embedded.commands.request_errors import RequestError, graph_error
from omero_pixclf.embedded.commands.rules import (
    BORROWED_ANNOTATIONS,
    CONTENTS,
    FILE_USERS,
    HOLDS,
    PARTS,
    SETTINGS,
    UNOWNED,
    HoldRule,
)
from omero_pixclf.embedded.database.event_log import log_events
from omero_pixclf.embedded.database.object_model import entity
from omero_pixclf.embedded.database.schema import table
from omero_pixclf.embedded.server.request_context import RequestContext, load_memberships

__all__ = ["change_owner", "plan"]

_DISPLAY = ("Pixels.settings", "Pixels.thumbnails")
_CONTAINED = ("Dataset", "Folder", "Image", "Plate")
_OWN_ONLY = ("Channel.statsInfo", "Image.experiment")
_OTHER_CONTENTS = tuple(hold for hold in CONTENTS if hold.bond != "Image.rois")


class OwnerChange(GraphTraversal):
    """Chown2's spread: links between owners are cut where the group's level does not allow them."""

    parts: Sequence[str] = (*PARTS, *SETTINGS, "Shape.transform")
    holds: Sequence[HoldRule] = (*HOLDS, *_OTHER_CONTENTS)
    companions: Sequence[str] = (*GraphTraversal.companions, *FILE_USERS)

    # ---- what goes along -------------------------------------------------------------------------------------
    def spread(self, action: Action, batch: list[StoredObject]) -> None:
        """Follow parts; regions and annotations where the level of their group asks for it."""
        super().spread(action, batch)
        private = [item for item in batch if self._is_private(item)]
        for text in _DISPLAY:
            self.follow(relation(text), action, private)
        self._regions(action, [item for item in batch if not self._is_annotatable(item)])
        self._annotations([item for item in batch if not self._is_annotatable(item)])

    def _is_private(self, item: StoredObject) -> bool:
        return item.group is not None and not self.call.graph.level(item.group).readable

    def _is_annotatable(self, item: StoredObject) -> bool:
        return item.group is not None and self.call.graph.level(item.group).annotatable

    def _regions(self, action: Action, batch: list[StoredObject]) -> None:
        images = {item.id: item for item in batch if is_kind(item.kind, "Image")}
        for pair in relation("Image.rois").things(self.tx, images) if images else ():
            if images[pair.known].owner == pair.other.owner:
                self.decide(pair.other, action)

    def _annotations(self, batch: list[StoredObject]) -> None:
        for name in annotation_links():
            holders = {item.id: item for item in batch if is_kind(item.kind, relation(name).holder)}
            for pair in relation(name).things(self.tx, holders) if holders else ():
                same = holders[pair.known].owner == pair.other.owner
                if same or not is_any_kind(pair.other, BORROWED_ANNOTATIONS):
                    self.consider(pair.other)

    def considers(self, hold: HoldRule, action: Action, holder: StoredObject, thing: StoredObject) -> bool:
        """Contents and statistics of the holder's owner; in private groups all else, too, has to be his."""
        if hold.blocks_only:
            return False
        own = (hold in CONTENTS and hold.bond not in UNOWNED) or hold.bond in _OWN_ONLY or self._is_private(holder)
        return not own or holder.owner == thing.owner

    def holding(self) -> Sequence[str]:
        """Folders hold nothing back."""
        return [text for text in super().holding() if "Folder" not in text]

    def settled(self, thing: StoredObject) -> Decision | None:
        """What nobody else holds is given, contents of containers by their owner or an administrator only.

        Regions are given with images, not with folders.
        """
        if is_any_kind(thing, ("Roi", "Pixels", "FilesetEntry")):
            return None
        if is_any_kind(thing, _CONTAINED):
            caller = self.call.caller
            own = caller.has("Chown") or thing.owner == caller.user_id
            return Decision(thing, Action.TAKE, True) if own else None
        if is_kind(thing.kind, "Annotation"):
            return self._settled_annotation(thing)
        return Decision(thing, Action.TAKE, True)

    def _settled_annotation(self, thing: StoredObject) -> Decision | None:
        for name in annotation_links():
            for pair in relation(name).holders(self.tx, [thing.id]):
                if pair.other.owner == thing.owner and self.goes(pair.other.key, Action.TAKE):
                    return Decision(thing, Action.TAKE, True)
        return Decision(thing, Action.DROP, True) if self._is_private(thing) else None

    # ---- links -----------------------------------------------------------------------------------------------
    def round_off(self) -> None:
        """Links are given with both ends; with one end only they are cut where owners may not be mixed."""
        givens = [fate.item for fate in self.fates.values() if fate.action is Action.TAKE]
        for link, _end, _side in self.links(givens):
            if link.key not in self.fates:
                self._settle_link(link)

    def _settle_link(self, link: StoredObject) -> None:
        ends = [relation(f"{link.kind}.{side}").things(self.tx, [link.id])[0].other for side in ("parent", "child")]
        if all(self.goes(end.key, Action.TAKE) for end in ends):
            if any(end.owner == link.owner for end in ends):
                self.decide(link, Action.TAKE)
        elif link.kind in WHOLE_LINKS:
            raise graph_error(
                f"may not give {format_object(ends[0])} without {format_object(ends[1])}, nor the other way"
            )
        elif self._must_cut(link) and ends[1].key not in self.loose:
            self.decide(link, Action.DROP, checked=False)

    def _must_cut(self, link: StoredObject) -> bool:
        if link.group is None:
            return False
        level = self.call.graph.level(link.group)
        return not level.readable if entity(link.kind).is_annotation_link else not level.writable

    # ---- what forbids it -------------------------------------------------------------------------------------
    def check(self, user: int) -> None:
        """GraphException where something may not be given to a user."""
        check_holders_included(self, relation("FileAnnotation.file"))
        if any(self._is_private(fate.item) for fate in self.fates.values()):
            self._check_private()
        for roi in self.taken("Roi"):
            if not self._is_annotatable(roi):
                check_holders_included(self, relation("Image.rois"))
        for thing in self.considered.values():
            if is_kind(thing.kind, "OriginalFile"):
                raise graph_error(f"cannot give {format_object(thing)} while objects using it remain")
        check_filesets(self, self.taken("Image"))
        self._check_members(user)

    def _check_private(self) -> None:
        """In private groups nothing may be shared by data of several owners."""
        for text in SHARED_RELATIONS:
            check_shared(self, relation(text))
        check_holders_included(self, relation("WellSample.image"))
        for sample in self.taken("WellSample"):
            for pair in relation("WellSample.image").things(self.tx, [sample.id]):
                if not self.goes(pair.other.key):
                    raise graph_error(f"may not give {format_object(sample)} while {format_object(pair.other)} remains")

    def _check_members(self, user: int) -> None:
        members, _ = load_memberships(self.tx, user)
        for fate in self.fates.values():
            if fate.action is not Action.TAKE or fate.item.group is None or self.call.caller.has("Chown"):
                continue
            if fate.checked and fate.item.group not in self.call.caller.leader_of:
                raise graph_error(f"not an owner of the group of {format_object(fate.item)}")
            if fate.item.group not in members:
                raise graph_error(f"user {user} is not a member of the group of {format_object(fate.item)}")


def _check_request(call: RequestContext, user: int) -> None:
    if call.tx.one("SELECT 1 FROM experimenter WHERE id = ?", (user,)) is None:
        raise RequestError("bad-user", f"no user {user}")
    if not call.caller.has("Chown") and not call.caller.leader_of:
        raise RequestError("steps-cancel", "ome.services.graphs.GraphException(message=not an owner of any group)")


def _all_of(call: RequestContext, journey: GraphTraversal, users: Sequence[int]) -> list[StoredObject]:
    """Everything of some users that the caller may give away."""
    found: list[StoredObject] = []
    groups = None if call.caller.has("Chown") else call.caller.leader_of
    for kind in TARGETS:
        names = annotation_links() if kind == "AnnotationLink" else (kind,)
        for name in names:
            marks = ", ".join("?" * len(users))
            sql = f"SELECT id, group_id FROM {table(name).name} WHERE owner_id IN ({marks})"
            rows = call.tx.all(sql, tuple(users))
            found += journey.targets(name, [i for i, group in rows if groups is None or group in groups])
    return found


def plan(call: RequestContext, request: Any, stops: Sequence[str] = ()) -> OwnerChange:
    """What a Chown2 request takes along."""
    _check_request(call, request.userId)
    giving = OwnerChange(call, child_options(request.childOptions))
    giving.stops = stops
    targets = find_named_targets(giving, TARGETS, request.targetObjects)
    if request.targetUsers:
        targets += _all_of(call, giving, request.targetUsers)
    giving.run(targets, Action.TAKE)
    return giving


def change_owner(call: RequestContext, request: Any) -> Any:
    """Answer a Chown2 request."""
    giving = plan(call, request)
    giving.check(request.userId)
    dropped = Deletion(call, giving.options)
    dropped.fates = giving.fates
    unlinked = dropped.to_unlink()
    if not request.dryRun:
        for root, ids in giving.of_action(Action.TAKE).items():
            set_column(call, root, "owner_id", request.userId, ids)
        log_events(call, "UPDATE", giving.by_class(Action.TAKE))
        execute_deletion(giving, unlinked)
    return omero.cmd.Chown2Response(giving.by_class(Action.TAKE), giving.by_class(Action.DROP))
