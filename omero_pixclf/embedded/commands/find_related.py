"""FindParents and FindChildren: objects that contain other objects, or are contained in them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import omero.cmd

from omero_pixclf.embedded.commands.delete import find_named_targets
from omero_pixclf.embedded.commands.graph_traversal import GraphTraversal
from omero_pixclf.embedded.commands.links import (
    RelatedPair,
    Relation,
    StoredObject,
    annotation_links,
    is_kind,
    relation,
)
from omero_pixclf.embedded.commands.options import ChildOptions, find_class
from omero_pixclf.embedded.commands.request_errors import RequestError
from omero_pixclf.embedded.commands.rules import CONTENTS, HOLDS, PARTS, SETTINGS
from omero_pixclf.embedded.database.object_model import entity
from omero_pixclf.embedded.server.request_context import RequestContext

__all__ = ["TARGETS", "find_children", "find_parents", "objects_within"]

# fmt: off
TARGETS = (
    "Instrument", "Annotation", "AnnotationLink", "Dataset", "DatasetImageLink", "Project", "ProjectDatasetLink",
    "Folder", "FolderImageLink", "FolderRoiLink", "Channel", "Image", "LogicalChannel", "OriginalFile", "Pixels",
    "PixelsOriginalFileMap", "PlaneInfo", "ChannelBinding", "CodomainMapContext", "ProjectionDef", "QuantumDef",
    "RenderingDef", "Thumbnail", "Experiment", "MicrobeamManipulation", "Fileset", "FilesetEntry", "FilesetJobLink",
    "Job", "JobOriginalFileLink", "ExternalInfo", "AffineTransform", "Roi", "Shape", "Plate", "PlateAcquisition",
    "Reagent", "Screen", "ScreenPlateLink", "Well", "WellReagentLink", "WellSample", "StatsInfo",
)
# fmt: on
_BACK = ("~Fileset.images",)  # a fileset is not contained in its images
_MORE = ("Pixels.settings", "Pixels.thumbnails", "Fileset.images", "LogicalChannel.detectorSettings")


@cache
def _relations() -> tuple[Relation, ...]:
    """Return all relations of containers and their contents."""
    names = [*PARTS, *SETTINGS, *(hold.relation for hold in (*HOLDS, *CONTENTS)), *_MORE, *annotation_links()]
    return tuple(relation(name) for name in dict.fromkeys(names) if name not in _BACK)


def find_parents(call: RequestContext, request: Any) -> Any:
    """Answer a FindParents request."""
    found = _find(call, request, "parents", request.typesOfParents, _upwards)
    return omero.cmd.FoundParents(found)


def find_children(call: RequestContext, request: Any) -> Any:
    """Answer a FindChildren request."""
    found = _find(call, request, "children", request.typesOfChildren, _downwards)
    return omero.cmd.FoundChildren(found)


_Step = Callable[[GraphTraversal, Relation, list[StoredObject]], list[RelatedPair]]


def _upwards(traversal: GraphTraversal, found: Relation, batch: list[StoredObject]) -> list[RelatedPair]:
    ids = [item.id for item in batch if is_kind(item.kind, found.member)]
    return found.holders(traversal.tx, ids) if ids else []


def _downwards(traversal: GraphTraversal, found: Relation, batch: list[StoredObject]) -> list[RelatedPair]:
    ids = [item.id for item in batch if is_kind(item.kind, found.holder)]
    return found.members(traversal.tx, ids) if ids else []


def _find(call: RequestContext, request: Any, noun: str, types: Sequence[str], step: _Step) -> dict[str, list[int]]:
    if not types:
        raise RequestError("bad-options", f"no types of {noun} specified to find")
    wanted = [find_class(name).name for name in types]
    stops = [find_class(name).name for name in request.stopBefore or []]
    traversal = GraphTraversal(call, ChildOptions())
    targets = find_named_targets(traversal, TARGETS, request.targetObjects)
    found: dict[str, list[int]] = {}
    for item in _closure(traversal, targets, stops, step):
        if any(is_kind(item.kind, kind) for kind in wanted):
            found.setdefault(entity(item.kind).qualified, []).append(item.id)
    return {name: sorted(ids) for name, ids in found.items()}


def _closure(
    traversal: GraphTraversal, targets: Sequence[StoredObject], stops: Sequence[str], step: _Step
) -> list[StoredObject]:
    """Return all visible objects that repeated steps lead to, without the targets."""
    seen = {item.key for item in targets}
    found: list[StoredObject] = []
    batch = list(targets)
    while batch:
        reached = {}
        for one in _relations():
            for pair in step(traversal, one, batch):
                reached[pair.other.key] = pair.other
        batch = [i for key, i in reached.items() if key not in seen and _is_visible(traversal, i, stops)]
        seen |= {item.key for item in batch}
        found += batch
    return found


def _is_visible(traversal: GraphTraversal, item: StoredObject, stops: Sequence[str]) -> bool:
    if any(is_kind(item.kind, kind) for kind in stops):
        return False
    if item.owner is None or item.group is None:
        return True
    return traversal.call.caller.may_read(item.owner, item.group)


def objects_within(call: RequestContext, targets: Sequence[StoredObject]) -> list[StoredObject]:
    """Return objects and everything that they contain."""
    traversal = GraphTraversal(call, ChildOptions())
    return [*targets, *_closure(traversal, targets, (), _downwards)]
