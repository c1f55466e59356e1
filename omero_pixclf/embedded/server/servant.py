"""Base class of the services, and the Ice servants that call their methods.

A service is a class whose methods have the names of OMERO's operations. A method takes the `RequestContext` and the
operation's arguments. It runs in a read-only transaction, unless it is marked with `writes_database` or
`without_transaction` (it then opens its own transactions with `OmeroService.transaction`). Its return value is the
operation's result, a tuple for several results. OMERO's exceptions reach the client unchanged, all others as
InternalException.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import cache
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn, Protocol, TypeVar

import Ice
import omero
import omero.constants

from omero_pixclf.embedded.server.exceptions import api_usage_error, omero_error, unexpected_error
from omero_pixclf.embedded.server.message_size import is_too_large
from omero_pixclf.embedded.server.protocols import RequestServer
from omero_pixclf.embedded.server.request_context import RequestContext

if TYPE_CHECKING:
    from omero_pixclf.embedded.database.sqlite import Transaction
    from omero_pixclf.embedded.server.script_processors import ProcessorRegistry
    from omero_pixclf.embedded.users.sessions import ClientSession

__all__ = ["OmeroService", "ServiceHost", "guests_allowed", "make_servant", "without_transaction", "writes_database"]

_log = logging.getLogger(__name__)
_Method = TypeVar("_Method", bound=Callable[..., Any])


def writes_database(method: _Method) -> _Method:
    """Mark a method that writes to the database."""
    method.transaction = "write"  # type: ignore[attr-defined]
    return method


def without_transaction(method: _Method) -> _Method:
    """Mark a method that opens its own transactions or none; it gets the call context (a dict) only."""
    method.transaction = "none"  # type: ignore[attr-defined]
    return method


def guests_allowed(method: _Method) -> _Method:
    """Mark a method that guests and deactivated users may call; all others require the group ``user``."""
    method.guests_allowed = True  # type: ignore[attr-defined]
    return method


class ServiceHost(RequestServer, Protocol):
    """What a service needs of the server."""

    @property
    def processors(self) -> ProcessorRegistry:
        """The processors that run scripts."""

    @property
    def is_stopping(self) -> bool:
        """Whether the server has begun to stop."""

    def open_service(self, session: ClientSession, category: str, name: str) -> Any:
        """Return the proxy of a service by its name; a stateful service is created."""

    def add_object(self, session: ClientSession, category: str, service: OmeroService, name: str) -> Any:
        """Register a service object of a session and return its proxy."""

    def proxy_for(self, service: OmeroService) -> Any:
        """Return the proxy of an open service."""

    def close_service(self, service: OmeroService) -> None:
        """Release a service and remove it."""

    def run_in_background(self, service: OmeroService, work: Callable[[], object], name: str) -> None:
        """Run a service's work in a thread of its own."""

    def drop_session(self, session: ClientSession, connection: Any) -> NoReturn:
        """End a session and its connection without telling the client, for tests of clients."""


class OmeroService:
    """Base class of the services of a session; a stateful service runs one call at a time, until `close`."""

    interface: ClassVar[Any] = None  # e.g. omero.api.IQuery, whose operations are implemented
    stateful: ClassVar[bool] = False
    allows_guests: ClassVar[bool] = False  # for all methods; see `guests_allowed`
    session_uuid_operations: ClassVar[frozenset[str]] = (
        frozenset()
    )  # operations that need the session's uuid in their context

    def __init__(self, server: ServiceHost, session: ClientSession) -> None:
        self.server = server
        self.session = session
        self.name = ""  # name of the servant's identity
        self.category = ""
        self.lock = threading.RLock()

    @contextmanager
    def transaction(self, context: Any, *, write: bool = False) -> Iterator[RequestContext]:
        """Open a transaction of the session's user; ``context`` is the call context (its omero.group is used)."""
        with _open_transaction(self.server, write) as tx:
            yield RequestContext(self.server, self.session, tx, context or {})

    def require_password(self) -> None:
        """Raise SecurityViolation for a client that has joined the session by uuid without the password."""
        if self.category not in self.session.authenticated:
            raise omero_error(
                omero.SecurityViolation,
                "Bad authentication credentials for this action.\nSee setSecurityPassword for more information",
            )

    def check_session_uuid(self, context: Any) -> None:
        """Raise ApiUsageException for a call context without the session's uuid.

        On a real server repositories are not services of a session. Clients' default context contains the uuid; a
        context that is passed with a call replaces it and must contain the uuid, too.
        """
        uuid = (context or {}).get(omero.constants.SESSIONUUID)
        if uuid is None:
            raise api_usage_error("Uuid cannot be null.")
        if self.server.sessions.find(uuid) is None:
            raise omero_error(omero.RemovedSessionException, f"No context for {uuid}")

    def release(self) -> None:
        """Release resources; called once, when the client closes the service or the session ends."""

    def on_client_gone(self) -> None:
        """Called when the client that opened the service has gone; the session may continue."""

    def interrupt(self) -> None:
        """Called when the server stops: end long work soon."""

    # operations that all services have
    @without_transaction
    def getCurrentEventContext(self, context: Any) -> Any:
        """Raise InternalException, as OMERO's stateful services do."""
        raise omero_error(
            omero.InternalException,
            f"{type(self).__name__}.getCurrentEventContext should have a @Transactional annotation!",
        )

    @without_transaction
    def activate(self, context: Any) -> None:
        """Do nothing: services are always active."""

    @without_transaction
    def passivate(self, context: Any) -> None:
        """Do nothing: services are always active."""

    @without_transaction
    def close(self, context: Any) -> None:
        """Close a stateful service."""
        self.server.close_service(self)


