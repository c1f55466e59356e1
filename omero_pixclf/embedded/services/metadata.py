"""IMetadata: annotations and tags of objects, acquisition metadata, import logs."""
# ruff: noqa: D102 - the operations are OMERO's and documented there

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

import omero.api
from omero.rtypes import rlong

from omero_pixclf.embedded.database.fetching import load_path, readable_ids
from omero_pixclf.embedded.database.object_model import Entity, entities, find_entity
from omero_pixclf.embedded.database.schema import table
from omero_pixclf.embedded.database.sqlite import ids_parameter
from omero_pixclf.embedded.hql.queries import query_objects, query_rows
from omero_pixclf.embedded.server.exceptions import api_usage_error
from omero_pixclf.embedded.server.request_context import RequestContext
from omero_pixclf.embedded.server.servant import OmeroService
from omero_pixclf.embedded.server.service_options import ServiceOptions, parse_service_options
from omero_pixclf.embedded.services.container import load_hierarchy

__all__ = ["MetadataService"]

_TAG_SET = "openmicroscopy.org/omero/insight/tagset"
_TAGGED = ("Image", "Dataset", "Project", "Screen", "Plate")
_INSTRUMENT = (
    "microscope.type",
    "objective.immersion",
    "objective.correction",
    "detector.type",
    "filter.type",
    "filter.transmittanceRange",
    "filterSet.dichroic",
    "dichroic",
    "otf.objective.immersion",
    "otf.objective.correction",
    "otf.pixelsType",
    "otf.filterSet",
    "lightSource",
)
_CHANNEL = (
    "mode",
    "illumination",
    "contrastMethod",
    "detectorSettings.detector.type",
    "detectorSettings.binning",
    "lightSourceSettings.lightSource",
    "lightSourceSettings.microbeamManipulation",
    "otf.pixelsType",
    "otf.objective.immersion",
    "otf.objective.correction",
    "otf.filterSet.dichroic",
    "filterSet.dichroic",
    "filterSet.emissionFilterLink.child.transmittanceRange",
    "filterSet.excitationFilterLink.child.transmittanceRange",
    "lightPath.dichroic",
    "lightPath.emissionFilterLink.child.transmittanceRange",
    "lightPath.excitationFilterLink.child.transmittanceRange",
)
_LOGS = (
    "select l.child.id from JobOriginalFileLink l where l.parent.id in "
    "(select j.child.id from FilesetJobLink j where j.parent.id in (:ids)) and l.child.mimetype = :mimetype"
)


