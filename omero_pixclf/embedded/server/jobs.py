"""Rows of jobs: their status, the scripts they run, and their input and output files."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from omero_pixclf.embedded.database.sqlite import Transaction, now_ms
from omero_pixclf.embedded.server.exceptions import validation_error
from omero_pixclf.embedded.server.request_context import RequestContext
from omero_pixclf.embedded.storage.repositories import SCRIPTS, repository_uuid

__all__ = ["SCRIPT_MIMETYPES", "Script", "find_job_output", "find_script", "insert_job", "update_job"]

SCRIPT_MIMETYPES = ("text/x-python", "text/x-jython", "text/x-matlab")
_FINAL = ("Finished", "Error", "Cancelled")
_LONGEST_MESSAGE = 255


@dataclass(frozen=True)
class Script:
    """A script on the server; official scripts are in the script repository and are run by the server itself."""

    ident: int
    path: str
    sha1: str
    owner: int
    group: int
    official: bool


def find_script(call: RequestContext, ident: int) -> Script | None:
    """Return the script with this id; None if the caller cannot see it or the file is not a script."""
    row = call.tx.one(
        "SELECT path || name, coalesce(hash, ''), owner_id, group_id, repo, mimetype FROM originalfile WHERE id = ?",
        (ident,),
    )
    if row is None or row[5] not in SCRIPT_MIMETYPES or not call.caller.may_read(row[2], row[3]):
        return None
    path, sha1, owner, group, repository, _ = row
    official = repository is not None and repository == _scripts_uuid(call.tx)
    return Script(ident, path, sha1, owner, group, official)


def _scripts_uuid(tx: Transaction) -> str | None:
    known = tx.one("SELECT 1 FROM originalfile WHERE mimetype = 'Repository' AND name = ?", (SCRIPTS,))
    return repository_uuid(tx, SCRIPTS) if known else None


def insert_job(call: RequestContext, kind: str, files: list[int], status: str = "Waiting", message: str = "") -> int:
    """Insert a job of the caller with its files (the script); return its id."""
    tx, now = call.tx, now_ms()
    group = call.caller.group_id if call.caller.group_id is not None else call.session.group_id
    name = tx.one("SELECT name FROM experimentergroup WHERE id = ?", (group,))[0]
    ownership = {
        "owner_id": call.caller.user_id,
        "group_id": group,
        "creation_id": call.event_id,
        "update_id": call.event_id,
    }
    job = tx.new_id("job")
    state = {
        "kind": kind,
        "username": call.caller.user_name,
        "groupname": name,
        "type": call.session.event_type,
        "message": message,
        "status": _status(tx, status),
        "submitted": now,
        "scheduledFor": now,
    }
    _insert(tx, "job", {"id": job, **ownership, **state})
    for file in files:
        link = {"id": tx.new_id("joboriginalfilelink"), **ownership, "parent": job, "child": file}
        _insert(tx, "joboriginalfilelink", link)
    return job


def _insert(tx: Transaction, table: str, values: dict[str, Any]) -> None:
    columns, marks = ", ".join(f'"{c}"' for c in values), ", ".join("?" * len(values))
    tx.execute(f"INSERT INTO {table} ({columns}) VALUES ({marks})", list(values.values()))


def _status(tx: Transaction, value: str) -> int:
    row = tx.one("SELECT id FROM jobstatus WHERE value = ?", (value,))
    if row is None:
        raise validation_error(f"Currently unsupported: {value}")
    return int(row[0])


def update_job(tx: Transaction, job: int, status: str | None, message: str | None = None) -> tuple[str, str]:
    """Set a job's status and message if they are given; return the previous ones."""
    before = tx.one(
        "SELECT s.value, coalesce(j.message, '') FROM job j JOIN jobstatus s ON s.id = j.status WHERE j.id = ?", (job,)
    )
    if status is not None:
        if status not in (*_FINAL, "Running"):
            raise validation_error(f"Currently unsupported: {status}")
        moment = "started" if status == "Running" else "finished"
        tx.execute(f"UPDATE job SET status = ?, {moment} = ? WHERE id = ?", (_status(tx, status), now_ms(), job))
    if message is not None:
        tx.execute("UPDATE job SET message = ? WHERE id = ?", (message[:_LONGEST_MESSAGE], job))
    return before[0], before[1]


def find_job_output(tx: Transaction, job: int, name: str) -> int | None:
    """Return the id of the file that stores a job's stdout or stderr."""
    row = tx.one(
        "SELECT f.id FROM originalfile f JOIN joboriginalfilelink l ON l.child = f.id "
        "WHERE l.parent = ? AND f.name = ? ORDER BY f.id DESC",
        (job, name),
    )
    return row[0] if row else None
