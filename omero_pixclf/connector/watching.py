"""Queries of the watcher: containers by name or opted in, requests, and the state of each image."""

from __future__ import annotations

import fnmatch
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import omero.clients  # noqa: F401 - must be imported before other modules of omero
from omero.model import MapAnnotationI, NamedValue
from omero.rtypes import rstring

from omero_pixclf.config import Recipe
from omero_pixclf.connector.files import name_recipe
from omero_pixclf.connector.hierarchy import parse_key
from omero_pixclf.connector.paging import split_into_pages
from omero_pixclf.connector.project_lookup import SEARCHED_PLACES, find_nearest_projects
from omero_pixclf.connector.query_patterns import glob_pattern
from omero_pixclf.connector.recipe_annotations import Pairs, format_recipe
from omero_pixclf.connector.results.annotations import find_group, make_link
from omero_pixclf.connector.results.ledger import RUN_NS, parse_record
from omero_pixclf.connector.sessions.exceptions import make_missing_error
from omero_pixclf.connector.sessions.session import Session
from omero_pixclf.errors import MissingError, UsageError
from omero_pixclf.image import ImageInfo, parse_id

__all__ = [
    "ANSWER_NS",
    "CONTAINERS",
    "REQUEST_NS",
    "TARGETS",
    "WATCH_NS",
    "KeyValueAnnotation",
    "QueuedRequest",
    "RequestState",
    "answer_request",
    "find_attached_project",
    "find_containers_by_name",
    "find_up_to_date_images",
    "list_open_requests",
    "list_opt_ins",
    "queue_request",
    "read_image_versions",
]

WATCH_NS = "omero_pixclf/watch"
REQUEST_NS = "omero_pixclf/request"
ANSWER_NS = "omero_pixclf/request/answer"
"""Namespace of answers to requests that the watcher's user may not edit."""

CONTAINERS = ("Project", "Dataset", "Screen", "Plate")
TARGETS = (*CONTAINERS, "Image", "Well")
RequestState = Literal["queued", "running", "done", "failed"]
_OPEN = ("queued", "running")
_WHERE = "the watcher answers here or, if it may not edit these, in key-value pairs of its own next to these"
_ABOUT = ("Requested by", "State", "Message", "Served by")
"""Keys of a request that are not part of the recipe."""


@dataclass(frozen=True)
class KeyValueAnnotation:
    """A map annotation on an object: its id, the annotated object, its owner's name, and its key-value pairs."""

    annotation: int
    target: str
    owner: str
    pairs: tuple[tuple[str, str], ...]

    def value(self, key: str) -> str:
        """Return the value of a key, or ""."""
        return dict(self.pairs).get(key, "")


@dataclass(frozen=True)
class QueuedRequest:
    """A waiting request: its annotation's id, and whether it is new or existed before."""

    annotation: int
    new: bool


def find_containers_by_name(session: Session, kind: str, pattern: str) -> list[str]:
    """Return the visible containers whose names match a shell pattern such as ``"*_DAPI"``; case-sensitive."""
    hql = f"select x.id, x.name from {kind} x where x.name like :name order by x.id"
    found = session.query_rows(hql, name=glob_pattern(pattern))
    return [f"{kind}:{ident}" for ident, name in found if fnmatch.fnmatchcase(name or "", pattern)]


def list_opt_ins(session: Session) -> list[KeyValueAnnotation]:
    """List the opt-in annotations on containers, in the order of their ids."""
    return _find_annotations(session, WATCH_NS, CONTAINERS)


def list_open_requests(session: Session) -> list[KeyValueAnnotation]:
    """List the requests without a final answer, oldest first."""
    asked = [n for n in _find_annotations(session, REQUEST_NS, TARGETS) if n.value("State") in ("", *_OPEN)]
    if not asked:
        return []
    answers = {
        parse_id(n.value("Request")): n.value("State") for n in _find_annotations(session, ANSWER_NS, TARGETS, own=True)
    }
    return [n for n in asked if answers.get(n.annotation, "queued") in _OPEN]