class MetadataService(OmeroService):
    """omero.api.IMetadata."""

    interface = omero.api.IMetadata

    # ---- annotations of objects ------------------------------------------------------------------------------
    def loadAnnotations(
        self, call: RequestContext, kind: str, ids: list[int], types: list[str], annotators: list[int], given: Any
    ) -> dict[int, list[Any]]:
        """Return annotations by object; missing objects have no key."""
        wanted = {_find_class(name).name for name in types or []}
        parents = readable_ids(call, _find_class(kind).name, ids or [])
        owners = set(annotators or [])
        pairs = [
            (parent, ident)
            for parent, ident, name, owner in _annotations_of(call, kind, parents)
            if (not wanted or name in wanted) and (not owners or owner in owners)
        ]
        empty: dict[int, list[Any]] = {} if owners else {parent: [] for parent in parents}
        return {**empty, **_group_by_parent(call, pairs)}

    def loadSpecifiedAnnotations(
        self, call: RequestContext, kind: str, include: list[str], exclude: list[str], given: Any
    ) -> list[Any]:
        ids = _find_annotations(call, kind, include, exclude, parse_service_options(given))
        found = list(_annotations(call, ids).values())
        return [a for a in found if not isinstance(a, omero.model.FileAnnotation) or a.file is not None]

    def countSpecifiedAnnotations(
        self, call: RequestContext, kind: str, include: list[str], exclude: list[str], given: Any
    ) -> Any:
        return rlong(len(_find_annotations(call, kind, include, exclude, parse_service_options(given))))

    def loadSpecifiedAnnotationsLinkedTo(
        self,
        call: RequestContext,
        kind: str,
        include: list[str],
        exclude: list[str],
        parent: str,
        ids: list[int],
        given: Any,
    ) -> dict[int, list[Any]]:
        allowed = set(_find_annotations(call, kind, include, exclude, parse_service_options(given)))
        parents = readable_ids(call, _find_class(parent).name, ids or [])
        rows = _annotations_of(call, parent, parents)
        return _group_by_parent(call, [(row[0], row[1]) for row in rows if row[1] in allowed])

    def loadAnnotation(self, call: RequestContext, ids: list[int]) -> list[Any]:
        return list(_annotations(call, readable_ids(call, "Annotation", ids or [])).values())

    def loadAnnotationsUsedNotOwned(self, call: RequestContext, kind: str, user: int) -> list[Any]:
        return list(_annotations(call, _used_not_owned(call, kind, user)).values())

    def countAnnotationsUsedNotOwned(self, call: RequestContext, kind: str, user: int) -> Any:
        return rlong(len(_used_not_owned(call, kind, user)))

    # ---- tags ------------------------------------------------------------------------------------------------
    def loadTagSets(self, call: RequestContext, given: Any) -> list[Any]:
        """Return tag sets with their tags; with the orphan option also tags in no set."""
        options = parse_service_options(given)
        sets = _tags(call, "t.ns = :ns", options)
        load_path(call, "TagAnnotation", sets, "annotationLinks.child")
        found = call.graph.load("TagAnnotation", sets)
        if options.orphan:
            free = (
                "(t.ns is null or t.ns <> :ns) and not exists "
                "(select l from AnnotationAnnotationLink l where l.child.id = t.id and l.parent.ns = :ns)"
            )
            found |= call.graph.load("TagAnnotation", _tags(call, free, options))
        call.graph.finish_loading()
        return list(found.values())

    def loadTagContent(self, call: RequestContext, ids: list[int], given: Any) -> dict[int, list[Any]]:
        return {ident: _load_tagged(call, ident, parse_service_options(given)) for ident in ids or []}

    def getTaggedObjectsCount(self, call: RequestContext, ids: list[int], given: Any) -> dict[int, int]:
        return {ident: sum(len(_tagged_ids(call, kind, ident)) for kind in _TAGGED) for ident in ids or []}

    # ---- acquisition -----------------------------------------------------------------------------------------
    def loadInstrument(self, call: RequestContext, ident: int) -> Any:
        found = readable_ids(call, "Instrument", [ident])
        return _with_paths(call, "Instrument", found, _INSTRUMENT)[0] if found else None

    def loadChannelAcquisitionData(self, call: RequestContext, ids: list[int]) -> list[Any]:
        return _with_paths(call, "LogicalChannel", readable_ids(call, "LogicalChannel", ids or []), _CHANNEL)

    def loadLogFiles(self, call: RequestContext, kind: str, ids: list[int]) -> dict[int, list[Any]]:
        """Return import logs of filesets, or of the filesets of images; objects without logs have no key."""
        name = _find_class(kind).name
        if name not in ("Fileset", "Image"):
            raise api_usage_error("can load log files only by Fileset or Image")
        filesets = {ident: ident for ident in ids or []}
        if name == "Image" and ids:
            rows = query_rows(call, "select i.id, i.fileset.id from Image i where i.id in (:ids)", ids=list(ids))
            filesets = dict(rows)
        logs = {ident: _logs(call, [fileset]) for ident, fileset in filesets.items()}
        return {ident: found for ident, found in logs.items() if found}


def _find_class(kind: str) -> Entity:
    found = find_entity(kind)
    if found is None:
        raise api_usage_error(f"{kind} does not specify a valid class.")
    return found


def _link_class(kind: str) -> str:
    """Return the class of links between objects of a class and their annotations."""
    found = _find_class(kind)
    field = found.children.get("annotationLinks")
    if field is None:
        raise api_usage_error("Class parameter for loadAnnotation() must be a subclass of ome.model.IAnnotated")
    return field.target


def _annotations_of(call: RequestContext, kind: str, parents: Sequence[int]) -> list[tuple[int, int, str, int]]:
    """Return (object, annotation, class, owner) of all visible annotation links of some objects."""
    link = table(_link_class(kind)).name
    conditions = [c for c in (call.caller.filter_sql("l"), call.caller.filter_sql("a")) if c]
    sql = (
        f"SELECT DISTINCT l.parent, a.id, a.kind, a.owner_id FROM {link} l JOIN annotation a ON a.id = l.child "
        f"WHERE l.parent IN (SELECT value FROM json_each(?)){''.join(' AND ' + c for c in conditions)} ORDER BY l.id"
    )
    return call.tx.all(sql, (ids_parameter(parents),))


def _group_by_parent(call: RequestContext, pairs: Sequence[tuple[int, int]]) -> dict[int, list[Any]]:
    loaded = _annotations(call, [ident for _, ident in pairs])
    found: dict[int, list[Any]] = defaultdict(list)
    for parent, ident in pairs:
        found[parent].append(loaded[ident])
    return dict(found)


