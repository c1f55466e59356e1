"""IContainer: hierarchies of projects, datasets, screens, plates and images; annotations' counts."""
# ruff: noqa: D102 - the operations are OMERO's and documented there

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import omero.api
from omero.rtypes import unwrap

from omero_pixclf.embedded.database.fetching import load_path, readable_ids
from omero_pixclf.embedded.database.object_model import Entity, find_entity
from omero_pixclf.embedded.database.saving import Saver
from omero_pixclf.embedded.database.schema import table
from omero_pixclf.embedded.database.sqlite import ids_parameter
from omero_pixclf.embedded.hql.queries import query_rows
from omero_pixclf.embedded.server.exceptions import api_usage_error
from omero_pixclf.embedded.server.request_context import RequestContext
from omero_pixclf.embedded.server.servant import OmeroService, writes_database
from omero_pixclf.embedded.server.service_options import ServiceOptions, parse_service_options
from omero_pixclf.embedded.services.update import UpdateService

__all__ = ["ContainerService", "load_hierarchy"]

_BELOW = {  # paths loaded with a container's hierarchy
    "Project": ("details.creationEvent", "datasetLinks.child"),
    "Dataset": ("details.creationEvent",),
    "Screen": ("details.creationEvent", "plateLinks.child", "plateLinks.child.plateAcquisitions"),
    "Plate": ("details.creationEvent", "plateAcquisitions"),
}
_LEAVES = {
    "Project": "datasetLinks.child.imageLinks.child",
    "Dataset": "imageLinks.child",
    "Screen": "plateLinks.child.plateAcquisitions.wellSample.image",
    "Plate": "plateAcquisitions.wellSample.image",
}
_IMAGE = ("details.creationEvent", "details.updateEvent", "pixels.pixelsType", "format")
_ACQUISITION = (
    "stageLabel",
    "imagingEnvironment",
    "objectiveSettings.medium",
    "objectiveSettings.objective.immersion",
    "objectiveSettings.objective.correction",
)
_ORPHANS = {"Project": ("Dataset", "ProjectDatasetLink"), "Screen": ("Plate", "ScreenPlateLink")}
_IMAGES_OF = {
    "Image": "",
    "Dataset": "join img.datasetLinks dil join dil.parent root ",
    "Project": "join img.datasetLinks dil join dil.parent ds join ds.projectLinks pdl join pdl.parent root ",
}


