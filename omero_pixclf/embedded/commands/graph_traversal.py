"""Traversal of the object graph: which objects a request includes or deletes along with its targets.

A part gets the decision of its holder. An object with several holders is included when the last holder is. Each
decision is a `Decision`; objects without one stay as they are.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

from omero_pixclf.embedded.commands.cancellation import check_cancelled
from omero_pixclf.embedded.commands.links import (
    Relation,
    StoredObject,
    annotation_links,
    find_objects,
    is_kind,
    link_classes,
    relation,
)
from omero_pixclf.embedded.commands.options import ChildOptions
from omero_pixclf.embedded.commands.request_errors import graph_error
from omero_pixclf.embedded.commands.rules import HoldRule
from omero_pixclf.embedded.database.object_model import entity
from omero_pixclf.embedded.database.schema import table
from omero_pixclf.embedded.database.sqlite import ids_parameter
from omero_pixclf.embedded.server.request_context import RequestContext
from omero_pixclf.embedded.users.access_rights import ALL_RIGHTS, NO_RIGHTS, Rights

__all__ = ["Action", "Decision", "GraphTraversal", "Key"]

Key = tuple[str, int]


class Action(Enum):
    """What is done with an object."""

    INCLUDE = "include"  # moved, given or copied, depending on the request
    DELETE = "delete"  # deleted


@dataclass(frozen=True)
class Decision:
    """The action for an object, and whether the caller needs the right to it."""

    item: StoredObject
    action: Action
    checked: bool


class GraphTraversal:
    """The traversal of one request; subclasses define which objects are included."""

    parts: Sequence[str] = ()
    holds: Sequence[HoldRule] = ()
    companions: Sequence[str] = ("~Fileset.images",)  # considered together with their holders

    def __init__(self, call: RequestContext, options: ChildOptions, ignored: Sequence[str] = ()) -> None:
        self.call = call
        self.tx = call.tx
        self.options = options
        self.ignored_classes = ignored
        self.stop_classes: Sequence[str] = ()  # classes at which the traversal stops
        self.decisions: dict[Key, Decision] = {}
        self.considered: dict[Key, StoredObject] = {}
        self.undecided: set[Key] = set()  # considered objects without holders that stay
        self._new_decisions: list[Decision] = []
        self._rights: dict[tuple[int | None, int | None], Rights] = {}

    # ---- what subclasses decide ------------------------------------------------------------------------------
    def expand(self, action: Action, batch: list[StoredObject]) -> None:
        """Follow the objects that newly decided objects include."""
        for text in self.parts:
            self.follow(relation(text), action, batch)
        for hold in self.holds:
            self.consider_members(hold, action, batch)
        self._external_info(action, batch)

    def may_consider(self, hold: HoldRule, action: Action, holder: StoredObject, member: StoredObject) -> bool:
        """Whether a member may be included because one of its holders is."""
        if hold.blocks_only or (hold.deletable and not self.rights(member).delete):
            return False
        return not hold.same_owner or holder.owner == member.owner

    def decide_unheld(self, member: StoredObject) -> Decision | None:
        """Decide about a member without other holders; None: it stays."""
        raise NotImplementedError

    # ---- the spread ------------------------------------------------------------------------------------------
    def run(self, targets: Iterable[StoredObject], action: Action) -> None:
        """Decide about the targets and everything that goes with them."""
        for target in targets:
            self.decide(target, action)
        while self._new_decisions:
            while self._new_decisions:
                check_cancelled()
                fresh, self._new_decisions = self._new_decisions, []
                for act in Action:
                    batch = [decision.item for decision in fresh if decision.action is act]
                    if batch:
                        self.expand(act, batch)
            self._decide_considered()
            if not self._new_decisions:
                self.finalize()

    def finalize(self) -> None:
        """Decide what depends on all other decisions."""

    def decide(self, item: StoredObject, action: Action, *, checked: bool = True) -> None:
        """Record the decision for an object; earlier decisions stay."""
        key = item.key
        if key in self.decisions or any(is_kind(item.kind, kind) for kind in self.ignored_classes):
            return
        decision = Decision(item, action, checked)
        self.decisions[key] = decision
        self.considered.pop(key, None)
        if not any(is_kind(item.kind, kind) for kind in self.stop_classes):
            self._new_decisions.append(decision)

    def decided_objects(self, kind: str, action: Action = Action.INCLUDE) -> list[StoredObject]:
        """Return all objects of a class or its subclasses with one action."""
        fates = self.decisions.values()
        return [decision.item for decision in fates if decision.action is action and is_kind(decision.item.kind, kind)]

    def has_decision(self, key: Key, action: Action | None = None) -> bool:
        """Whether an object has a decision (with this action)."""
        decision = self.decisions.get(key)
        return decision is not None and (action is None or decision.action is action)

    def follow(self, found: Relation, action: Action, batch: list[StoredObject], *, checked: bool = True) -> None:
        """Give members the decision of their holders; parts of an unchecked object are not checked either."""
        ids, root = _ids(batch, found.holder), entity(found.holder).root
        if ids:
            for pair in found.members(self.tx, ids):
                asks = checked and self.decisions[(root, pair.known)].checked
                self.decide(pair.other, action, checked=asks)

    def consider_members(self, hold: HoldRule, action: Action, batch: list[StoredObject]) -> None:
        """Consider the members of the holders in a batch."""
        found = relation(hold.relation)
        holders = {item.id: item for item in batch if is_kind(item.kind, found.holder)}
        if not holders or hold.blocks_only:
            return
        for pair in found.members(self.tx, holders):
            if self.may_consider(hold, action, holders[pair.known], pair.other):
                self.consider(pair.other)

    def consider(self, member: StoredObject) -> None:
        """Consider an object: it is included once nothing holds it, with the objects that depend on it."""
        if member.key in self.decisions or member.key in self.considered:
            return
        self.considered[member.key] = member
        for text in self.companions:
            found = relation(text)
            if is_kind(member.kind, found.holder):
                for pair in found.members(self.tx, [member.id]):
                    self.consider(pair.other)

    def _decide_considered(self) -> None:
        """Decide about the considered objects: those without other holders are included."""
        excluded, included = self.options.split(self.tx, list(self.considered.values()), self.rights)
        going = {k: v for k, v in self.considered.items() if k not in excluded}
        for key in self._find_held(going) - included:
            going.pop(key, None)
        self.undecided = set()
        for key, member in going.items():
            decision = self.decide_unheld(member)
            if decision is None:
                self.undecided.add(key)
            else:
                self.decide(decision.item, decision.action, checked=decision.checked)

    def _find_held(self, going: dict[Key, StoredObject]) -> set[Key]:
        """Return the keys that an object that stays holds; objects that hold only each other go together."""
        holders = self._holders(list(going.values()))
        held: set[Key] = set()
        changed = True
        while changed:
            changed = False
            for key in going.keys() - held:
                if any(holder not in going or holder in held for holder in holders.get(key, ())):
                    held.add(key)
                    changed = True
        return held

    def holding_relations(self) -> Sequence[str]:
        """Return the relations that keep a considered object."""
        return [*(hold.relation for hold in self.holds), *annotation_links()]

    def _holders(self, members: list[StoredObject]) -> dict[Key, set[Key]]:
        """Return for each object the holders without a decision."""
        found: dict[Key, set[Key]] = defaultdict(set)
        for text in self.holding_relations():
            pairs = relation(text)
            ids = _ids(members, pairs.member)
            if not ids:
                continue
            root, row_root = entity(pairs.member).root, entity(pairs.where).root
            for pair in pairs.holders(self.tx, ids):
                if not self.has_decision(pair.other.key) and not self.has_decision((row_root, pair.row)):
                    found[(root, pair.known)].add(pair.other.key)
        return found

    def _external_info(self, action: Action, batch: list[StoredObject]) -> None:
        """Give external information the decision of its object."""
        for root in {item.key[0] for item in batch}:
            ids = ids_parameter(item.id for item in batch if item.key[0] == root)
            sql = (
                f"SELECT external_id FROM {table(root).name} "
                "WHERE external_id IS NOT NULL AND id IN (SELECT value FROM json_each(?))"
            )
            found = [row[0] for row in self.tx.all(sql, (ids,))]
            for item in find_objects(self.tx, "ExternalInfo", found) if found else ():
                self.decide(item, action, checked=False)

    # ---- links -----------------------------------------------------------------------------------------------
    def find_links(
        self, batch: list[StoredObject], names: Iterable[str] | None = None
    ) -> list[tuple[StoredObject, StoredObject, str]]:
        """Return (link, decided end, ``parent`` or ``child``) of all links of a batch's objects."""
        found = []
        by_id = {item.key: item for item in batch}
        for name in names if names is not None else link_classes():
            for end in ("parent", "child"):
                at = relation(f"~{name}.{end}")
                ids = _ids(batch, at.holder)
                root = entity(at.holder).root
                for pair in at.members(self.tx, ids) if ids else ():
                    found.append((pair.other, by_id[(root, pair.known)], end))
        return found

    # ---- rights ----------------------------------------------------------------------------------------------
    def rights(self, item: StoredObject) -> Rights:
        """Return what the caller may do to an object."""
        if item.kind == "OriginalFile" and item.owner is not None and item.group is not None:
            return self.call.graph.rights(item.owner, item.group, file=item.id)
        key = (item.owner, item.group)
        if key not in self._rights:
            if item.owner is None or item.group is None:
                self._rights[key] = ALL_RIGHTS if self.call.caller.is_admin else NO_RIGHTS
            else:
                self._rights[key] = self.call.graph.rights(item.owner, item.group)
        return self._rights[key]

    def find_targets(self, kind: str, ids: Sequence[int]) -> list[StoredObject]:
        """Return the objects that a request names; GraphException if one does not exist or may not be read."""
        found = find_objects(self.tx, kind, ids)
        caller = self.call.caller
        seen = [i for i in found if i.owner is None or i.group is None or caller.may_read(i.owner, i.group)]
        if len(seen) != len(set(ids)):
            raise graph_error(f"cannot read all the specified objects of class {entity(kind).qualified}")
        return seen

    def ids_by_class(self, action: Action) -> dict[str, list[int]]:
        """Return ids of all objects with one action by the full name of their class, as OMERO returns them."""
        found: dict[str, list[int]] = defaultdict(list)
        for decision in self.decisions.values():
            if decision.action is action:
                found[entity(decision.item.kind).qualified].append(decision.item.id)
        return {name: sorted(ids) for name, ids in found.items()}

    def ids_by_table(self, action: Action) -> dict[str, list[int]]:
        """Return ids of all objects with one action by the root class of their table."""
        found: dict[str, list[int]] = defaultdict(list)
        for (root, ident), decision in self.decisions.items():
            if decision.action is action:
                found[root].append(ident)
        return found


def _ids(batch: Iterable[Any], kind: str) -> list[int]:
    return [item.id for item in batch if is_kind(item.kind, kind)]
