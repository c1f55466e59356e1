"""The ledger: one key-value annotation per run and image, readable by people, with which results are found again.

An entry is written as ``running`` before all other results and as ``complete`` after them. Its mark, which contains
the entry's id, is in the description of every ROI, file and table that the run writes; images that the run creates are
linked to the entry. Thus everything that a run wrote is known exactly at any time and found by one query.
"""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

import omero.clients  # noqa: F401 - must be imported before other modules of omero
from omero.model import MapAnnotationI, NamedValue
from omero.rtypes import rstring

from omero_pixclf.connector.hierarchy import parse_key
from omero_pixclf.connector.paging import split_into_pages
from omero_pixclf.connector.results.annotations import find_group, make_link
from omero_pixclf.connector.results.delete import delete_objects
from omero_pixclf.connector.results.result_images import RUN_NS
from omero_pixclf.connector.sessions.exceptions import make_missing_error
from omero_pixclf.connector.sessions.session import Session
from omero_pixclf.image import parse_id
from omero_pixclf.provenance import RunRecord, is_alive, is_run_id

__all__ = [
    "RUN_NS",
    "TABLES_NS",
    "WORKER_KEY",
    "LedgerEntry",
    "Pairs",
    "ResultMark",
    "close_entry",
    "find_entries",
    "find_entries_on",
    "find_entries_on_images",
    "find_unfinished_entries",
    "format_mark",
    "format_record",
    "format_table_name",
    "is_in_progress",
    "is_table_of",
    "is_written_elsewhere",
    "list_run_records",
    "list_table_records",
    "open_entry",
    "parse_mark",
    "parse_record",
]

TABLES_NS = "omero_pixclf/run/tables"
"""Namespace of the entries of containers, for the tables and pictures of a run."""

WORKER_KEY = "In work by"
"""Key of a ``running`` entry that names the process which writes it."""

_OBJECTS = "Objects: "
_PARAMETER = "Param_"
_PLANNED = "Images of the run"
_LONGEST_RECIPE = 120  # of the 255 characters that a file's name may have
_STAMP = "%Y-%m-%dT%H:%M:%SZ"
Pairs = list[tuple[str, str]]


@dataclass(frozen=True)
class LedgerEntry:
    """A stored entry: the annotation's id, namespace and group, the record, and the process that writes it."""

    annotation: int
    namespace: str
    group: int
    record: RunRecord
    worker: str = ""

    @property
    def mark(self) -> str:
        """The text in the description of everything that this run wrote on this object."""
        return format_mark(self.namespace, self.record.run_id, self.annotation)


def format_mark(namespace: str, run_id: str, annotation: int) -> str:
    """Return the mark of an entry.

    Examples
    --------
    >>> format_mark("omero_pixclf/run", "20261121T053012-ab12cd", 4711)
    'omero_pixclf/run 20261121T053012-ab12cd #4711'
    """
    return f"{namespace} {run_id} #{annotation}"


def format_table_name(entry: LedgerEntry, table: str, version: str = "") -> str:
    """Return the file name of an entry's table: it starts with the recipe and is unique by run and entry.

    A ``version`` distinguishes a table from the one that it replaces under the same entry.
    """
    recipe = re.sub(r"[\x00-\x1f/\\]", "_", entry.record.recipe)[:_LONGEST_RECIPE]
    return f"{recipe}_{table}_{entry.record.run_id}_{entry.annotation}{version and '.'}{version}.h5"


def is_table_of(entry: LedgerEntry, name: str) -> bool:
    """Whether a file of that name is a table of the entry, also in the form of version 0.1."""
    ours = f"{entry.record.run_id}_{entry.annotation}"
    former = f"omero_pixclf_{ours}_"
    return name.startswith(former) or re.search(rf"_{re.escape(ours)}(\.\d+)?\.h5$", name) is not None


_MARK = re.compile(rf"(?P<namespace>{RUN_NS}|{TABLES_NS}) (?P<run>\S+) #(?P<annotation>\d+)")


@dataclass(frozen=True)
class ResultMark:
    """The parts of a mark: namespace and annotation id of the entry, and its run."""

    namespace: str
    run_id: str
    annotation: int


def parse_mark(text: str | None) -> ResultMark | None:
    """Parse the text of `format_mark`; return None for any other text.

    Examples
    --------
    >>> parse_mark("omero_pixclf/run 20261121T053012-ab12cd #4711")
    ResultMark(namespace='omero_pixclf/run', run_id='20261121T053012-ab12cd', annotation=4711)
    """
    found = _MARK.fullmatch(text or "")
    if found is None or not is_run_id(found["run"]):
        return None
    return ResultMark(found["namespace"], found["run"], int(found["annotation"]))


