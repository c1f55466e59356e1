"""How a change spreads from its targets over the graph of objects, set by set.

Parts share the fate of what they belong to. What is held by several goes when the last holder goes. What has been
decided is a `Decision`; everything else stays.
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

__all__ = ["Action", "Decision", "GraphTraversal"]

Key = tuple[str, int]


class Action(Enum):
    """What becomes of an object."""

    TAKE = "take"  # moved, given, copied: whatever the operation does
    DROP = "drop"  # deleted


@dataclass(frozen=True)
class Decision:
    """What becomes of an object, and whether the caller needs the right to it."""

    item: StoredObject
    action: Action
    checked: bool


class GraphTraversal:
    """The spread of one operation; subclasses say what goes along."""

    parts: Sequence[str] = ()
    holds: Sequence[HoldRule] = ()
    companions: Sequence[str] = ("~Fileset.images",)  # considered along with what holds them

    def __init__(self, call: RequestContext, options: ChildOptions, ignored: Sequence[str] = ()) -> None:
        self.call = call
        self.tx = call.tx
        self.options = options
        self.ignored = ignored
        self.stops: Sequence[str] = ()  # kinds of objects beyond which nothing is looked at
        self.fates: dict[Key, Decision] = {}
        self.considered: dict[Key, StoredObject] = {}
        self.loose: set[Key] = set()  # considered, held by nothing, and yet not to go
        self._fresh: list[Decision] = []
        self._rights: dict[tuple[int | None, int | None], Rights] = {}

    # ---- what subclasses decide ------------------------------------------------------------------------------
    def spread(self, action: Action, batch: list[StoredObject]) -> None:
        """Follow what newly decided objects take along."""
        for text in self.parts:
            self.follow(relation(text), action, batch)
        for hold in self.holds:
            self.consider_things(hold, action, batch)
        self._external_info(action, batch)

    def considers(self, hold: HoldRule, action: Action, holder: StoredObject, thing: StoredObject) -> bool:
        """Whether a thing may go now that one of its holders goes."""
        if hold.blocks_only or (hold.deletable and not self.rights(thing).delete):
            return False
        return not hold.same_owner or holder.owner == thing.owner

    def settled(self, thing: StoredObject) -> Decision | None:
        """What becomes of a thing without holders."""
        raise NotImplementedError

    # ---- the spread ------------------------------------------------------------------------------------------
    def run(self, targets: Iterable[StoredObject], action: Action) -> None:
        """Decide the fate of the targets and of everything that goes with them."""
        for target in targets:
            self.decide(target, action)
        while self._fresh:
            while self._fresh:
                check_cancelled()
                fresh, self._fresh = self._fresh, []
                for act in Action:
                    batch = [fate.item for fate in fresh if fate.action is act]
                    if batch:
                        self.spread(act, batch)
            self._settle()
            if not self._fresh:
                self.round_off()

    def round_off(self) -> None:
        """Decide what depends on everything else having been decided."""

    def decide(self, item: StoredObject, action: Action, *, checked: bool = True) -> None:
        """Set an object's fate; what is decided already stays decided."""
        key = item.key
        if key in self.fates or any(is_kind(item.kind, kind) for kind in self.ignored):
            return
        fate = Decision(item, action, checked)
        self.fates[key] = fate
        self.considered.pop(key, None)
        if not any(is_kind(item.kind, kind) for kind in self.stops):
            self._fresh.append(fate)

    def taken(self, kind: str, action: Action = Action.TAKE) -> list[StoredObject]:
        """All objects of a class (or below it) with one fate."""
        fates = self.fates.values()
        return [fate.item for fate in fates if fate.action is action and is_kind(fate.item.kind, kind)]

    def goes(self, key: Key, action: Action | None = None) -> bool:
        """Whether an object's fate is decided (as this one)."""
        fate = self.fates.get(key)
        return fate is not None and (action is None or fate.action is action)

    def follow(self, found: Relation, action: Action, batch: list[StoredObject], *, checked: bool = True) -> None:
        """Give things the fate of their holders; what goes without a right to it takes its parts along like that."""
        ids, root = _ids(batch, found.holder), entity(found.holder).root
        if ids:
            for pair in found.things(self.tx, ids):
                asks = checked and self.fates[(root, pair.known)].checked
                self.decide(pair.other, action, checked=asks)

    def consider_things(self, hold: HoldRule, action: Action, batch: list[StoredObject]) -> None:
        """Note what the holders in a batch might take along."""
        found = relation(hold.bond)
        holders = {item.id: item for item in batch if is_kind(item.kind, found.holder)}
        if not holders or hold.blocks_only:
            return
        for pair in found.things(self.tx, holders):
            if self.considers(hold, action, holders[pair.known], pair.other):
                self.consider(pair.other)

    def consider(self, thing: StoredObject) -> None:
        """Let a thing go as soon as nothing holds it any more, and whatever can only go together with it."""
        if thing.key in self.fates or thing.key in self.considered:
            return
        self.considered[thing.key] = thing
        for text in self.companions:
            found = relation(text)
            if is_kind(thing.kind, found.holder):
                for pair in found.things(self.tx, [thing.id]):
                    self.consider(pair.other)

    def _settle(self) -> None:
        """Decide about what has been considered: what nobody holds goes."""
        excluded, included = self.options.split(self.tx, list(self.considered.values()), self.rights)
        going = {k: v for k, v in self.considered.items() if k not in excluded}
        for key in self._held(going) - included:
            going.pop(key, None)
        self.loose = set()
        for key, thing in going.items():
            fate = self.settled(thing)
            if fate is None:
                self.loose.add(key)
            else:
                self.decide(fate.item, fate.action, checked=fate.checked)

    def _held(self, going: dict[Key, StoredObject]) -> set[Key]:
        """Those that something which stays holds; what is held by each other only goes together."""
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

    def holding(self) -> Sequence[str]:
        """Bonds that keep a considered thing."""
        return [*(hold.bond for hold in self.holds), *annotation_links()]

    def _holders(self, things: list[StoredObject]) -> dict[Key, set[Key]]:
        """For each thing the holders without a fate."""
        found: dict[Key, set[Key]] = defaultdict(set)
        for text in self.holding():
            pairs = relation(text)
            ids = _ids(things, pairs.thing)
            if not ids:
                continue
            root, row_root = entity(pairs.thing).root, entity(pairs.where).root
            for pair in pairs.holders(self.tx, ids):
                if not self.goes(pair.other.key) and not self.goes((row_root, pair.row)):
                    found[(root, pair.known)].add(pair.other.key)
        return found

    def _external_info(self, action: Action, batch: list[StoredObject]) -> None:
        """What an object is known as elsewhere shares its fate."""
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
    def links(
        self, batch: list[StoredObject], names: Iterable[str] | None = None
    ) -> list[tuple[StoredObject, StoredObject, str]]:
        """(link, end that goes, ``parent`` or ``child``) of all links at a batch's objects."""
        found = []
        by_id = {item.key: item for item in batch}
        for name in names if names is not None else link_classes():
            for end in ("parent", "child"):
                at = relation(f"~{name}.{end}")
                ids = _ids(batch, at.holder)
                root = entity(at.holder).root
                for pair in at.things(self.tx, ids) if ids else ():
                    found.append((pair.other, by_id[(root, pair.known)], end))
        return found

    # ---- rights ----------------------------------------------------------------------------------------------
    def rights(self, item: StoredObject) -> Rights:
        """What the caller may do to an object."""
        if item.kind == "OriginalFile" and item.owner is not None and item.group is not None:
            return self.call.graph.rights(item.owner, item.group, file=item.id)
        key = (item.owner, item.group)
        if key not in self._rights:
            if item.owner is None or item.group is None:
                self._rights[key] = ALL_RIGHTS if self.call.caller.is_admin else NO_RIGHTS
            else:
                self._rights[key] = self.call.graph.rights(item.owner, item.group)
        return self._rights[key]

    def targets(self, kind: str, ids: Sequence[int]) -> list[StoredObject]:
        """The objects a request names; a GraphException where one does not exist or may not be read."""
        found = find_objects(self.tx, kind, ids)
        caller = self.call.caller
        seen = [i for i in found if i.owner is None or i.group is None or caller.may_read(i.owner, i.group)]
        if len(seen) != len(set(ids)):
            raise graph_error(f"cannot read all the specified objects of class {entity(kind).qualified}")
        return seen

    def by_class(self, action: Action) -> dict[str, list[int]]:
        """Ids of all objects of one fate by their class's full name, as OMERO answers them."""
        found: dict[str, list[int]] = defaultdict(list)
        for fate in self.fates.values():
            if fate.action is action:
                found[entity(fate.item.kind).qualified].append(fate.item.id)
        return {name: sorted(ids) for name, ids in found.items()}

    def of_action(self, action: Action) -> dict[str, list[int]]:
        """Ids of all objects of one fate by their table's root class."""
        found: dict[str, list[int]] = defaultdict(list)
        for (root, ident), fate in self.fates.items():
            if fate.action is action:
                found[root].append(ident)
        return found


def _ids(batch: Iterable[Any], kind: str) -> list[int]:
    return [item.id for item in batch if is_kind(item.kind, kind)]
