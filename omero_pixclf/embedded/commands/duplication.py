"""Duplicate: copy objects with everything that belongs to them; the caller owns the copies."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from typing import Any

import omero.cmd

from omero_pixclf.embedded.commands.delete import find_named_targets
from omero_pixclf.embedded.commands.delete_rules import check_filesets, pair_tables
from omero_pixclf.embedded.commands.find_related import TARGETS
from omero_pixclf.embedded.commands.graph_traversal import Action, Decision, GraphTraversal
from omero_pixclf.embedded.commands.links import StoredObject, is_kind, link_classes, relation
from omero_pixclf.embedded.commands.options import child_options, find_class
from omero_pixclf.embedded.commands.request_errors import RequestError, graph_error
from omero_pixclf.embedded.commands.rules import PARTS, SETTINGS, HoldRule
from omero_pixclf.embedded.database.event_log import log_events
from omero_pixclf.embedded.database.object_model import entity
from omero_pixclf.embedded.database.schema import table
from omero_pixclf.embedded.database.sqlite import ids_parameter
from omero_pixclf.embedded.images.resolutions import copy_levels
from omero_pixclf.embedded.server.request_context import RequestContext
from omero_pixclf.embedded.storage.data_paths import file_path, pixels_path
from omero_pixclf.embedded.storage.managed_files import original_file_path

__all__ = ["Duplication", "duplicate", "plan"]

_MORE_PARTS = (
    "Image.imagingEnvironment",
    "Image.instrument",
    "Image.stageLabel",
    "Image.rois",
    "LogicalChannel.lightPath",
    "Channel.statsInfo",
    "Shape.transform",
    "FileAnnotation.file",
    "FilesetEntry.originalFile",
    "Roi.source",
    "Folder.childFolders",
    "WellSample.image",
    "Screen.reagents",
)
_OWN_DISPLAY = ("Pixels.settings", "Pixels.thumbnails")
_HOLDS = (HoldRule("Channel.logicalChannel"), HoldRule("Image.experiment"), HoldRule("~Fileset.images"))
_BOOKKEEPING = ("owner_id", "group_id", "creation_id", "update_id")


class Duplication(GraphTraversal):
    """The traversal of Duplicate: links are copied with their parent and include their child."""

    parts: Sequence[str] = (*PARTS, *SETTINGS, *_MORE_PARTS)
    holds: Sequence[HoldRule] = _HOLDS

    def __init__(self, call: RequestContext, request: Any) -> None:
        super().__init__(call, child_options(request.childOptions))
        lists = (request.typesToDuplicate, request.typesToReference, request.typesToIgnore)
        self.copied, self.referenced, self.omitted = (_class_names(names) for names in lists)

    def decide(self, item: StoredObject, action: Action, *, checked: bool = True) -> None:
        """Include an object unless its class is to be referenced or omitted."""
        if self.decisions and self.treatment(item.kind) != "copy":
            return
        super().decide(item, action, checked=checked)

    def treatment(self, kind: str) -> str:
        """Return ``copy``, ``reference`` or ``omit``, by the most specific class that the request names."""
        for name in entity(kind).ancestors:
            for treatment, kinds in (("copy", self.copied), ("reference", self.referenced), ("omit", self.omitted)):
                if name in kinds:
                    return treatment
        return "copy"

    def expand(self, action: Action, batch: list[StoredObject]) -> None:
        """Follow parts, links from parent to child, and the owner's own rendering settings."""
        super().expand(action, batch)
        for text in _OWN_DISPLAY:
            found = relation(text)
            holders = {item.id: item for item in batch if is_kind(item.kind, found.holder)}
            for pair in found.members(self.tx, holders) if holders else ():
                if pair.other.owner == holders[pair.known].owner:
                    self.decide(pair.other, action)
        for link, _end, side in self.find_links(batch):
            if side == "parent" and self._is_wanted(link):
                self.decide(link, action)
        for name in link_classes():
            self.follow(relation(f"{name}.child"), action, [item for item in batch if item.kind == name])

    def _is_wanted(self, link: StoredObject) -> bool:
        child = relation(f"{link.kind}.child").members(self.tx, [link.id])[0].other
        return self.treatment(child.kind) != "omit"

    def holding_relations(self) -> Sequence[str]:
        """Return the relations that keep an object: those within the copied objects only."""
        return [hold.relation for hold in _HOLDS]

    def decide_unheld(self, member: StoredObject) -> Decision | None:
        """Copy an object if all objects that refer to it are copied."""
        return Decision(member, Action.INCLUDE, False)