def make_servant(service: OmeroService) -> Any:
    """Return the Ice servant of a service."""
    kind: Any = type(service)
    made = _servant_class(kind)()
    made.service = service
    return made


@cache
def _servant_class(kind: Any) -> Any:
    """Return a class with a method per operation of the service's interface, as Ice calls them."""
    body: dict[str, Any] = {}
    for ancestor in kind.interface.__mro__:
        for name in vars(ancestor):
            if name.startswith("_op_") and not name.startswith("_op_ice_"):
                operation = name[4:]
                deferred = hasattr(kind.interface, operation + "_async")
                body[operation + "_async" if deferred else operation] = _dispatch(kind, operation, deferred)
    return type(kind.__name__ + "Servant", (kind.interface,), body)


def _dispatch(kind: type[OmeroService], operation: str, deferred: bool) -> Callable[..., Any]:
    method = getattr(kind, operation, None)

    def immediate(servant: Any, *arguments: Any) -> Any:
        return _run(servant.service, method, operation, arguments[:-1], arguments[-1])

    def answered(servant: Any, callback: Any, *arguments: Any) -> None:
        try:
            result = _run(servant.service, method, operation, arguments[:-1], arguments[-1])
        except Ice.Exception as error:
            callback.ice_exception(error)
        else:
            callback.ice_response(*result) if isinstance(result, tuple) else _respond(callback, result)

    return answered if deferred else immediate


def _respond(callback: Any, result: Any) -> None:
    callback.ice_response(result)


def _run(service: OmeroService, method: Any, operation: str, arguments: tuple[Any, ...], current: Any) -> Any:
    """Call a service's method in its transaction; raises Ice exceptions only."""
    try:
        if method is None:
            raise omero_error(
                omero.InternalException, f"{type(service).__name__}.{operation} is not part of the embedded OMERO"
            )
        service.session.touch()
        if operation in service.session_uuid_operations:
            service.check_session_uuid(current.ctx)
        loss = service.server.faults.session_loss(service.session.agent, service.session.requests)
        if loss == "before":
            service.server.drop_session(service.session, current.con)
        result = _run_exclusively(service, method, arguments, current)
        if loss == "after":
            service.server.drop_session(service.session, current.con)
        if is_too_large(result):
            _log.warning("%s.%s answers more than a message may carry: its connection ends", service.name, operation)
            current.con.close(True)
        return result
    except Ice.Exception:
        raise
    except Exception as error:
        _log.exception("%s.%s failed", type(service).__name__, operation)
        raise unexpected_error(error) from error


def _run_exclusively(service: OmeroService, method: Any, arguments: tuple[Any, ...], current: Any) -> Any:
    """Call a method; a stateful service runs one call at a time."""
    if not service.stateful:
        return _run_in_transaction(service, method, arguments, current)
    with service.lock:
        return _run_in_transaction(service, method, arguments, current)


def _run_in_transaction(service: OmeroService, method: Any, arguments: tuple[Any, ...], current: Any) -> Any:
    mode = getattr(method, "transaction", "read")
    if mode == "none":
        return method(service, current.ctx, *arguments)
    with _open_transaction(service.server, mode == "write") as tx:
        call = RequestContext(service.server, service.session, tx, current.ctx, current)
        if not (service.allows_guests or getattr(method, "guests_allowed", False)):
            call.require_user()
        return method(service, call, *arguments)


def _open_transaction(server: RequestServer, write: bool) -> AbstractContextManager[Transaction]:
    """Open the transaction of a request that has just arrived; a writing request may have to wait."""
    if not write:
        return server.database.reading()
    asked_at = time.monotonic()
    server.faults.delay()
    return server.database.writing(asked_at=asked_at)