class ContainerService(OmeroService):
    """omero.api.IContainer."""

    interface = omero.api.IContainer

    # ---- hierarchies -----------------------------------------------------------------------------------------
    def loadContainerHierarchy(self, call: RequestContext, kind: str, ids: list[int] | None, given: Any) -> list[Any]:
        return load_hierarchy(call, kind, ids, parse_service_options(given))

    def findContainerHierarchies(self, call: RequestContext, kind: str, ids: list[int], given: Any) -> list[Any]:
        """Return the top containers of some images: projects, else datasets, else the images themselves."""
        if _find_class(kind).name != "Project":
            raise api_usage_error(f"Class parameter for findContainerHierarchies() must be in {{Project}}, not {kind}")
        options = parse_service_options(given)
        images = [i for i in readable_ids(call, "Image", ids or []) if _matches(call, "image", i, options)]
        return _topmost(call, images)

    # ---- images ----------------------------------------------------------------------------------------------
    def getImages(self, call: RequestContext, kind: str, ids: list[int], given: Any) -> list[Any]:
        options = parse_service_options(given)
        name = _find_class(kind).name
        if not ids:
            return []
        if name not in _IMAGES_OF:
            raise api_usage_error(f"Query not implemented for {kind}")
        root = "img" if name == "Image" else "root"
        where = [f"{root}.id in (:ids)", *options.conditions("img")]
        found = _image_ids(call, _IMAGES_OF[name], where, options, ids=list(ids))
        return _images(call, _select_page(found, options, name), options)

    def getUserImages(self, call: RequestContext, given: Any) -> list[Any]:
        options = parse_service_options(given)
        if options.owner is None and options.group is None:
            raise api_usage_error("experimenter or group option is required for getUserImages().")
        return _images(call, _image_ids(call, "", options.conditions("img"), ServiceOptions()), options)

    def getImagesByOptions(self, call: RequestContext, given: Any) -> list[Any]:
        options = parse_service_options(given)
        if options.start is None and options.end is None:
            raise api_usage_error("start or end time option is required for getImagesByOptions().")
        return _images(call, _image_ids(call, "", options.conditions("img"), options), options)

    def getImagesBySplitFilesets(
        self, call: RequestContext, included: dict[str, list[int]], given: Any
    ) -> dict[int, dict[bool, list[int]]]:
        """Return filesets of which only some images are below the named objects: images inside and outside."""
        images = _images_below(call, included or {})
        whole = {i for name, ids in (included or {}).items() if _find_class(name).name == "Fileset" for i in ids}
        sql = "SELECT DISTINCT fileset FROM image WHERE fileset IS NOT NULL AND id IN (SELECT value FROM json_each(?))"
        split: dict[int, dict[bool, list[int]]] = {}
        for (fileset,) in call.tx.all(sql, (ids_parameter(images),)):
            all_ids = [row[0] for row in call.tx.all("SELECT id FROM image WHERE fileset = ? ORDER BY id", (fileset,))]
            outside = [i for i in all_ids if i not in images]
            if outside and fileset not in whole:
                split[fileset] = {True: [i for i in all_ids if i in images], False: outside}
        return split

    # ---- collections -----------------------------------------------------------------------------------------
    def getCollectionCount(
        self, call: RequestContext, kind: str, name: str, ids: list[int], given: Any
    ) -> dict[int, int]:
        found = _find_class(kind)
        field = found.children.get(name.rsplit("_", 1)[-1])
        if field is None:
            raise api_usage_error(f"{found.qualified}.{name} is an unknown property on type {found.qualified}")
        where = table(field.target)
        condition = call.caller.filter_sql(where.name) if "owner_id" in where.columns else ""
        sql = (
            f'SELECT "{field.inverse}", count(*) FROM {where.name} WHERE "{field.inverse}" IN '
            f"(SELECT value FROM json_each(?)){' AND ' + condition if condition else ''} GROUP BY 1"
        )
        counts = dict(call.tx.all(sql, (ids_parameter(ids),)))
        return {ident: counts.get(ident, 0) for ident in ids}

    def retrieveCollection(self, call: RequestContext, obj: Any, name: str, given: Any) -> list[Any]:
        found = _find_class(type(obj).__name__)
        if name not in found.children:
            raise api_usage_error(f"{found.qualified} has no collection {name}")
        loaded = call.graph.get(found.name, unwrap(obj.id))
        call.graph.load_children(found.name, [unwrap(obj.id)], name)
        call.graph.finish_loading()
        return list(getattr(loaded, f"_{name}Seq"))

    # ---- saving ----------------------------------------------------------------------------------------------
    @writes_database
    def createDataObject(self, call: RequestContext, obj: Any, given: Any) -> Any:
        return _save(call, [obj])[0]

    @writes_database
    def createDataObjects(self, call: RequestContext, objects: list[Any], given: Any) -> list[Any]:
        return _save(call, objects)

    @writes_database
    def updateDataObject(self, call: RequestContext, obj: Any, given: Any) -> Any:
        return _save(call, [obj])[0]

    @writes_database
    def updateDataObjects(self, call: RequestContext, objects: list[Any], given: Any) -> list[Any]:
        return _save(call, objects)

    @writes_database
    def unlink(self, call: RequestContext, links: list[Any], given: Any) -> None:
        update = UpdateService(self.server, self.session)
        for link in links:
            update.deleteObject(call, link)

    @writes_database
    def link(self, call: RequestContext, links: list[Any], given: Any) -> list[Any]:
        return _save(call, links)


def _find_class(kind: str) -> Entity:
    found = find_entity(kind)
    if found is None:
        raise api_usage_error(f"{kind} does not specify a valid class.")
    return found


