"""What a watcher asks of OMERO: containers by name or opted in, requests, and how far each image is."""

from __future__ import annotations

import fnmatch
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import omero.clients  # noqa: F401 - first: the other modules of omero are complete only after it
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
    "REQUEST_NS",
    "WATCH_NS",
    "KeyValueAnnotation",
    "QueuedRequest",
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
"""Answers that stand beside a request which the watcher's user may not edit."""

CONTAINERS = ("Project", "Dataset", "Screen", "Plate")
TARGETS = (*CONTAINERS, "Image", "Well")
RequestState = Literal["queued", "running", "done", "failed"]
_OPEN = ("queued", "running")
_WHERE = "the watcher answers here or, where it may not edit this, in key-values of its own beside these"
_ABOUT = ("Requested by", "State", "Message", "Served by")
"""Keys of a request that say nothing of what is to be done."""


@dataclass(frozen=True)
class KeyValueAnnotation:
    """Key-value pairs on an object: the annotation's id, where it hangs, its owner's name, what it says."""

    annotation: int
    target: str
    owner: str
    pairs: tuple[tuple[str, str], ...]

    def said(self, key: str) -> str:
        """A key's value, or ""."""
        return dict(self.pairs).get(key, "")


@dataclass(frozen=True)
class QueuedRequest:
    """A request that waits: its annotation's id, and whether it was made now or stood already."""

    annotation: int
    new: bool


def find_containers_by_name(session: Session, kind: str, pattern: str) -> list[str]:
    """The visible containers of a kind whose names fit a shell pattern, such as ``"*_DAPI"``; case counts."""
    hql = f"select x.id, x.name from {kind} x where x.name like :name order by x.id"
    found = session.query_rows(hql, name=glob_pattern(pattern))
    return [f"{kind}:{ident}" for ident, name in found if fnmatch.fnmatchcase(name or "", pattern)]


def list_opt_ins(session: Session) -> list[KeyValueAnnotation]:
    """The containers that somebody opted in, in the order of their annotations."""
    return _find_annotations(session, WATCH_NS, CONTAINERS)


def list_open_requests(session: Session) -> list[KeyValueAnnotation]:
    """The requests that are not answered yet, oldest first."""
    asked = [n for n in _find_annotations(session, REQUEST_NS, TARGETS) if n.said("State") in ("", *_OPEN)]
    if not asked:
        return []
    answers = {
        parse_id(n.said("Request")): n.said("State") for n in _find_annotations(session, ANSWER_NS, TARGETS, own=True)
    }
    return [n for n in asked if answers.get(n.annotation, "queued") in _OPEN]


def _find_annotations(
    session: Session, namespace: str, kinds: Sequence[str], *, own: bool = False, on: int | None = None
) -> list[KeyValueAnnotation]:
    """Notes of a namespace on objects of some kinds; this user's own only, or on the object of one number only."""
    named: dict[str, Any] = {"ns": namespace}
    hql = "select a.id, l.parent.id from {}AnnotationLink l join l.child a where a.ns = :ns"
    if own:
        hql, named["owner"] = f"{hql} and a.details.owner.id = :owner", session.user_id
    if on is not None:
        hql, named["on"] = f"{hql} and l.parent.id = :on", on
    rows = [
        (int(i), kind, int(parent)) for kind in kinds for i, parent in session.query_rows(hql.format(kind), **named)
    ]
    links = [(ident, f"{kind}:{parent}") for ident, kind, parent in sorted(rows)]  # by number: 99 before 100
    owners: dict[int, str] = {}
    pairs: dict[int, Pairs] = {}
    for page in split_into_pages(sorted({ident for ident, _ in links})):
        hql = "select a.id, o.omeName from MapAnnotation a join a.details.owner o where a.id in (:ids)"
        owners.update({int(ident): name for ident, name in session.query_rows(hql, ids=page)})
        _read_pairs(session, page, pairs)
    return [KeyValueAnnotation(i, target, owners[i], tuple(pairs.get(i, ()))) for i, target in links if i in owners]


def _read_pairs(session: Session, annotations: Sequence[int], into: dict[int, Pairs]) -> None:
    """Key-values in their order, which a projection would not keep."""
    hql = "select distinct a from MapAnnotation a left outer join fetch a.mapValue where a.id in (:ids)"
    for found in session.query_objects(hql, ids=list(annotations)):
        into[int(found.id.val)] = [(v.name or "", v.value or "") for v in found.getMapValue() or ()]


def find_attached_project(session: Session, target: str, name: str = "") -> tuple[str, str]:
    """The address and file name of the ``.ilp`` attached to an object or near it, of that name or the only one.

    Raises
    ------
    MissingError, UsageError
        Where there is none, or there are several.
    """
    wanted = find_nearest_projects(
        session, target, lambda file: file == name if name else file.lower().endswith(".ilp")
    )
    if not wanted:
        raise MissingError(
            f"{target}: no {name or '.ilp'} is attached ({SEARCHED_PLACES}); attach it, or name another Project"
        )
    if len(wanted) > 1:
        choices = ", ".join(f"FileAnnotation:{number} ({file})" for number, file in wanted)
        raise UsageError(f"{target}: several projects are attached ({choices}); name one as Project")
    return f"FileAnnotation:{wanted[0][0]}", str(wanted[0][1])


def read_image_versions(session: Session, images: Sequence[str]) -> dict[str, str]:
    """A text per image that changes as long as its import goes on; images without pixels are left out.

    OMERO updates the pixels' row when planes, checksum or statistics are in; the number of that update counts, not
    its time.
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
    """Which images have, of all this user's runs of a recipe of that name, just the one that is wanted."""
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
                continue  # somebody's own pairs under our namespace
            entries.setdefault(record.image, []).append(record)
    return entries


def queue_request(session: Session, target: str, recipe: Recipe) -> QueuedRequest:
    """Ask the watcher to apply a recipe to an object; where this user asks for the very same already, that counts.

    Raises
    ------
    UsageError
        Where the recipe's project is not in OMERO: the watcher reads no files of another host.
    """
    if not recipe.classifier.project.startswith("FileAnnotation:"):
        raise UsageError(
            f"{recipe.classifier.project}: the watcher needs the project in OMERO: attach it and name it, as "
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
    """This user's request for the same, as long as nobody works on it: what arrives later is not in its images."""
    kind, ident = parse_key(target)
    asked = _find_annotations(session, REQUEST_NS, (kind,), own=True, on=ident)
    if not asked:
        return None
    begun = {n.said("Request") for n in _find_annotations(session, ANSWER_NS, (kind,), on=ident)}
    wanted = dict(format_recipe(recipe))
    for note in asked:
        said = {key: value for key, value in note.pairs if key not in _ABOUT}
        if said == wanted and note.said("State") in ("", "queued") and str(note.annotation) not in begun:
            return note.annotation
    return None


def answer_request(session: Session, note: KeyValueAnnotation, state: RequestState, message: str) -> None:
    """Write how a request stands into it, or beside it where this user may not edit it.

    Raises
    ------
    MissingError
        Where the request has been removed.
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
        known = next((n.annotation for n in mine if n.said("Request") == str(note.annotation)), None)
        annotation = factory.getQueryService().find("MapAnnotation", known) if known else MapAnnotationI()
        annotation.ns = rstring(ANSWER_NS)
        annotation.setMapValue([NamedValue(*pair) for pair in pairs])
        factory.getUpdateService().saveObject(annotation if known else make_link(note.target, annotation))

    session.write(f"{note.target}: answering request {note.annotation}", write, group=group)
