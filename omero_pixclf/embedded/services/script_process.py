"""ScriptProcess: a running script, and the thread that waits for its end."""
# ruff: noqa: D102 - the operations are OMERO's and documented there

from __future__ import annotations

import logging
import threading
import time
from typing import Any

import Ice
import omero
import omero.grid
import omero.model
from omero.rtypes import rint, robject

from omero_pixclf.embedded.server.exceptions import api_usage_error
from omero_pixclf.embedded.server.jobs import find_job_output, update_job
from omero_pixclf.embedded.server.request_context import RequestContext
from omero_pixclf.embedded.server.servant import OmeroService, without_transaction, writes_database

__all__ = ["ScriptProcess"]

_log = logging.getLogger(__name__)
_POLL_S = 0.2
_LONGEST_WAIT_S = 5


class ScriptProcess(OmeroService):
    """omero.grid.ScriptProcess; its calls run concurrently, so that a waiting call can be cancelled."""

    interface = omero.grid.ScriptProcess

    def __init__(self, server: Any, session: Any, job: Any, running: Any, process: Any) -> None:
        """``running`` is the script's own session, ``process`` the processor's proxy of the process."""
        super().__init__(server, session)
        self._job = job
        self._running = running
        self._process = process
        self._polling = threading.Lock()
        self._ended = threading.Event()
        self._code: int | None = None
        self._collected = False
        self._detached = False
        self._stopped = threading.Event()
        self._callbacks: dict[str, Any] = {}
        threading.Thread(target=self._watch, name=f"omero-job-{job.id.val}", daemon=True).start()

    # ---- the watch -------------------------------------------------------------------------------------------
    def _watch(self) -> None:
        while not self._ended.is_set() and not self._stopped.wait(_POLL_S):
            if self._running.closed or self._running.is_expired(time.monotonic()):
                self._kill_expired()
                return
            try:
                self._poll()
            except omero.ServerError as error:
                _log.warning("job %s cannot be polled: %s", self._job.id.val, error.message)

    def _poll(self) -> int | None:
        """Return the process's exit code after its end, when its output is stored; one poll at a time."""
        with self._polling:
            if self._code is not None:
                return self._code
            try:
                found = self._process.poll()
            except (Ice.LocalException, Ice.ObjectNotExistException) as error:
                _log.warning("job %s: the processor is gone: %s", self._job.id.val, error)
                self._fail("the processor is gone")
                found = rint(-1)
            if found is None:
                return None
            self._code = int(found.val)
        self._ended.set()
        self._notify("processFinished", self._code)
        if self._detached:
            self.server.sessions.close(self._running)
        return self._code

    def _kill_expired(self) -> None:
        """Kill the process, because the script's session has reached its time limit."""
        self._send("kill")
        self.server.sessions.close(self._running)
        self._fail("the script has reached its time limit")
        with self._polling:
            self._code = -1 if self._code is None else self._code
        self._ended.set()
        self._notify("processKilled", True)

    def _fail(self, message: str) -> None:
        with self.server.database.writing() as tx:
            update_job(tx, self._job.id.val, "Error", message)

    def _notify(self, event: str, value: Any) -> None:
        for callback in list(self._callbacks.values()):
            try:
                getattr(callback, event)(value)
            except Ice.Exception as error:
                _log.info("a client was not told about job %s: %s", self._job.id.val, error)

    def _send(self, operation: str) -> Any:
        """Call an operation of the process; None if the process is gone."""
        try:
            return getattr(self._process, operation)()
        except (Ice.LocalException, Ice.ObjectNotExistException) as error:
            _log.info("job %s: %s came too late: %s", self._job.id.val, operation, error)
            return None

    # ---- operations ------------------------------------------------------------------------------------------
    @without_transaction
    def getJob(self, context: Any) -> Any:
        return self._job

    @without_transaction
    def poll(self, context: Any) -> Any:
        code = self._poll()
        return None if code is None else rint(code)

    @without_transaction
    def wait(self, context: Any) -> int:
        self._ended.wait()
        return self._code if self._code is not None else -1

    @without_transaction
    def cancel(self, context: Any) -> bool:
        return True if self._ended.is_set() else bool(self._send("cancel"))

    @without_transaction
    def kill(self, context: Any) -> bool:
        return True if self._ended.is_set() else bool(self._send("kill"))

    @without_transaction
    def shutdown(self, context: Any) -> None:
        if not self._ended.is_set():
            self._send("shutdown")

    def registerCallback(self, call: RequestContext, callback: Any) -> None:
        """Notify the client when the script ends, over its own connection."""
        identity = callback.ice_getIdentity()
        proxy = omero.grid.ProcessCallbackPrx.uncheckedCast(call.current.con.createProxy(identity))
        self._callbacks[f"{identity.category}/{identity.name}"] = proxy.ice_oneway()
        if self._ended.is_set():
            self._notify("processFinished", self._code)

    def unregisterCallback(self, call: RequestContext, callback: Any) -> None:
        identity = callback.ice_getIdentity()
        self._callbacks.pop(f"{identity.category}/{identity.name}", None)

    @without_transaction
    def getResults(self, context: Any, seconds: int) -> dict[str, Any]:
        if not 0 <= seconds <= _LONGEST_WAIT_S:
            raise api_usage_error(f"Refusing to wait more than 5 seconds: {seconds}")
        if self._collected:
            raise api_usage_error("No current process.")
        self._ended.wait(seconds)
        if self._poll() is None:
            raise api_usage_error("Process still running.")
        self._collected = True
        found = dict(self._running.outputs)
        with self.server.database.reading() as tx:
            for name in ("stdout", "stderr"):
                file = find_job_output(tx, self._job.id.val, name)
                if file is not None:
                    found[name] = robject(omero.model.OriginalFileI(file, False))
        return found

    @writes_database
    def setMessage(self, call: RequestContext, message: str) -> str:
        return update_job(call.tx, self._job.id.val, None, message)[1]

    # ---- the end ---------------------------------------------------------------------------------------------
    @without_transaction
    def close(self, context: Any, detach: bool = False) -> None:
        """Close; the process is ended unless it is detached."""
        self._detached = detach
        self.server.close_service(self)

    def release(self) -> None:
        if self._detached and not self._ended.is_set():
            return
        self._stopped.set()
        if self._ended.is_set():
            self.server.sessions.close(self._running)
            return
        with self.server.database.writing() as tx:
            update_job(tx, self._job.id.val, "Cancelled")
        threading.Thread(target=self._end, name=f"omero-job-{self._job.id.val}-end", daemon=True).start()

    def _end(self) -> None:
        """Shut the process down, which stores its output first, and close its session."""
        self._send("shutdown")
        self.server.sessions.close(self._running)