def _save(call: RequestContext, given: list[Any]) -> list[Any]:
    saver = Saver(call)
    saved = [saver.save(obj) for obj in given]
    saver.flush()
    return saved


# ---- hierarchies ---------------------------------------------------------------------------------------------
def load_hierarchy(call: RequestContext, kind: str, ids: Iterable[int] | None, options: ServiceOptions) -> list[Any]:
    """Return containers with their content: all of an owner or group, or some by id."""
    found = _find_class(kind)
    if found.name not in _BELOW:
        raise api_usage_error(
            "Class parameter for loadContainerIHierarchy() must be in {Project,Dataset, Screen, Plate}, "
            f"not class {found.qualified}"
        )
    named = list(ids or [])
    roots = _containers(call, found.name, named, options)
    loaded = _load_below(call, found.name, roots, options)
    if options.orphan and not named and found.name in _ORPHANS:
        kind_below, link = _ORPHANS[found.name]
        alone = _containers(
            call,
            kind_below,
            [],
            options,
            f"not exists (select l from {link} l where l.child.id = this.id)",
        )
        loaded += _load_below(call, kind_below, alone, options)
    call.graph.finish_loading()
    return loaded


def _containers(
    call: RequestContext, kind: str, ids: list[int], options: ServiceOptions, *conditions: str
) -> list[int]:
    where = [*options.conditions("this"), *conditions, *(["this.id in (:ids)"] if ids else [])]
    text = f"select this.id from {kind} this{' where ' + ' and '.join(where) if where else ''} order by this.id"
    return [row[0] for row in query_rows(call, text, **({"ids": ids} if ids else {}))]


def _load_below(call: RequestContext, kind: str, ids: list[int], options: ServiceOptions) -> list[Any]:
    for path in _BELOW[kind]:
        _load(call, kind, ids, path)
    if options.leaves:
        for part in _IMAGE + (_ACQUISITION if options.acquisition else ()):
            _load(call, kind, ids, f"{_LEAVES[kind]}.{part}")
    loaded = call.graph.load(kind, ids)
    return [loaded[ident] for ident in ids]


def _load(call: RequestContext, kind: str, ids: list[int], path: str) -> None:
    """Load objects along a path; a path into the details loads events."""
    before, _, event = path.partition("details.")
    where = before.rstrip(".")
    if where or not event:
        load_path(call, kind, ids, where or path)
    if event:
        _load_events(call, kind, ids, where, event)


def _load_events(call: RequestContext, kind: str, ids: list[int], where: str, event: str) -> None:
    column = {"creationEvent": "creation_id", "updateEvent": "update_id"}[event]
    at, current = _follow_path(call, kind, ids, where)
    sql = f"SELECT DISTINCT {column} FROM {table(at).name} WHERE id IN (SELECT value FROM json_each(?))"
    found = [row[0] for row in call.tx.all(sql, (ids_parameter(current),)) if row[0] is not None]
    call.graph.load("Event", found)


def _follow_path(call: RequestContext, kind: str, ids: list[int], where: str) -> tuple[str, list[int]]:
    """Return class and ids of the objects that a path leads to."""
    from omero_pixclf.embedded.commands.links import relation

    for name in where.split(".") if where else ():
        step = relation(f"{kind}.{name}")
        ids = list({pair.other.id for pair in step.members(call.tx, ids)})
        kind = step.member
    return kind, ids


def _topmost(call: RequestContext, images: list[int]) -> list[Any]:
    to_datasets = _links_to(call, "DatasetImageLink", images)
    datasets = readable_ids(call, "Dataset", {row[1] for row in to_datasets})
    to_projects = _links_to(call, "ProjectDatasetLink", datasets)
    projects = readable_ids(call, "Project", {row[1] for row in to_projects})
    call.graph.load("Image", images)
    _fill_links(call, "Dataset", datasets, "imageLinks", to_datasets)
    _fill_links(call, "Project", projects, "datasetLinks", to_projects)
    call.graph.finish_loading()
    held = {row[2] for row in to_projects if row[1] in projects}
    within = {row[2] for row in to_datasets if row[1] in datasets}
    alone = [i for i in images if i not in within]
    tops = (("Project", projects), ("Dataset", [d for d in datasets if d not in held]), ("Image", alone))
    return [obj for kind, ids in tops for obj in call.graph.load(kind, ids).values()]