def format_record(record: RunRecord) -> Pairs:
    """Return a record as readable key-value pairs, followed by the same facts under BIOMERO's keys."""
    pairs = [
        ("Run ID", record.run_id),
        ("State", record.state),
        ("Image" if record.image.startswith("Image:") else "Container", record.image),
        ("Recipe", record.recipe),
        ("Recipe hash", record.recipe_hash),
        ("Pixels", record.fingerprint),
        ("Project file", record.project),
        ("Project SHA-256", record.project_sha256),
        ("Version", record.version),
        ("Started", _format_time(record.started)),
    ]
    if record.planned:
        pairs.append((_PLANNED, str(record.planned)))
    if record.finished is not None:
        pairs.append(("Finished", _format_time(record.finished)))
    pairs += [(f"{_OBJECTS}{name}", str(count)) for name, count in record.objects.items()]
    if record.uncertainty is not None:
        pairs.append(("Uncertainty", f"{record.uncertainty:.6g}"))
    pairs += [("Workflow_ID", record.run_id), ("Name", record.recipe), ("Created_On", _format_time(record.started))]
    return pairs + [(f"{_PARAMETER}{key}", value) for key, value in record.settings.items()]


def parse_record(pairs: Iterable[tuple[str, str]]) -> RunRecord:
    """Return the record of the pairs of `format_record`.

    Raises
    ------
    KeyError, ValueError
        The pairs are not those of a ledger entry.
    """
    listed = list(pairs)
    said = dict(listed)
    if not is_run_id(said["Run ID"]):
        raise ValueError(f"not a run id: {said['Run ID']!r}")
    return RunRecord(
        run_id=said["Run ID"],
        image=said.get("Image") or said["Container"],
        recipe=said["Recipe"],
        recipe_hash=said["Recipe hash"],
        fingerprint=said["Pixels"],
        project=said["Project file"],
        project_sha256=said["Project SHA-256"],
        version=said["Version"],
        started=_parse_time(said["Started"]),
        finished=_parse_time(said["Finished"]) if "Finished" in said else None,
        state="complete" if said["State"] == "complete" else "running",
        objects={k.removeprefix(_OBJECTS): int(v) for k, v in listed if k.startswith(_OBJECTS)},
        uncertainty=float(said["Uncertainty"]) if "Uncertainty" in said else None,
        planned=parse_id(said.get(_PLANNED, "0")) or 0,
        settings={k.removeprefix(_PARAMETER): v for k, v in listed if k.startswith(_PARAMETER)},
    )


def _format_time(moment: datetime) -> str:
    return moment.astimezone(timezone.utc).strftime(_STAMP)


def _parse_time(text: str) -> datetime:
    return datetime.strptime(text, _STAMP).replace(tzinfo=timezone.utc)


def _worker_name(session: Session) -> str:
    """Return host, process id and OMERO session id, by which others can check whether this process is running."""
    return f"{socket.gethostname()} process {os.getpid()} session {session.session_id}"


def is_in_progress(session: Session, entry: LedgerEntry, run_id: str) -> bool:
    """Whether a process of another run is currently writing this entry's results.

    False for entries of ``run_id`` itself, which a resumed run takes over. A process on this host must be alive; for
    one on another host, its OMERO session must be open.
    """
    return entry.record.run_id != run_id and is_written_elsewhere(session, entry)


def is_written_elsewhere(session: Session, entry: LedgerEntry) -> bool:
    """Whether another process opened a ``running`` entry and is still running."""
    found = re.fullmatch(r"(?P<host>.*) process (?P<pid>[0-9]{1,18}) session (?P<session>[0-9]{1,18})", entry.worker)
    if entry.record.state == "complete" or found is None:
        return False
    if found["host"] == socket.gethostname():
        return int(found["pid"]) != os.getpid() and is_alive(int(found["pid"]))
    opened = session.read("sessions", lambda sf: sf.getSessionService().getMyOpenSessions())
    return int(found["session"]) in {int(s.id.val) for s in opened}


def open_entry(session: Session, namespace: str, record: RunRecord) -> LedgerEntry:
    """Write the ``running`` entry of a record on its object, in the object's group; return the entry."""
    group, worker = find_group(session, record.image), _worker_name(session)

    def clean() -> None:
        standing = find_entries_on(session, namespace, record.image)
        stray = [e.annotation for e in standing if e.worker == worker and e.record.run_id == record.run_id]
        delete_objects(session, "MapAnnotation", stray, group=group)

    annotation = MapAnnotationI()
    annotation.ns, annotation.description = rstring(namespace), rstring(f"omero_pixclf: recipe {record.recipe}")
    annotation.setMapValue(_to_named_values([*format_record(record), (WORKER_KEY, worker)]))
    made = make_link(record.image, annotation)
    saved = session.write(
        f"{record.image}: creating the ledger entry",
        lambda sf: sf.getUpdateService().saveAndReturnObject(made),
        group=group,
        clean=clean,
    )
    return LedgerEntry(int(saved.child.id.val), namespace, group, record, worker)