def _find_annotations(
    session: Session, namespace: str, kinds: Sequence[str], *, own: bool = False, on: int | None = None
) -> list[KeyValueAnnotation]:
    """Return the map annotations of a namespace on objects of some kinds.

    ``own``: only those of this user. ``on``: only those on the object with this id.
    """
    named: dict[str, Any] = {"ns": namespace}
    hql = "select a.id, l.parent.id from {}AnnotationLink l join l.child a where a.ns = :ns"
    if own:
        hql, named["owner"] = f"{hql} and a.details.owner.id = :owner", session.user_id
    if on is not None:
        hql, named["on"] = f"{hql} and l.parent.id = :on", on
    rows = [
        (int(i), kind, int(parent)) for kind in kinds for i, parent in session.query_rows(hql.format(kind), **named)
    ]
    links = [(ident, f"{kind}:{parent}") for ident, kind, parent in sorted(rows)]  # numerically: 99 before 100
    owners: dict[int, str] = {}
    pairs: dict[int, Pairs] = {}
    for page in split_into_pages(sorted({ident for ident, _ in links})):
        hql = "select a.id, o.omeName from MapAnnotation a join a.details.owner o where a.id in (:ids)"
        owners.update({int(ident): name for ident, name in session.query_rows(hql, ids=page)})
        _read_pairs(session, page, pairs)
    return [KeyValueAnnotation(i, target, owners[i], tuple(pairs.get(i, ()))) for i, target in links if i in owners]


def _read_pairs(session: Session, annotations: Sequence[int], into: dict[int, Pairs]) -> None:
    """Read key-value pairs in their order, which a projection would lose."""
    hql = "select distinct a from MapAnnotation a left outer join fetch a.mapValue where a.id in (:ids)"
    for found in session.query_objects(hql, ids=list(annotations)):
        into[int(found.id.val)] = [(v.name or "", v.value or "") for v in found.getMapValue() or ()]


def find_attached_project(session: Session, target: str, name: str = "") -> tuple[str, str]:
    """Return address and file name of the ``.ilp`` attached to or near an object, by name or the only one.

    Raises
    ------
    MissingError
        No such file is attached.
    UsageError
        Several such files are equally near.
    """
    wanted = find_nearest_projects(
        session, target, lambda file: file == name if name else file.lower().endswith(".ilp")
    )
    if not wanted:
        raise MissingError(
            f"{target}: no {name or '.ilp'} is attached to it, {SEARCHED_PLACES}; attach one, or set Project to another"
        )
    if len(wanted) > 1:
        choices = ", ".join(f"FileAnnotation:{number} ({file})" for number, file in wanted)
        raise UsageError(f"{target}: several projects are attached ({choices}); set Project to one of them")
    return f"FileAnnotation:{wanted[0][0]}", str(wanted[0][1])


def read_image_versions(session: Session, images: Sequence[str]) -> dict[str, str]:
    """Return a text per image that changes until its import is finished; images without pixels are left out.

    OMERO updates the Pixels object when planes, checksum or statistics are stored. The text contains the id of that
    update event, not its time.
    """
    found: dict[str, str] = {}
    for page in split_into_pages([parse_key(key)[1] for key in images]):
        rows = session.query_rows(
            "select p.image.id, p.id, p.sha1, p.details.updateEvent.id from Pixels p where p.image.id in (:ids) "
            "order by p.id desc",
            ids=page,
        )
        found.update({f"Image:{image}": f"{pixels} {sha1} {update}" for image, pixels, sha1, update in rows})
    return found


def find_up_to_date_images(session: Session, images: Sequence[ImageInfo], recipe: str, recipe_hash: str) -> set[str]:
    """Return the images whose only run by this user of a recipe of that name is complete and up to date."""
    wanted = {i.key: (recipe_hash, i.fingerprint) for i in images}
    return {
        key
        for key, entries in _read_ledger_entries(session, list(wanted)).items()
        if [(e.recipe_hash, e.fingerprint) for e in entries if e.recipe == recipe] == [wanted[key]]
        and all(e.state == "complete" for e in entries if e.recipe == recipe)
    }


