"""The handle of a submitted omero.cmd request, which a thread executes."""

from __future__ import annotations

import logging
import threading
import time
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

import Ice
import omero
import omero.cmd

from omero_pixclf.embedded.commands.cancellation import cancellable, check_cancelled
from omero_pixclf.embedded.commands.perform import call_context, failure_name, is_writing, perform, step_count
from omero_pixclf.embedded.commands.request_errors import RequestError, make_error_response
from omero_pixclf.embedded.server.request_context import RequestContext
from omero_pixclf.embedded.server.servant import OmeroService, ServiceHost, without_transaction

if TYPE_CHECKING:
    from omero_pixclf.embedded.users.sessions import ClientSession

__all__ = ["RequestHandle", "submit"]

_log = logging.getLogger(__name__)
_CANCEL_WAIT_S = 5.0
_CANCELLED = ("cancel-called", "not-ready")
_FAILED = [omero.cmd.State.FAILURE, omero.cmd.State.CANCELLED]


class RequestHandle(OmeroService):
    """omero.cmd.Handle."""

    interface = omero.cmd.Handle

    def __init__(self, server: ServiceHost, session: ClientSession, request: Any, context: dict[str, str]) -> None:
        super().__init__(server, session)
        self._request = request
        self._context = call_context(request, context)
        self._response: Any = None
        self._callbacks: dict[str, Any] = {}
        self._status = omero.cmd.Status()
        self._status.flags, self._status.parameters = [], {}
        self._status.stepStartTimes, self._status.stepStopTimes = [], []
        self._status.currentStep, self._status.steps = 0, step_count(request)
        self._cancelled = threading.Event()
        self._finished = threading.Event()

    # ---- operations ------------------------------------------------------------------------------------------
    def addCallback(self, call: RequestContext, callback: Any) -> None:
        """Notify the client when the request is finished, over its own connection."""
        identity = callback.ice_getIdentity()
        proxy = omero.cmd.CmdCallbackPrx.uncheckedCast(call.current.con.createProxy(identity))
        with self.lock:
            self._callbacks[_key(identity)] = proxy.ice_oneway()

    def removeCallback(self, call: RequestContext, callback: Any) -> None:
        """Remove a callback."""
        with self.lock:
            self._callbacks.pop(_key(callback.ice_getIdentity()), None)

    @without_transaction
    def getRequest(self, context: Any) -> Any:
        """Return the request."""
        return self._request

    @without_transaction
    def getResponse(self, context: Any) -> Any:
        """Return the response, or None until there is one."""
        with self.lock:
            return self._response

    @without_transaction
    def getStatus(self, context: Any) -> Any:
        """Return the status: steps and times."""
        with self.lock:
            return self._status

    @without_transaction
    def cancel(self, context: Any) -> bool:
        """Cancel the request; False if it was finished, LockTimeout if it does not react."""
        if self._finished.is_set():
            return False
        self._cancelled.set()
        if not self._finished.wait(_CANCEL_WAIT_S):
            raise omero.LockTimeout("", "", "timed out while waiting on CANCELLED state", 5000, int(_CANCEL_WAIT_S))
        return isinstance(self._response, omero.cmd.ERR) and self._response.name in _CANCELLED

    def interrupt(self) -> None:
        """Cancel the request, because the server stops."""
        self._cancelled.set()

    # ---- the work --------------------------------------------------------------------------------------------
    def run(self) -> None:
        """Execute the request in one transaction; every failure becomes the response."""
        with self.lock:
            self._status.startTime = _now()
        response, flags = self._outcome()
        with self.lock:
            self._status.stopTime = _now()
            self._status.flags = flags
            if not flags:
                self._status.currentStep = max(0, self._status.steps - 1)
            self._response = response
            listeners = list(self._callbacks.values())
        self._finished.set()
        for listener in listeners:
            self._announce(listener)

    def _outcome(self) -> tuple[Any, list[Any]]:
        try:
            with cancellable(self._cancelled), self._transaction() as call:
                answer = perform(call, self._request)
                check_cancelled()  # last chance to cancel before the commit
                return answer, []
        except Exception as error:  # noqa: BLE001 the request's outermost catch: every failure is the client's answer
            _log.debug("%s failed", type(self._request).__name__, exc_info=True)
            return make_error_response(self._request, error, failure_name(self._request)), list(_FAILED)

    def _transaction(self) -> AbstractContextManager[RequestContext]:
        if self._cancelled.is_set():
            raise RequestError("cancel-called", "cancelled before it began")
        return self.transaction(self._context, write=is_writing(self._request))

    def _announce(self, listener: Any) -> None:
        try:
            listener.finished(self._response, self._status)
        except Ice.Exception as error:
            _log.info("a client was not told about %s: %s", type(self._request).__name__, error)


def _now() -> int:
    return int(time.time() * 1000)


def _key(identity: Any) -> str:
    return f"{identity.category}/{identity.name}"


def submit(server: ServiceHost, session: ClientSession, category: str, request: Any, context: dict[str, str]) -> Any:
    """Start a request and return the proxy of its handle; unknown requests are answered by an ERR."""
    handle = RequestHandle(server, session, request, context)
    proxy = server.add_object(session, category, handle, "omero.cmd.Handle")
    server.run_in_background(handle, handle.run, f"omero-{type(request).__name__}")
    return proxy
