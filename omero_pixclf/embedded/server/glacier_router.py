"""The Glacier2 router that all OMERO clients log in through; it also notices closed connections."""

from __future__ import annotations

import logging
import threading
from typing import Any, Protocol

import Glacier2
import Ice
import omero
from omero import constants

from omero_pixclf.embedded.server.exceptions import BUSY
from omero_pixclf.embedded.server.protocols import RequestServer
from omero_pixclf.embedded.users.logins import (
    DEFAULT_AGENT,
    choose_group,
    find_user_id,
    is_correct_password,
    open_session,
)
from omero_pixclf.embedded.users.passwords import LoginThrottle
from omero_pixclf.embedded.users.sessions import ClientSession

__all__ = ["RouterServer", "make_router"]

_log = logging.getLogger(__name__)
_LONGEST_WAIT_S = 20.0  # maximum wait of a login for the database


class RouterServer(RequestServer, Protocol):
    """What the router needs of the server."""

    throttle: LoginThrottle

    def factory_proxy(self, session: ClientSession, category: str) -> Any:
        """Return the proxy of a session's service factory for one of its clients."""

    def remove_client(self, session: ClientSession, category: str) -> None:
        """Remove the services of a client that has left."""

    def router_proxy(self) -> Any:
        """Return the proxy of the router."""


class _RouterState:
    """State of the router servant: the session of each connection."""

    def __init__(self, server: RouterServer) -> None:
        self.server = server
        self._lock = threading.Lock()
        self._joined: dict[tuple[str, int], tuple[ClientSession, str]] = {}

    def log_in(self, user: str, password: str, current: Any) -> Any:
        """Return the proxy of the session's service factory, or None if the login is refused."""
        joined = self._joined_session(user, password)
        session = joined or self._new_session(user, password, current.ctx)
        if session is None:
            return None
        category = current.ctx.get(constants.CLIENTUUID) or session.uuid
        if joined is None:
            session.authenticated.add(category)
        self.server.sessions.join(session)
        connection_key = _connection_key(current.con)
        with self._lock:
            self._joined[connection_key] = (session, category)
        current.con.setCallback(_ConnectionCallback(self, connection_key))
        return self.server.factory_proxy(session, category)

    def _joined_session(self, user: str, password: str) -> ClientSession | None:
        """Return the open session whose uuid was given as name or password."""
        return self.server.sessions.find(password) or self.server.sessions.find(user)

    def _new_session(self, user: str, password: str, context: dict[str, str]) -> ClientSession | None:
        with self.server.database.reading() as tx:
            found = find_user_id(tx, user)
            if found is None or not is_correct_password(tx, found, password):
                return None
        with self.server.database.writing(_LONGEST_WAIT_S) as tx:
            group = choose_group(tx, found, context.get("omero.group", ""))
            agent = context.get(constants.AGENT) or DEFAULT_AGENT
            return open_session(self.server.sessions, tx, found, group, agent=agent, address=context.get(constants.IP))

    def log_out(self, connection_key: tuple[str, int]) -> bool:
        """Remove a connection whose client has logged out or died; return whether it had a session."""
        with self._lock:
            joined = self._joined.pop(connection_key, None)
        if joined is None:
            return False
        session, category = joined
        self.server.remove_client(session, category)
        self.server.sessions.leave(session, category)
        return True


def _connection_key(connection: Any) -> tuple[str, int]:
    """Return the key that identifies a live connection: remote address and port."""
    info = connection.getInfo()
    return info.remoteAddress, info.remotePort


def _login_exception(error: Any) -> Any:
    """Return a failed login as a Glacier2 exception; its reason says why the group cannot be entered."""
    if isinstance(error, Glacier2.CannotCreateSessionException):
        return error
    if isinstance(
        error, TimeoutError
    ):  # not marked as a concurrency error: omero-py would retry three times without a message
        return omero.WrappedCreateSessionException(f"the server is busy: {error}", False, 0, BUSY)
    text = str(getattr(error, "message", error))
    return omero.WrappedCreateSessionException(text, False, 0, getattr(error, "serverExceptionClass", ""))


class _ConnectionCallback(Ice.ConnectionCallback):  # type: ignore[misc]
    """Callback that Ice calls when a connection has ended."""

    def __init__(self, state: _RouterState, connection_key: tuple[str, int]) -> None:
        self._state = state
        self._connection_key = connection_key

    def closed(self, connection: Any) -> None:
        self._state.log_out(self._connection_key)

    def heartbeat(self, connection: Any) -> None:
        """Ignore Ice's heartbeat; only requests keep a session alive."""


def make_router(server: RouterServer) -> Any:
    """Return the servant of the router."""
    made = type("RouterServant", (Glacier2.Router,), dict(_OPERATIONS))()
    made.state, made.server = _RouterState(server), server
    return made


def _create_session(self: Any, callback: Any, user: str, password: str, current: Any) -> None:
    try:
        proxy = self.state.log_in(user, password, current)
    except (Ice.Exception, TimeoutError) as error:
        _log.info("login of %s refused: %s", user, error)
        callback.ice_exception(_login_exception(error))
        return
    if proxy is not None:
        self.server.throttle.record_success(user)
        callback.ice_response(proxy)
        return
    refused = Glacier2.PermissionDeniedException("Password check failed")
    timer = threading.Timer(self.server.throttle.record_failure(user), callback.ice_exception, (refused,))
    timer.daemon = True
    timer.start()


def _create_anonymously(self: Any, callback: Any, current: Any) -> None:
    callback.ice_exception(Glacier2.PermissionDeniedException("a name and a password are needed"))


def _destroy_session(self: Any, current: Any) -> None:
    if not self.state.log_out(_connection_key(current.con)):
        raise Glacier2.SessionNotExistException


_OPERATIONS = {
    "createSession_async": _create_session,
    "createSessionFromSecureConnection_async": _create_anonymously,
    "destroySession": _destroy_session,
    "refreshSession_async": lambda self, callback, current: callback.ice_response(),
    "getCategoryForClient": lambda self, current: current.ctx.get(constants.CLIENTUUID, ""),
    "getSessionTimeout": lambda self, current: 0,
    "getACMTimeout": lambda self, current: 0,
    "getClientProxy": lambda self, current: None,
    "getServerProxy": lambda self, current: self.server.router_proxy(),
    "addProxies": lambda self, proxies, current: [],
}
