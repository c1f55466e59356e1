"""Chown2: give objects with everything that belongs to them to another user."""

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

__all__ = ["OwnerChange", "change_owner", "plan"]

_DISPLAY = ("Pixels.settings", "Pixels.thumbnails")
_CONTAINED = ("Dataset", "Folder", "Image", "Plate")
_OWN_ONLY = ("Channel.statsInfo", "Image.experiment")
_OTHER_CONTENTS = tuple(hold for hold in CONTENTS if hold.relation != "Image.rois")


class OwnerChange(GraphTraversal):
    """The traversal of Chown2; links between owners are deleted if the group's permissions forbid them."""

    parts: Sequence[str] = (*PARTS, *SETTINGS, "Shape.transform")
    holds: Sequence[HoldRule] = (*HOLDS, *_OTHER_CONTENTS)
    companions: Sequence[str] = (*GraphTraversal.companions, *FILE_USERS)

    # ---- what goes along -------------------------------------------------------------------------------------
    def expand(self, action: Action, batch: list[StoredObject]) -> None:
        """Follow parts; follow ROIs and annotations if their group's permissions require it."""
        super().expand(action, batch)
        private = [item for item in batch if self._is_private(item)]
        for text in _DISPLAY:
            self.follow(relation(text), action, private)
        self._regions(action, [item for item in batch if not self._is_annotatable(item)])
        self._annotations([item for item in batch if not self._is_annotatable(item)])

    def _is_private(self, item: StoredObject) -> bool:
        return item.group is not None and not self.call.graph.group_level(item.group).is_readable

    def _is_annotatable(self, item: StoredObject) -> bool:
        return item.group is not None and self.call.graph.group_level(item.group).is_annotatable

    def _regions(self, action: Action, batch: list[StoredObject]) -> None:
        images = {item.id: item for item in batch if is_kind(item.kind, "Image")}
        for pair in relation("Image.rois").members(self.tx, images) if images else ():
            if images[pair.known].owner == pair.other.owner:
                self.decide(pair.other, action)

    def _annotations(self, batch: list[StoredObject]) -> None:
        for name in annotation_links():
            holders = {item.id: item for item in batch if is_kind(item.kind, relation(name).holder)}
            for pair in relation(name).members(self.tx, holders) if holders else ():
                same = holders[pair.known].owner == pair.other.owner
                if same or not is_any_kind(pair.other, BORROWED_ANNOTATIONS):
                    self.consider(pair.other)

    def may_consider(self, hold: HoldRule, action: Action, holder: StoredObject, member: StoredObject) -> bool:
        """Consider contents and statistics of the holder's owner; in private groups only objects of that owner."""
        if hold.blocks_only:
            return False
        own = (
            (hold in CONTENTS and hold.relation not in UNOWNED)
            or hold.relation in _OWN_ONLY
            or self._is_private(holder)
        )
        return not own or holder.owner == member.owner

    def holding_relations(self) -> Sequence[str]:
        """Return the relations that keep an object; folders keep none."""
        return [text for text in super().holding_relations() if "Folder" not in text]

    def decide_unheld(self, member: StoredObject) -> Decision | None:
        """Decide about objects without other holders; contents only for their owner or an administrator.

        ROIs are given with their images, not with folders.
        """
        if is_any_kind(member, ("Roi", "Pixels", "FilesetEntry")):
            return None
        if is_any_kind(member, _CONTAINED):
            caller = self.call.caller
            own = caller.has_privilege("Chown") or member.owner == caller.user_id
            return Decision(member, Action.INCLUDE, True) if own else None
        if is_kind(member.kind, "Annotation"):
            return self._decide_annotation(member)
        return Decision(member, Action.INCLUDE, True)

    def _decide_annotation(self, member: StoredObject) -> Decision | None:
        for name in annotation_links():
            for pair in relation(name).holders(self.tx, [member.id]):
                if pair.other.owner == member.owner and self.has_decision(pair.other.key, Action.INCLUDE):
                    return Decision(member, Action.INCLUDE, True)
        return Decision(member, Action.DELETE, True) if self._is_private(member) else None

    # ---- links -----------------------------------------------------------------------------------------------
    def finalize(self) -> None:
        """Give links whose ends are both given; delete links with one end if owners may not be mixed."""
        givens = [decision.item for decision in self.decisions.values() if decision.action is Action.INCLUDE]
        for link, _end, _side in self.find_links(givens):
            if link.key not in self.decisions:
                self._decide_link(link)

    def _decide_link(self, link: StoredObject) -> None:
        ends = [relation(f"{link.kind}.{side}").members(self.tx, [link.id])[0].other for side in ("parent", "child")]
        if all(self.has_decision(end.key, Action.INCLUDE) for end in ends):
            if any(end.owner == link.owner for end in ends):
                self.decide(link, Action.INCLUDE)
        elif link.kind in WHOLE_LINKS:
            raise graph_error(
                f"may not give {format_object(ends[0])} without {format_object(ends[1])}, nor the other way"
            )
        elif self._must_cut(link) and ends[1].key not in self.undecided:
            self.decide(link, Action.DELETE, checked=False)

    def _must_cut(self, link: StoredObject) -> bool:
        if link.group is None:
            return False
        level = self.call.graph.group_level(link.group)
        return not level.is_readable if entity(link.kind).is_annotation_link else not level.is_writable

    # ---- what forbids it -------------------------------------------------------------------------------------
    def check(self, user: int) -> None:
        """Raise GraphException if something may not be given to the user."""
        check_holders_included(self, relation("FileAnnotation.file"))
        if any(self._is_private(decision.item) for decision in self.decisions.values()):
            self._check_private()
        for roi in self.decided_objects("Roi"):
            if not self._is_annotatable(roi):
                check_holders_included(self, relation("Image.rois"))
        for member in self.considered.values():
            if is_kind(member.kind, "OriginalFile"):
                raise graph_error(f"cannot give {format_object(member)} while objects using it remain")
        check_filesets(self, self.decided_objects("Image"))
        self._check_members(user)

    def _check_private(self) -> None:
        """Check that data of several owners in private groups shares nothing."""
        for text in SHARED_RELATIONS:
            check_shared(self, relation(text))
        check_holders_included(self, relation("WellSample.image"))
        for sample in self.decided_objects("WellSample"):
            for pair in relation("WellSample.image").members(self.tx, [sample.id]):
                if not self.has_decision(pair.other.key):
                    raise graph_error(f"may not give {format_object(sample)} while {format_object(pair.other)} remains")

    def _check_members(self, user: int) -> None:
        members, _ = load_memberships(self.tx, user)
        for decision in self.decisions.values():
            if (
                decision.action is not Action.INCLUDE
                or decision.item.group is None
                or self.call.caller.has_privilege("Chown")
            ):
                continue
            if decision.checked and decision.item.group not in self.call.caller.leader_of:
                raise graph_error(f"not an owner of the group of {format_object(decision.item)}")
            if decision.item.group not in members:
                raise graph_error(f"user {user} is not a member of the group of {format_object(decision.item)}")