def _read_ledger_entries(session: Session, images: Sequence[str]) -> dict[str, list[Any]]:
    entries: dict[str, list[Any]] = {}
    for page in split_into_pages([parse_key(key)[1] for key in images]):
        ids = session.query_ids(
            "select a.id from ImageAnnotationLink l join l.child a where l.parent.id in (:ids) and a.ns = :ns "
            "and a.details.owner.id = :owner",
            ids=page,
            ns=RUN_NS,
            owner=session.user_id,
        )
        pairs: dict[int, Pairs] = {}
        for part in split_into_pages(ids):
            _read_pairs(session, part, pairs)
        for said in pairs.values():
            try:
                record = parse_record(said)
            except (KeyError, ValueError):
                continue  # other pairs under our namespace
            entries.setdefault(record.image, []).append(record)
    return entries


def queue_request(session: Session, target: str, recipe: Recipe) -> QueuedRequest:
    """Ask the watcher to apply a recipe to an object; an equal waiting request of this user is reused.

    Raises
    ------
    UsageError
        The recipe's project is not in OMERO: the watcher cannot read files of another host.
    """
    if not recipe.classifier.project.startswith("FileAnnotation:"):
        raise UsageError(
            f"{recipe.classifier.project}: the watcher needs a project in OMERO; attach it and give its id as "
            "FileAnnotation:12"
        )
    recipe = name_recipe(session, recipe)
    waiting = _find_waiting_request(session, target, recipe)
    if waiting is not None:
        return QueuedRequest(waiting, new=False)
    annotation = MapAnnotationI()
    annotation.ns = rstring(REQUEST_NS)
    about = (("Requested by", session.user_name), ("State", "queued"), ("Message", _WHERE))
    pairs = [*format_recipe(recipe), *about]
    annotation.setMapValue([NamedValue(*pair) for pair in pairs])
    made, group = make_link(target, annotation), find_group(session, target)
    saved = session.write_once(
        f"{target}: queueing a request",
        lambda sf: sf.getUpdateService().saveAndReturnObject(made),
        group=group,
    )
    return QueuedRequest(int(saved.child.id.val), new=True)


def _find_waiting_request(session: Session, target: str, recipe: Recipe) -> int | None:
    """Return the id of this user's equal request that no watcher has begun; a begun one may miss later images."""
    kind, ident = parse_key(target)
    asked = _find_annotations(session, REQUEST_NS, (kind,), own=True, on=ident)
    if not asked:
        return None
    begun = {n.value("Request") for n in _find_annotations(session, ANSWER_NS, (kind,), on=ident)}
    wanted = dict(format_recipe(recipe))
    for note in asked:
        said = {key: value for key, value in note.pairs if key not in _ABOUT}
        if said == wanted and note.value("State") in ("", "queued") and str(note.annotation) not in begun:
            return note.annotation
    return None


def answer_request(session: Session, note: KeyValueAnnotation, state: RequestState, message: str) -> None:
    """Write the state of a request into it, or into an annotation of our own if this user may not edit it.

    Raises
    ------
    MissingError
        The request has been removed.
    """
    news = {"State": state, "Message": message, "Served by": session.user_name}

    def update(factory: Any) -> bool:
        stored = factory.getQueryService().find("MapAnnotation", note.annotation)
        if stored is None:
            raise make_missing_error("MapAnnotation", note.annotation)
        if not stored.details.permissions.canEdit():
            return False
        kept = [(v.name, v.value) for v in stored.getMapValue() or () if v.name not in news]
        stored.setMapValue([NamedValue(*pair) for pair in (*kept, *news.items())])
        factory.getUpdateService().saveObject(stored)
        return True

    group = find_group(session, note.target)
    if not session.write(f"{note.target}: answering request {note.annotation}", update, group=group):
        _write_own_answer(session, note, news, group)


def _write_own_answer(session: Session, note: KeyValueAnnotation, news: dict[str, str], group: int) -> None:
    pairs = [("Request", str(note.annotation)), *news.items()]

    def write(factory: Any) -> None:
        mine = _find_annotations(session, ANSWER_NS, (parse_key(note.target)[0],), own=True)
        known = next((n.annotation for n in mine if n.value("Request") == str(note.annotation)), None)
        annotation = factory.getQueryService().find("MapAnnotation", known) if known else MapAnnotationI()
        annotation.ns = rstring(ANSWER_NS)
        annotation.setMapValue([NamedValue(*pair) for pair in pairs])
        factory.getUpdateService().saveObject(annotation if known else make_link(note.target, annotation))

    session.write(f"{note.target}: answering request {note.annotation}", write, group=group)
