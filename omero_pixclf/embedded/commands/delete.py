"""Delete2: objects with all that belongs to them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import omero.cmd

from omero_pixclf.embedded.commands.delete_rules import PlainRemoval, Removal, delete_rows
from omero_pixclf.embedded.commands.graph_traversal import Action, Journey
from omero_pixclf.embedded.commands.links import Item
from omero_pixclf.embedded.commands.options import ChildOptions, child_options, named_class
from omero_pixclf.embedded.commands.request_errors import Refused
from omero_pixclf.embedded.database.event_log import note_all
from omero_pixclf.embedded.database.object_model import Entity
from omero_pixclf.embedded.database.schema import table
from omero_pixclf.embedded.images.resolutions import forget_levels
from omero_pixclf.embedded.server.request_context import Call
from omero_pixclf.embedded.storage.managed_files import forget_managed, remove_managed

__all__ = ["TARGETS", "carry_out", "delete", "delete_objects", "is_legal", "named_targets", "plan"]

# fmt: off
TARGETS = (
    "DetectorSettings", "FilterSetEmissionFilterLink", "FilterSetExcitationFilterLink", "ImagingEnvironment",
    "Instrument", "LightPathEmissionFilterLink", "LightPathExcitationFilterLink", "LightSettings", "Microscope",
    "ObjectiveSettings", "StageLabel", "TransmittanceRange", "Annotation", "AnnotationLink", "Dataset",
    "DatasetImageLink", "Project", "ProjectDatasetLink", "Folder", "FolderImageLink", "FolderRoiLink", "Channel",
    "Image", "LogicalChannel", "OriginalFile", "PixelsOriginalFileMap", "ProjectionDef", "RenderingDef",
    "Thumbnail", "Experiment", "MicrobeamManipulation", "Fileset", "FilesetJobLink", "Job", "JobOriginalFileLink",
    "ExternalInfo", "GroupExperimenterMap", "Namespace", "ShareMember", "AffineTransform", "Roi", "Shape", "Plate",
    "PlateAcquisition", "Reagent", "Screen", "ScreenPlateLink", "Well", "WellReagentLink", "WellSample",
    "StatsInfo",
)
# fmt: on
_FILES = ("Pixels", "OriginalFile", "Thumbnail")  # what has bytes outside the database


def is_legal(kind: Entity, legal: Sequence[str]) -> bool:
    """Whether a class may be the target of a request; ``AnnotationLink`` stands for all links to annotations."""
    if kind.is_annotation_link:
        return "AnnotationLink" in legal
    return any(one in kind.ancestors for one in legal)


def named_targets(journey: Journey, legal: Sequence[str], given: Mapping[str, Sequence[int]]) -> list[Item]:
    """The objects a request names by class."""
    found: list[Item] = []
    for name, ids in (given or {}).items():
        kind = named_class(name)
        if not is_legal(kind, legal):
            raise Refused("bad-target", f"cannot target {kind.name}")
        found.extend(journey.targets(kind.name, list(ids)))
    return found


def delete(call: Call, request: Any) -> Any:
    """Answer a Delete2 request."""
    removal = plan(call, request)
    removal.check()
    unlinked = removal.to_unlink()
    if not request.dryRun:
        carry_out(removal, unlinked)
    return omero.cmd.Delete2Response(removal.by_class(Action.DROP))


def plan(call: Call, request: Any, stops: Sequence[str] = ()) -> Removal:
    """What a Delete2 request takes along; nothing beyond objects of the kinds to stop at."""
    removal = Removal(call, child_options(request.childOptions), _ignored(request))
    removal.stops = stops
    removal.run(named_targets(removal, TARGETS, request.targetObjects), Action.DROP)
    return removal


def delete_objects(call: Call, targets: Mapping[str, Sequence[int]]) -> None:
    """Delete objects with their parts and links but nothing else, as IUpdate does; Refused when that cannot be."""
    removal = PlainRemoval(call, ChildOptions())
    named = [item for kind, ids in targets.items() for item in removal.targets(kind, list(ids))]
    removal.run(named, Action.DROP)
    removal.check()
    carry_out(removal, removal.to_unlink())


def _ignored(request: Any) -> list[str]:
    return [named_class(name).name for name in request.typesToIgnore or []]


def carry_out(journey: Journey, unlinked: Iterable[tuple[str, str, list[int]]]) -> None:
    """Empty references to what is dropped, delete its rows and, once that is committed, its files."""
    for kind, name, ids in unlinked:
        journey.tx.executemany(
            f'UPDATE {table(kind).name} SET "{name}" = NULL WHERE id = ?', [(ident,) for ident in ids]
        )
    dropped = journey.of_action(Action.DROP)
    folder = journey.call.folder
    managed = forget_managed(journey.tx, folder, dropped.get("OriginalFile", ()))
    forget_levels(journey.tx, dropped.get("Pixels", ()))
    delete_rows(journey)
    note_all(journey.call, "DELETE", journey.by_class(Action.DROP))
    journey.tx.after_commit.append(lambda: remove_managed(managed))
    for kind in _FILES:
        if dropped.get(kind):
            journey.tx.after_commit.append(_remover(folder, kind, dropped[kind]))


def _remover(folder: Any, kind: str, ids: list[int]) -> Any:
    from omero_pixclf.embedded.storage.data_paths import remove_files

    return lambda: remove_files(folder, kind, ids)
