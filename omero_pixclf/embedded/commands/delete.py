"""Delete2: delete objects with everything that belongs to them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import omero.cmd

from omero_pixclf.embedded.commands.delete_rules import Deletion, PlainDeletion, delete_rows
from omero_pixclf.embedded.commands.graph_traversal import Action, GraphTraversal
from omero_pixclf.embedded.commands.links import StoredObject
from omero_pixclf.embedded.commands.options import ChildOptions, child_options, find_class
from omero_pixclf.embedded.commands.request_errors import RequestError
from omero_pixclf.embedded.database.event_log import log_events
from omero_pixclf.embedded.database.object_model import Entity
from omero_pixclf.embedded.database.schema import table
from omero_pixclf.embedded.images.resolutions import delete_levels
from omero_pixclf.embedded.server.request_context import RequestContext
from omero_pixclf.embedded.storage.managed_files import forget_managed_paths, remove_managed_files

__all__ = ["TARGETS", "delete", "delete_objects", "execute_deletion", "find_named_targets", "is_legal_target", "plan"]

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
_FILES = ("Pixels", "OriginalFile", "Thumbnail")  # classes with files outside the database


def is_legal_target(kind: Entity, legal: Sequence[str]) -> bool:
    """Whether a class may be the target of a request; ``AnnotationLink`` includes all links to annotations."""
    if kind.is_annotation_link:
        return "AnnotationLink" in legal
    return any(one in kind.ancestors for one in legal)


def find_named_targets(
    traversal: GraphTraversal, legal: Sequence[str], given: Mapping[str, Sequence[int]]
) -> list[StoredObject]:
    """Return the objects that a request names by class and id."""
    found: list[StoredObject] = []
    for name, ids in (given or {}).items():
        kind = find_class(name)
        if not is_legal_target(kind, legal):
            raise RequestError("bad-target", f"cannot target {kind.name}")
        found.extend(traversal.find_targets(kind.name, list(ids)))
    return found


def delete(call: RequestContext, request: Any) -> Any:
    """Answer a Delete2 request."""
    deletion = plan(call, request)
    deletion.check()
    unlinked = deletion.references_to_clear()
    if not request.dryRun:
        execute_deletion(deletion, unlinked)
    return omero.cmd.Delete2Response(deletion.ids_by_class(Action.DELETE))


def plan(call: RequestContext, request: Any, stops: Sequence[str] = ()) -> Deletion:
    """Return the decisions of a Delete2 request; the traversal stops at objects of the classes in ``stops``."""
    deletion = Deletion(call, child_options(request.childOptions), _ignored_classes(request))
    deletion.stop_classes = stops
    deletion.run(find_named_targets(deletion, TARGETS, request.targetObjects), Action.DELETE)
    return deletion


def delete_objects(call: RequestContext, targets: Mapping[str, Sequence[int]]) -> None:
    """Delete objects with their parts and links only, as IUpdate does; RequestError if that is not possible."""
    deletion = PlainDeletion(call, ChildOptions())
    named = [item for kind, ids in targets.items() for item in deletion.find_targets(kind, list(ids))]
    deletion.run(named, Action.DELETE)
    deletion.check()
    execute_deletion(deletion, deletion.references_to_clear())


def _ignored_classes(request: Any) -> list[str]:
    return [find_class(name).name for name in request.typesToIgnore or []]


def execute_deletion(traversal: GraphTraversal, unlinked: Iterable[tuple[str, str, list[int]]]) -> None:
    """Clear references to deleted objects, delete their rows and, after the commit, their files."""
    for kind, name, ids in unlinked:
        traversal.tx.executemany(
            f'UPDATE {table(kind).name} SET "{name}" = NULL WHERE id = ?', [(ident,) for ident in ids]
        )
    dropped = traversal.ids_by_table(Action.DELETE)
    folder = traversal.call.folder
    managed = forget_managed_paths(traversal.tx, folder, dropped.get("OriginalFile", ()))
    delete_levels(traversal.tx, dropped.get("Pixels", ()))
    delete_rows(traversal)
    log_events(traversal.call, "DELETE", traversal.ids_by_class(Action.DELETE))
    traversal.tx.after_commit.append(lambda: remove_managed_files(managed))
    for kind in _FILES:
        if dropped.get(kind):
            traversal.tx.after_commit.append(_remover(folder, kind, dropped[kind]))


def _remover(folder: Any, kind: str, ids: list[int]) -> Any:
    from omero_pixclf.embedded.storage.data_paths import remove_files

    return lambda: remove_files(folder, kind, ids)
