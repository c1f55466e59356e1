"""DiskUsage2: bytes of the files that belong to some objects."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import omero.api
import omero.cmd

from omero_pixclf.embedded.commands.delete import find_named_targets
from omero_pixclf.embedded.commands.find_related import TARGETS, objects_within
from omero_pixclf.embedded.commands.graph_traversal import GraphTraversal
from omero_pixclf.embedded.commands.links import StoredObject, find_objects
from omero_pixclf.embedded.commands.options import ChildOptions, find_class
from omero_pixclf.embedded.database.schema import table
from omero_pixclf.embedded.database.sqlite import ids_parameter
from omero_pixclf.embedded.server.request_context import RequestContext
from omero_pixclf.embedded.storage.data_paths import pixels_path
from omero_pixclf.embedded.storage.managed_files import original_file_path

__all__ = ["disk_usage"]

_PEOPLE = {"Experimenter": "owner_id", "ExperimenterGroup": "group_id"}  # targets that mean all of their objects


def disk_usage(call: RequestContext, request: Any) -> Any:
    """Answer a DiskUsage2 request: files and bytes by user and group, and by what refers to them."""
    targets = _targets(call, request)
    counts: dict[Any, Counter[str]] = defaultdict(Counter)
    sizes: dict[Any, Counter[str]] = defaultdict(Counter)
    total_count: Counter[Any] = Counter()
    total_size: Counter[Any] = Counter()
    for whose, referer, files, size in _files(call, objects_within(call, targets)):
        counts[whose][referer] += files
        sizes[whose][referer] += size
        total_count[whose] += files
        total_size[whose] += size
    return omero.cmd.DiskUsage2Response(_to_dicts(counts), _to_dicts(sizes), dict(total_count), dict(total_size))


def _to_dicts(counters: dict[Any, Counter[str]]) -> dict[Any, dict[str, int]]:
    return {whose: dict(counter) for whose, counter in counters.items()}


def _targets(call: RequestContext, request: Any) -> list[StoredObject]:
    traversal = GraphTraversal(call, ChildOptions())
    given = {find_class(name).name: ids for name, ids in (request.targetObjects or {}).items()}
    found = _owned_objects(call, {name: given.pop(name) for name in _PEOPLE if name in given})
    found += find_named_targets(traversal, TARGETS, given)
    for name in request.targetClasses or []:
        kind = find_class(name)
        where = table(kind.name)
        condition = call.caller.filter_sql(where.name)
        sql = f"SELECT id FROM {where.name}{' WHERE ' + condition if condition else ''}"
        found += find_objects(call.tx, kind.name, [row[0] for row in call.tx.all(sql)])
    return found


def _owned_objects(call: RequestContext, people: Mapping[str, Iterable[int]]) -> list[StoredObject]:
    """Return all Pixels and OriginalFiles of users or groups that the caller can see."""
    found: list[StoredObject] = []
    for name, ids in people.items():
        for kind in ("Pixels", "OriginalFile"):
            where = table(kind).name
            condition = call.caller.filter_sql(where)
            sql = f"SELECT id FROM {where} WHERE {_PEOPLE[name]} IN (SELECT value FROM json_each(?))"
            rows = call.tx.all(f"{sql}{' AND ' + condition if condition else ''}", (ids_parameter(ids),))
            found += find_objects(call.tx, kind, [row[0] for row in rows])
    return found


def _files(call: RequestContext, found: Iterable[StoredObject]) -> Iterator[tuple[Any, str, int, int]]:
    """Yield (user and group, referring class, files, bytes) of pixel files and original files."""
    pixels = {item.id: item for item in found if item.kind == "Pixels"}
    originals = {item.id: item for item in found if item.kind == "OriginalFile"}
    for item in pixels.values():
        path = pixels_path(call.folder, item.id)
        if path.exists():
            yield _owner_and_group(item), "Pixels", 1, path.stat().st_size
    sql = "SELECT id, size FROM originalfile WHERE id IN (SELECT value FROM json_each(?))"
    for ident, size in call.tx.all(sql, (ids_parameter(originals),)):
        path = original_file_path(call.tx, call.folder, ident)
        yield (
            _owner_and_group(originals[ident]),
            "FileAnnotation",
            1,
            path.stat().st_size if path.exists() else size or 0,
        )


def _owner_and_group(item: StoredObject) -> Any:
    return omero.api.LongPair(item.owner, item.group)