def _class_names(names: Sequence[str] | None) -> frozenset[str]:
    try:
        return frozenset(find_class(name).name for name in names or [])
    except RequestError as refused:
        raise RequestError("bad-class", str(refused)) from refused


def plan(call: RequestContext, request: Any, stops: Sequence[str] = ()) -> Duplication:
    """Return the decisions of a Duplicate request."""
    found = Duplication(call, request)
    found.stop_classes = stops
    found.run(find_named_targets(found, TARGETS, request.targetObjects), Action.INCLUDE)
    return found


def duplicate(call: RequestContext, request: Any) -> Any:
    """Answer a Duplicate request."""
    found = plan(call, request)
    check_filesets(found, found.decided_objects("Image"))
    if request.dryRun:
        return omero.cmd.DuplicateResponse(found.ids_by_class(Action.INCLUDE))
    copies = {key: call.tx.new_id(table(key[0]).name) for key in found.decisions}
    answer: dict[str, list[int]] = {}
    for key, decision in found.decisions.items():
        answer.setdefault(entity(decision.item.kind).qualified, []).append(copies[key])
    for root, ids in found.ids_by_table(Action.INCLUDE).items():
        _copy_rows(found, root, ids, copies)
        _copy_files(call, root, ids, copies)
    log_events(call, "INSERT", answer)
    return omero.cmd.DuplicateResponse(answer)


_Copies = dict[tuple[str, int], int]


def _copy_rows(found: Duplication, root: str, ids: list[int], copies: _Copies) -> None:
    call, where = found.call, table(root)
    names = list(where.columns)
    columns = ", ".join(f'"{name}"' for name in names)
    sql = f"SELECT {columns} FROM {where.name} WHERE id IN (SELECT value FROM json_each(?))"
    rows = [
        _copy_row(found, root, dict(zip(names, row, strict=True)), copies)
        for row in call.tx.all(sql, (ids_parameter(ids),))
    ]
    marks = ", ".join("?" * len(names))
    call.tx.executemany(f"INSERT INTO {where.name} ({columns}) VALUES ({marks})", [list(r.values()) for r in rows])
    for name in pair_tables(root):
        pairs = f"SELECT id, position, name, value FROM {name} WHERE id IN (SELECT value FROM json_each(?))"
        copied = [(copies[(root, i)], *rest) for i, *rest in call.tx.all(pairs, (ids_parameter(ids),))]
        call.tx.executemany(f"INSERT INTO {name} (id, position, name, value) VALUES (?, ?, ?, ?)", copied)


def _copy_row(found: Duplication, root: str, row: dict[str, Any], copies: _Copies) -> dict[str, Any]:
    """Return a row's copy; its references lead to copies if there are any."""
    call = found.call
    fresh = (call.caller.user_id, call.write_group, call.event_id, call.event_id)
    for field in table(root).fields.values():
        if field.kind != "entity" or row[field.name] is None:
            continue
        target = (entity(field.target).root, row[field.name])
        if target not in copies and found.treatment(field.target) == "omit":
            if not field.nullable:
                raise graph_error(f"cannot leave out {field.target} of {root}[{row['id']}]")
            row[field.name] = None
        row[field.name] = copies.get(target, row[field.name])
    row.update({name: value for name, value in zip(_BOOKKEEPING, fresh, strict=True) if name in row})
    row["id"] = copies[(root, row["id"])]
    return row


def _copy_files(call: RequestContext, root: str, ids: list[int], copies: _Copies) -> None:
    """Copy the bytes of pixels and files; copies of imported files are stored as files that were not imported."""
    for ident in ids if root in ("Pixels", "OriginalFile") else ():
        copy = copies[(root, ident)]
        if root == "Pixels":
            source, target = pixels_path(call.folder, ident), pixels_path(call.folder, copy)
        else:
            source, target = original_file_path(call.tx, call.folder, ident), file_path(call.folder, copy)
        if source.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, target)
        if root == "Pixels":
            copy_levels(call, ident, copy)
