"""JobHandle: jobs and their state."""
# ruff: noqa: D102 - the operations are OMERO's and documented there

from __future__ import annotations

from typing import Any

import omero.api
from omero.rtypes import unwrap

from omero_pixclf.embedded.database.fetching import load_path, readable
from omero_pixclf.embedded.server.exceptions import misuse
from omero_pixclf.embedded.server.jobs import new_job, set_job_state
from omero_pixclf.embedded.server.request_context import Call
from omero_pixclf.embedded.server.servant import Service, changes

__all__ = ["JobHandle", "loaded_job"]


def loaded_job(call: Call, ident: int) -> Any:
    """A Job object with its status; ApiUsageException where the caller sees none."""
    if not readable(call, "Job", [ident]):
        raise misuse(f"Unknown job:{ident}")
    load_path(call, "Job", [ident], "status")
    found = call.graph.get("Job", ident)
    call.graph.finish()
    return found


class JobHandle(Service):
    """omero.api.JobHandle."""

    interface = omero.api.JobHandle
    stateful = True

    def __init__(self, server: Any, session: Any) -> None:
        super().__init__(server, session)
        self._job: int | None = None

    def attach(self, call: Call, ident: int) -> Any:
        found = loaded_job(call, ident)
        self._job = ident
        return found.status

    @changes
    def submit(self, call: Call, job: Any) -> int:
        if job is None:
            raise misuse("a job is wanted")
        files = [link.child.id.val for link in job.copyOriginalFileLinks()]
        for file in files:
            call.graph.get("OriginalFile", file)
        kind = type(job).__name__.removesuffix("I")
        self._job = new_job(call, kind, files, _first_status(call, job), unwrap(job.message) or "")
        return self._job

    def _attached(self) -> int:
        if self._job is None:
            raise misuse("JobHandle not ready: Please submit() or attach() to a Job.")
        return self._job

    def getJob(self, call: Call) -> Any:
        return loaded_job(call, self._attached())

    def jobStatus(self, call: Call) -> Any:
        return loaded_job(call, self._attached()).status

    def jobFinished(self, call: Call) -> Any:
        return loaded_job(call, self._attached()).finished

    def jobMessage(self, call: Call) -> str:
        return str(unwrap(loaded_job(call, self._attached()).message) or "")

    def jobRunning(self, call: Call) -> bool:
        return bool(loaded_job(call, self._attached()).status.value.val == "Running")

    def jobError(self, call: Call) -> bool:
        return bool(loaded_job(call, self._attached()).status.value.val == "Error")

    @changes
    def setStatus(self, call: Call, status: str) -> str:
        return self._set(call, status, None)[0]

    @changes
    def setMessage(self, call: Call, message: str) -> str:
        return self._set(call, None, message)[1]

    @changes
    def setStatusAndMessage(self, call: Call, status: str, message: str) -> str:
        return self._set(call, status, message)[0]

    @changes
    def cancelJob(self, call: Call) -> None:
        self._set(call, "Cancelled", None)

    def _set(self, call: Call, status: str | None, message: str | None) -> tuple[str, str]:
        loaded_job(call, self._attached())
        return set_job_state(call.tx, self._attached(), status, message)


def _first_status(call: Call, job: Any) -> str:
    """A new job's status: what it says where that is a beginning, else Submitted."""
    if job.status is None:
        return "Submitted"
    value = unwrap(job.status.value) if job.status.isLoaded() else None
    if value is None and job.status.id is not None:
        row = call.tx.one("SELECT value FROM jobstatus WHERE id = ?", (job.status.id.val,))
        if row is None:
            raise misuse("Unknown job status")
        value = row[0]
    if value is None:
        raise misuse("JobStatus must have id or value set.")
    if value not in ("Submitted", "Waiting"):
        raise misuse("Currently only SUBMITTED and WAITING are accepted as JobStatus")
    return str(value)