def _links_to(call: RequestContext, link: str, children: list[int]) -> list[tuple[int, int, int]]:
    """Return (link, parent, child) of all links of a class to some children."""
    sql = (
        f"SELECT id, parent, child FROM {table(link).name} WHERE child IN (SELECT value FROM json_each(?)) ORDER BY id"
    )
    return call.tx.all(sql, (ids_parameter(children),))


def _fill_links(call: RequestContext, kind: str, ids: list[int], name: str, links: list[tuple[int, int, int]]) -> None:
    """Fill a collection of links with the links to the requested objects only."""
    call.graph.load(kind, ids)
    wanted = [row for row in links if row[1] in ids]
    loaded = call.graph.load(_find_class(kind).children[name].target, [row[0] for row in wanted])
    for ident in ids:
        call.graph.start_collection(kind, ident, name)
    for link, parent, _child in wanted:
        call.graph.start_collection(kind, parent, name).append(loaded[link])


def _matches(call: RequestContext, name: str, ident: int, options: ServiceOptions) -> bool:
    owner, group = call.tx.one(f"SELECT owner_id, group_id FROM {name} WHERE id = ?", (ident,))
    return options.owner in (None, owner) and options.group in (None, group)


# ---- images --------------------------------------------------------------------------------------------------
def _image_ids(call: RequestContext, joins: str, where: list[str], options: ServiceOptions, **values: Any) -> list[int]:
    times = {"start": (">", options.start), "end": ("<", options.end)}
    conditions = list(where)
    for name, (sign, value) in times.items():
        if value is not None:
            conditions.append(f"img.details.creationEvent.time {sign} :{name}")
            values[name] = omero.rtypes.rtime(value)
    text = f"select distinct img.id from Image img {joins}where {' and '.join(conditions)} order by img.id"
    return [row[0] for row in query_rows(call, text, **values)]


def _select_page(ids: list[int], options: ServiceOptions, kind: str) -> list[int]:
    if not options.is_paged:
        return ids
    if kind == "Image":
        raise api_usage_error("ome.model.core.Image does not support pagination yet.")
    start = options.offset or 0
    return ids[start : None if options.limit is None else start + options.limit]


def _images(call: RequestContext, ids: list[int], options: ServiceOptions) -> list[Any]:
    for path in _IMAGE + (_ACQUISITION if options.acquisition else ()):
        _load(call, "Image", ids, path)
    loaded = call.graph.load("Image", ids)
    call.graph.finish_loading()
    return [loaded[ident] for ident in ids]


_INTO_IMAGES = {
    "Project": "select dil.child.id from DatasetImageLink dil, ProjectDatasetLink pdl "
    "where dil.parent.id = pdl.child.id and pdl.parent.id in (:ids)",
    "Dataset": "select l.child.id from DatasetImageLink l where l.parent.id in (:ids)",
    "Screen": "select ws.image.id from WellSample ws join ws.well w join w.plate p join p.screenLinks l "
    "where l.parent.id in (:ids)",
    "Plate": "select ws.image.id from WellSample ws join ws.well w where w.plate.id in (:ids)",
    "Well": "select ws.image.id from WellSample ws where ws.well.id in (:ids)",
    "Folder": "select l.child.id from FolderImageLink l where l.parent.id in (:ids)",
    "Fileset": "select i.id from Image i where i.fileset.id in (:ids)",
    "Image": "select i.id from Image i where i.id in (:ids)",
}


def _images_below(call: RequestContext, included: dict[str, list[int]]) -> set[int]:
    found: set[int] = set()
    for name, ids in included.items():
        text = _INTO_IMAGES.get(_find_class(name).name)
        if text and ids:
            found |= {row[0] for row in query_rows(call, text, ids=list(ids))}
    return found