def _annotations(call: RequestContext, ids: Iterable[int]) -> dict[int, Any]:
    """Return annotations by id with owner, creation event and, for file annotations, the file."""
    found = call.graph.load("Annotation", list(dict.fromkeys(ids)))
    files = [ident for ident, a in found.items() if isinstance(a, omero.model.FileAnnotation)]
    if files:
        load_path(call, "FileAnnotation", files, "file.hasher")
    rows = [call.graph.stored_row("Annotation", ident) for ident in found]
    places = {name: i for i, name in enumerate(table("Annotation").columns)}
    call.graph.load("Event", {row[places["creation_id"]] for row in rows if row is not None})
    call.graph.load("Experimenter", {row[places["owner_id"]] for row in rows if row is not None})
    call.graph.finish_loading()
    return found


def _find_annotations(
    call: RequestContext, kind: str, include: Sequence[str], exclude: Sequence[str], options: ServiceOptions
) -> list[int]:
    """Return ids of annotations of a class by namespace and owner."""
    where = [] if options.owner is None else [f"a.details.owner.id = {options.owner}"]
    values: dict[str, Any] = {}
    if include:
        where.append("a.ns in (:include)")
        values["include"] = list(include)
    if exclude:
        where.append("(a.ns is null or a.ns not in (:exclude))")
        values["exclude"] = list(exclude)
    text = (
        f"select a.id from {_find_class(kind).name} a{' where ' + ' and '.join(where) if where else ''} order by a.id"
    )
    return [row[0] for row in query_rows(call, text, **values)]


def _used_not_owned(call: RequestContext, kind: str, user: int) -> list[int]:
    found: dict[int, None] = {}
    for parent in _TAGGED:
        text = (
            f"select a.id from {parent}AnnotationLink l, {_find_class(kind).name} a where l.child.id = a.id "
            "and l.details.owner.id = :u and a.details.owner.id <> :u"
        )
        found |= dict.fromkeys(row[0] for row in query_rows(call, text, u=user))
    return list(found)


# ---- tags ----------------------------------------------------------------------------------------------------
def _tags(call: RequestContext, condition: str, options: ServiceOptions) -> list[int]:
    where = [condition, *([] if options.owner is None else [f"t.details.owner.id = {options.owner}"])]
    text = f"select t.id from TagAnnotation t where {' and '.join(where)} order by t.id"
    return [row[0] for row in query_rows(call, text, ns=_TAG_SET)]


def _tagged_ids(call: RequestContext, kind: str, tag: int) -> list[int]:
    text = f"select distinct l.parent.id from {kind}AnnotationLink l where l.child.id = :i order by l.parent.id"
    return [row[0] for row in query_rows(call, text, i=tag)]


def _load_tagged(call: RequestContext, tag: int, options: ServiceOptions) -> list[Any]:
    """Return the objects with a tag; projects and screens with their content."""
    found: list[Any] = []
    for kind in ("Image", "Dataset", "Plate"):
        text = (
            f"select o from {kind} o left outer join fetch o.annotationLinks l left outer join fetch l.child "
            "where o.id in (:ids)"
        )
        ids = _tagged_ids(call, kind, tag)
        found += query_objects(call, text, ids=ids) if ids else []
    for kind in ("Project", "Screen"):
        ids = _tagged_ids(call, kind, tag)
        found += load_hierarchy(call, kind, ids, options) if ids else []
    return found


# ---- acquisition ---------------------------------------------------------------------------------------------
def _with_paths(call: RequestContext, kind: str, ids: list[int], paths: Iterable[str]) -> list[Any]:
    for path in paths:
        load_path(call, kind, ids, path)
    found = call.graph.load(kind, ids)
    _load_enumerations(call)
    call.graph.finish_loading()
    return list(found.values())


def _load_enumerations(call: RequestContext) -> None:
    """Load the types of light sources: small tables, loaded as a whole."""
    for name in ("LaserType", "LaserMedium", "Pulse", "ArcType", "FilamentType"):
        call.graph.load(name, [row[0] for row in call.tx.all(f"SELECT id FROM {entities()[name].root.lower()}")])


def _logs(call: RequestContext, filesets: list[int]) -> list[Any]:
    ids = [row[0] for row in query_rows(call, _LOGS, ids=filesets, mimetype="application/omero-log-file")]
    found = call.graph.load("OriginalFile", ids)
    call.graph.finish_loading()
    return list(found.values())
