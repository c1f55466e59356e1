"""JobHandle: jobs and their status."""
# ruff: noqa: D102 - the operations are OMERO's and documented there

from __future__ import annotations

from typing import Any

import omero.api
from omero.rtypes import unwrap

from omero_pixclf.embedded.database.fetching import load_path, readable_ids
from omero_pixclf.embedded.server.exceptions import api_usage_error
from omero_pixclf.embedded.server.jobs import insert_job, update_job
from omero_pixclf.embedded.server.request_context import RequestContext
from omero_pixclf.embedded.server.servant import OmeroService, writes_database

__all__ = ["JobHandle", "load_job"]


def load_job(call: RequestContext, ident: int) -> Any:
    """Return a Job object with its status; ApiUsageException if the caller cannot see it."""
    if not readable_ids(call, "Job", [ident]):
        raise api_usage_error(f"Unknown job:{ident}")
    load_path(call, "Job", [ident], "status")
    found = call.graph.get("Job", ident)
    call.graph.finish_loading()
    return found


class JobHandle(OmeroService):
    """omero.api.JobHandle."""

    interface = omero.api.JobHandle
    stateful = True

    def __init__(self, server: Any, session: Any) -> None:
        super().__init__(server, session)
        self._job: int | None = None

    def attach(self, call: RequestContext, ident: int) -> Any:
        found = load_job(call, ident)
        self._job = ident
        return found.status

    @writes_database
    def submit(self, call: RequestContext, job: Any) -> int:
        if job is None:
            raise api_usage_error("a job is wanted")
        files = [link.child.id.val for link in job.copyOriginalFileLinks()]
        for file in files:
            call.graph.get("OriginalFile", file)
        kind = type(job).__name__.removesuffix("I")
        self._job = insert_job(call, kind, files, _first_status(call, job), unwrap(job.message) or "")
        return self._job

    def _attached_job(self) -> int:
        if self._job is None:
            raise api_usage_error("JobHandle not ready: Please submit() or attach() to a Job.")
        return self._job

    def getJob(self, call: RequestContext) -> Any:
        return load_job(call, self._attached_job())

    def jobStatus(self, call: RequestContext) -> Any:
        return load_job(call, self._attached_job()).status

    def jobFinished(self, call: RequestContext) -> Any:
        return load_job(call, self._attached_job()).finished

    def jobMessage(self, call: RequestContext) -> str:
        return str(unwrap(load_job(call, self._attached_job()).message) or "")

    def jobRunning(self, call: RequestContext) -> bool:
        return bool(load_job(call, self._attached_job()).status.value.val == "Running")

    def jobError(self, call: RequestContext) -> bool:
        return bool(load_job(call, self._attached_job()).status.value.val == "Error")

    @writes_database
    def setStatus(self, call: RequestContext, status: str) -> str:
        return self._set(call, status, None)[0]

    @writes_database
    def setMessage(self, call: RequestContext, message: str) -> str:
        return self._set(call, None, message)[1]

    @writes_database
    def setStatusAndMessage(self, call: RequestContext, status: str, message: str) -> str:
        return self._set(call, status, message)[0]

    @writes_database
    def cancelJob(self, call: RequestContext) -> None:
        self._set(call, "Cancelled", None)

    def _set(self, call: RequestContext, status: str | None, message: str | None) -> tuple[str, str]:
        load_job(call, self._attached_job())
        return update_job(call.tx, self._attached_job(), status, message)


def _first_status(call: RequestContext, job: Any) -> str:
    """Return a new job's status: Submitted, or Waiting if the job says so."""
    if job.status is None:
        return "Submitted"
    value = unwrap(job.status.value) if job.status.isLoaded() else None
    if value is None and job.status.id is not None:
        row = call.tx.one("SELECT value FROM jobstatus WHERE id = ?", (job.status.id.val,))
        if row is None:
            raise api_usage_error("Unknown job status")
        value = row[0]
    if value is None:
        raise api_usage_error("JobStatus must have id or value set.")
    if value not in ("Submitted", "Waiting"):
        raise api_usage_error("Currently only SUBMITTED and WAITING are accepted as JobStatus")
    return str(value)