def close_entry(
    session: Session, entry: LedgerEntry, record: RunRecord, more: Iterable[tuple[str, str]] = ()
) -> LedgerEntry:
    """Replace the pairs of an entry by its final record and ``more`` key-value pairs.

    Raises
    ------
    MissingError
        The entry no longer exists: another run has removed it.
    """

    def update(factory: Any) -> None:
        stored = factory.getQueryService().find("MapAnnotation", entry.annotation)
        if stored is None:
            raise make_missing_error("MapAnnotation", entry.annotation)
        stored.setMapValue(_to_named_values([*format_record(record), *more]))
        factory.getUpdateService().saveObject(stored)

    session.write(f"{record.image}: completing the ledger entry", update, group=entry.group)
    return LedgerEntry(entry.annotation, entry.namespace, entry.group, record)


def _to_named_values(pairs: Pairs) -> list[Any]:
    return [NamedValue(key, value) for key, value in pairs]


def find_entries_on(session: Session, namespace: str, key: str) -> list[LedgerEntry]:
    """Return this user's entries on an object, newest first, without those of another object that are linked to it."""
    kind, ident = parse_key(key)
    linked = f"a.id in (select l.child.id from {kind}AnnotationLink l where l.parent.id = :id)"
    found = _read_entries(session, f"a.ns = :ns and a.details.owner.id = :owner and {linked}",
                  id=ident, ns=namespace, owner=session.user_id)  # fmt: skip
    return [e for e in found if e.record.image == key]


def find_entries_on_images(session: Session, images: Sequence[int]) -> dict[str, list[LedgerEntry]]:
    """Return `find_entries_on` of many images, by image key; images without entries are left out."""
    linked = "a.id in (select l.child.id from ImageAnnotationLink l where l.parent.id in (:ids))"
    found: dict[str, list[LedgerEntry]] = {}
    for page in split_into_pages(images, 200):
        entries = _read_entries(session, f"a.ns = :ns and a.details.owner.id = :owner and {linked}",
                        ids=page, ns=RUN_NS, owner=session.user_id)  # fmt: skip
        for entry in entries:
            if entry not in found.setdefault(entry.record.image, []):
                found[entry.record.image].append(entry)
    return found


def find_unfinished_entries(session: Session, images: Sequence[int]) -> list[LedgerEntry]:
    """Return this user's entries on images that are not complete, from any process."""
    found: list[LedgerEntry] = []
    for page in split_into_pages(images):
        ids = session.query_ids(
            "select a.id from MapAnnotation a join a.mapValue v where a.ns = :ns and a.details.owner.id = :owner "
            "and v.name = 'State' and v.value = 'running' "
            "and a.id in (select l.child.id from ImageAnnotationLink l where l.parent.id in (:ids))",
            ids=page,
            ns=RUN_NS,
            owner=session.user_id,
        )
        found += _read_entries_by_id(session, ids)
    return [e for e in found if e.record.state != "complete"]


def find_entries(session: Session, run_id: str | None = None) -> list[LedgerEntry]:
    """Return this user's entries on all objects, of one run or of all, newest first."""
    named: dict[str, Any] = {"namespaces": [RUN_NS, TABLES_NS], "owner": session.user_id}
    where = "a.ns in (:namespaces) and a.details.owner.id = :owner"
    if run_id is None:
        return _read_entries_by_id(
            session, session.query_ids(f"select a.id from MapAnnotation a where {where}", **named)
        )
    hql = f"select a.id from MapAnnotation a join a.mapValue v where {where} and v.name = 'Run ID' and v.value = :run"
    return _read_entries_by_id(session, session.query_ids(hql, run=run_id, **named))


def _read_entries_by_id(session: Session, ids: Sequence[int]) -> list[LedgerEntry]:
    found = [e for page in split_into_pages(ids, 1000) for e in _read_entries(session, "a.id in (:ids)", ids=page)]
    return sorted(found, key=lambda e: -e.annotation)


def _read_entries(session: Session, where: str, **named: Any) -> list[LedgerEntry]:
    """Return entries by a condition on the annotation ``a``, newest first, in one request."""
    hql = "select a.id, a.ns, a.details.group.id, v.name, v.value from MapAnnotation a join a.mapValue v where "
    said: dict[tuple[int, str, int], Pairs] = {}
    for ident, ns, group, name, value in session.query_rows(hql + where, **named):
        said.setdefault((int(ident), ns, int(group)), []).append((name, value))
    entries = (_parse_entry(ident, ns, group, pairs) for (ident, ns, group), pairs in said.items())
    return sorted((e for e in entries if e is not None), key=lambda e: -e.annotation)


def _parse_entry(ident: int, namespace: str, group: int, pairs: Pairs) -> LedgerEntry | None:
    try:
        return LedgerEntry(ident, namespace, group, parse_record(pairs), dict(pairs).get(WORKER_KEY, ""))
    except (KeyError, ValueError):
        return None  # other key-value pairs under our namespace, which must not be changed


def list_table_records(session: Session) -> list[RunRecord]:
    """Return the records of this user's runs on containers, newest first."""
    return [e.record for e in find_entries(session) if e.namespace == TABLES_NS]


def list_run_records(session: Session, run_id: str | None = None) -> list[RunRecord]:
    """Return the records of this user's runs, or of one of them, on images, newest first."""
    return [e.record for e in find_entries(session, run_id) if e.namespace == RUN_NS]