def _check_request(call: RequestContext, user: int) -> None:
    if call.tx.one("SELECT 1 FROM experimenter WHERE id = ?", (user,)) is None:
        raise RequestError("bad-user", f"no user {user}")
    if not call.caller.has_privilege("Chown") and not call.caller.leader_of:
        raise RequestError("steps-cancel", "ome.services.graphs.GraphException(message=not an owner of any group)")


def _all_of(call: RequestContext, traversal: GraphTraversal, users: Sequence[int]) -> list[StoredObject]:
    """Return all objects of some users that the caller may give away."""
    found: list[StoredObject] = []
    groups = None if call.caller.has_privilege("Chown") else call.caller.leader_of
    for kind in TARGETS:
        names = annotation_links() if kind == "AnnotationLink" else (kind,)
        for name in names:
            marks = ", ".join("?" * len(users))
            sql = f"SELECT id, group_id FROM {table(name).name} WHERE owner_id IN ({marks})"
            rows = call.tx.all(sql, tuple(users))
            found += traversal.find_targets(name, [i for i, group in rows if groups is None or group in groups])
    return found


def plan(call: RequestContext, request: Any, stops: Sequence[str] = ()) -> OwnerChange:
    """Return the decisions of a Chown2 request."""
    _check_request(call, request.userId)
    change = OwnerChange(call, child_options(request.childOptions))
    change.stop_classes = stops
    targets = find_named_targets(change, TARGETS, request.targetObjects)
    if request.targetUsers:
        targets += _all_of(call, change, request.targetUsers)
    change.run(targets, Action.INCLUDE)
    return change


def change_owner(call: RequestContext, request: Any) -> Any:
    """Answer a Chown2 request."""
    change = plan(call, request)
    change.check(request.userId)
    dropped = Deletion(call, change.options)
    dropped.decisions = change.decisions
    unlinked = dropped.references_to_clear()
    if not request.dryRun:
        for root, ids in change.ids_by_table(Action.INCLUDE).items():
            set_column(call, root, "owner_id", request.userId, ids)
        log_events(call, "UPDATE", change.ids_by_class(Action.INCLUDE))
        execute_deletion(change, unlinked)
    return omero.cmd.Chown2Response(change.ids_by_class(Action.INCLUDE), change.ids_by_class(Action.DELETE))
