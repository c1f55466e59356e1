"""A session on an OMERO server: open it, keep it alive, reconnect, close it."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any, TypeVar

import Glacier2
import Ice
import omero
import omero.clients  # first: the other modules of omero are complete only after it
from omero.rtypes import rlist, rlong, rstring, rtype, unwrap

from omero_pixclf.connector.sessions.exceptions import REMOTE_ERRORS, describe_error, translate_errors
from omero_pixclf.connector.sessions.login import Credentials, Login, describe_refused_login, find_credentials
from omero_pixclf.connector.sessions.services import Services
from omero_pixclf.connector.sessions.tls import tls_properties
from omero_pixclf.errors import LoginError, ServerError, UnreachableError

__all__ = [
    "ALL_GROUPS",
    "CONFLICT_WAITS_S",
    "KEEP_ALIVE_S",
    "MOST_BROKEN_CONNECTIONS",
    "RETRY_WAITS_S",
    "SUDO_IDLE_MS",
    "Session",
    "T",
    "connect",
    "log",
    "wrap_client",
]

log = logging.getLogger(__name__)
T = TypeVar("T")

ALL_GROUPS = -1
KEEP_ALIVE_S = 60
SUDO_IDLE_MS = 600_000
RETRY_WAITS_S = (1.0, 2.0, 4.0, 8.0, 15.0, 30.0, 60.0)
"""Seconds to wait before each retry after a transient fault: two minutes in all, the time of a server's restart."""
MOST_BROKEN_CONNECTIONS = 2
"""How often an action may break a connection that has just worked, before the action itself is considered faulty."""
_REFUSED_LOGIN = (
    Glacier2.PermissionDeniedException,
    omero.AuthenticationException,
    omero.RemovedSessionException,
    omero.SessionTimeoutException,
)
CONFLICT_WAITS_S = (0.05, 0.2, 0.8)
"""Seconds to wait before retrying a save that the server called invalid: another session may have saved the same."""


class Session:
    """A user's session on a server.

    Every call goes through `read`, `write` or `write_once`. They translate the server's exceptions; `read` and `write`
    also retry after a broken connection, a restarted server or an expired session. The group is given with each action
    and applies to all calls in it (`omero_pixclf.connector.sessions.services`). Several threads may use a session.

    Attributes
    ----------
    user_id, user_name, is_admin, session_id
        The user, whether an administrator, and the id (not secret) of the session.
    group_id
        Group of new containers and images.
    pause
        Function that waits for a number of seconds.
    generation
        Number of reconnections so far; services of an earlier connection no longer exist.
    """

    def __init__(
        self,
        open_client: Callable[[], Any],
        *,
        group: str = "",
        joined: bool = False,
        reconnect: bool = True,
        waits: Sequence[float] = RETRY_WAITS_S,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        self._open_client = open_client
        self._joined = joined
        self._waits = tuple(waits) if reconnect else ()
        self.pause = pause
        self._lock = threading.RLock()
        self._services: dict[tuple[int, int], Services] = {}
        self.generation = 0
        self.client = open_client()
        try:
            with translate_errors("login"):
                admin = self.client.getSession().getAdminService()
                who = admin.getEventContext()
                self.user_id, self.user_name = int(who.userId), str(who.userName)
                self.is_admin, self.session_id = bool(who.isAdmin), int(who.sessionId)
                self.group_id = _find_group_id(admin, who, group) if group else int(who.groupId)
        except BaseException:
            _close_client(self.client)
            raise

    @property
    def key(self) -> str:
        """The session's key, with which a worker process joins the session. A secret."""
        return str(self.client.getSessionId())

    @property
    def host(self) -> str:
        """The server's name or address."""
        return str(self.client.getProperty("omero.host"))

    def read(self, activity: str, action: Callable[[Any], T], *, group: int = ALL_GROUPS) -> T:
        """Run an action that changes nothing; it gets the `Services` of the group and may be repeated.

        Raises
        ------
        UnreachableError
            The server cannot be reached.
        ServerError
            This action breaks the connection again and again, although the server answers other calls.
        """
        return self._run_with_retries(activity, action, group, None)

    def write(
        self, activity: str, action: Callable[[Any], T], *, group: int, clean: Callable[[], object] | None = None
    ) -> T:
        """Run an action that changes objects of a group; after a transient fault, call ``clean`` and repeat it.

        ``clean`` removes what an attempt may have written whose answer was lost; None if repeating is harmless.
        Raises the same as `read`.
        """
        return self._run_with_retries(activity, action, group, clean)

    def write_once(self, activity: str, action: Callable[[Any], T], *, group: int) -> T:
        """Run an action that must not be repeated, because results of a lost attempt could not be recognised."""
        return self._run(activity, action, partial(self._find_services, group), None)

    def _run_with_retries(
        self, activity: str, action: Callable[[Any], T], group: int, clean: Callable[[], object] | None
    ) -> T:
        lost: UnreachableError | None = None
        seen, breaks = self.generation, 0
        for wait in (0.0, *self._waits):
            checked = False
            try:
                if lost is not None:
                    log.warning("%s; retrying in %g s", lost, wait)
                    self.pause(wait)
                    self._reconnect(seen)
                    checked = True
                    if clean is not None:
                        clean()
                seen = self.generation
                if breaks:  # not on the connection of the other threads: each could break the other's
                    return self._run_on_own_connection(activity, action, group, clean)
                return self._run(activity, action, partial(self._find_services, group), clean)
            except UnreachableError as error:
                lost = error
                self._services.clear()
                breaks += checked and isinstance(error.__cause__, Ice.LocalException)
                if breaks >= MOST_BROKEN_CONNECTIONS and self._is_server_answering(seen):
                    raise ServerError(
                        f"{lost}; failed {breaks + 1} times, although the server answers other calls: the request or "
                        "its answer may be too large for the server (Ice.MessageSizeMax); see the server's log"
                    ) from error
        assert lost is not None
        raise lost

    def _run_on_own_connection(
        self, activity: str, action: Callable[[Any], T], group: int, clean: Callable[[], object] | None
    ) -> T:
        """Run an action once, on a connection of its own."""
        client = self._open_client()
        try:
            services = Services(client.getSession(), _group_context(group))
            return self._run(activity, action, lambda: services, clean)
        finally:
            _close_client(client)

    def _run(
        self,
        activity: str,
        action: Callable[[Any], T],
        services: Callable[[], Services],
        clean: Callable[[], object] | None,
    ) -> T:
        """Run an action once; retry if two sessions created the same object at once, such as a new namespace."""
        with translate_errors(activity):
            for wait in CONFLICT_WAITS_S:
                try:
                    return action(services())
                except omero.ValidationException as error:  # nothing of that save was stored
                    log.debug("%s: %s; retrying in %g s", activity, describe_error(error), wait)
                self.pause(wait)
                if clean is not None:
                    clean()
            return action(services())

    def _find_services(self, group: int) -> Services:
        """Return the services bound to a group, on the current connection."""
        with self._lock:
            key = (self.generation, group)
            found = self._services.get(key)
            if found is None:
                found = self._services[key] = Services(self.client.getSession(), _group_context(group))
            return found

    def _is_server_answering(self, seen: int) -> bool:
        try:
            self._reconnect(seen)
        except UnreachableError:
            return False
        return True

    def _reconnect(self, seen: int) -> None:
        with self._lock:
            if self.generation != seen or self._is_alive():
                return
            broken, self.client = self.client, self._open_client()
            self.generation += 1
            _close_client(broken)
            log.info("reconnected as %s", self.user_name)

    def _is_alive(self) -> bool:
        try:
            self.client.getSession().getAdminService().getEventContext()
        except REMOTE_ERRORS:
            return False
        return True

    def context(self, group: int) -> dict[str, str]:
        """Return the context that selects a group, for calls on a proxy that is not bound to one.

        `ALL_GROUPS` selects all groups of the user. An explicit context replaces the implicit one, without which a
        server refuses calls on repositories; so this one also contains the session's uuid. Request it again in each
        attempt: a new connection may have a new session. The services that `read` and `write` pass need no context.
        """
        with translate_errors("call context"):
            return dict(self.client.getContext(str(group)))

    def query_rows(self, hql: str, *, group: int = ALL_GROUPS, **named: Any) -> list[list[Any]]:
        """Return the rows of a projection as plain Python values; integers are bound as longs, sequences as lists."""
        bound = _make_parameters(named)
        found = self.read("query", lambda sf: sf.getQueryService().projection(hql, bound), group=group)
        return [[unwrap(cell) for cell in row] for row in found]

    def query_ids(self, hql: str, *, group: int = ALL_GROUPS, **named: Any) -> list[int]:
        """Return the first column of a projection as ints."""
        return [int(row[0]) for row in self.query_rows(hql, group=group, **named)]

    def query_objects(self, hql: str, *, group: int = ALL_GROUPS, **named: Any) -> list[Any]:
        """Return the model objects that a query finds."""
        bound = _make_parameters(named)
        return list(self.read("query", lambda sf: sf.getQueryService().findAllByQuery(hql, bound), group=group))

    def close(self) -> None:
        """Close the session for all clients that joined it; if this session was itself joined, leave it open."""
        if not self._joined:
            with suppress(*REMOTE_ERRORS):
                _close_on_server(self.client)
        _close_client(self.client)


def _group_context(group: int) -> dict[str, str]:
    return {"omero.group": str(group)}


def _make_parameters(named: Mapping[str, Any]) -> Any:
    bound = omero.sys.ParametersI()
    bound.map = {name: _to_rtype(value) for name, value in named.items()}
    return bound


def _to_rtype(value: Any) -> Any:
    if isinstance(value, (str, bool)):
        return rtype(value)
    if isinstance(value, Sequence):
        return rlist([_to_rtype(v) for v in value])
    return rlong(int(value))


def _find_group_id(admin: Any, who: Any, name: str) -> int:
    try:
        ident = int(admin.lookupGroup(name).id.val)
    except omero.ApiUsageException as error:
        raise LoginError(f"group {name!r}: no such group; {_describe_own_groups(admin, who)}") from error
    if not who.isAdmin and ident not in who.memberOfGroups:
        raise LoginError(f"group {name!r}: {who.userName} is not a member; {_describe_own_groups(admin, who)}")
    return ident


def _describe_own_groups(admin: Any, who: Any) -> str:
    """Return a text that lists the user's groups, without the group of all users."""
    names = sorted(g.name.val for g in admin.containedGroups(who.userId) if g.name.val not in ("user", "guest"))
    return f"groups of {who.userName}: {', '.join(names) or 'none'}"


def _close_on_server(client: Any) -> None:
    """Close a session on the server, however many clients joined it; each call returns how many are left."""
    service = client.getSession().getSessionService()
    ended = omero.model.SessionI()
    ended.uuid = rstring(client.getSessionId())
    while service.closeSession(ended) > 0:
        log.debug("session closed for one of several clients")


def _close_client(client: Any) -> None:
    with suppress(*REMOTE_ERRORS):
        client.closeSession()


def _open_client(found: Credentials) -> Any:
    """Return an `omero.client` with an open session.

    Raises
    ------
    LoginError, UnreachableError
        The message contains the address, never the secret.
    """
    who = f"{found.user or 'session'}@{found.host}{f':{found.port}' if found.port else ''}"
    with translate_errors(f"login as {who}"):
        verification = tls_properties(found.ca_file, found.host, found.port)
        client = omero.client(host=found.host, port=found.port, pmap=verification)
        client.setAgent("omero_pixclf")
        try:
            if found.sudo:
                _log_in_for_user(client, found)
            else:
                _log_in(client, found, found.secret if found.joins_session else found.user)
            if found.joins_session:
                client.getSession().detachOnDestroy()
            client.enableKeepAlive(KEEP_ALIVE_S)
        except BaseException:
            _close_client(client)
            raise
        return client


def _log_in(client: Any, found: Credentials, name: str) -> Any:
    """Open or join a session; the server's own message of a refusal would contain a session's key."""
    try:
        return client.createSession(name, found.secret)
    except _REFUSED_LOGIN as error:
        raise LoginError(describe_refused_login(found)) from error


def _log_in_for_user(client: Any, found: Credentials) -> None:
    """Let an administrator open a session for another user, and join it."""
    service = _log_in(client, found, found.sudo).getSessionService()
    principal = omero.sys.Principal()
    principal.name, principal.group, principal.eventType = found.user, found.group or None, "User"
    try:
        made = service.createSessionWithTimeouts(principal, 0, SUDO_IDLE_MS)
    except (omero.ServerError, *_REFUSED_LOGIN) as error:
        group = f" in group {found.group!r}" if found.group else ""
        raise LoginError(
            f"{found.sudo} may not log in as {found.user}{group} ({describe_error(error)}): check both names"
            f"{' and the group' if group else ''}, and that {found.sudo} is an administrator"
        ) from error
    client.closeSession()
    client.joinSession(made.uuid.val)


@contextmanager
def connect(
    login: Login,
    *,
    environ: Mapping[str, str] | None = None,
    ask: Callable[[str], str] | None = None,
    waits: Sequence[float] = RETRY_WAITS_S,
    pause: Callable[[float], None] = time.sleep,
) -> Iterator[Session]:
    """Open a session and close it at the end; a joined one is left open on the server.

    Parameters
    ----------
    login
        User and server.
    environ
        Environment with ``OMERO_PASSWORD`` and the session store's folder; by default that of the process.
    ask
        Called with a prompt if a password is needed, such as `getpass.getpass`; None: never ask.
    waits, pause
        Seconds to wait before each retry after a transient fault, and the function that waits.

    Raises
    ------
    LoginError
        No password or session was found, or the server refused it.
    UnreachableError
        No server answers at that address.
    """
    found = find_credentials(login, os.environ if environ is None else environ, ask)
    session = Session(
        lambda: _open_client(found), group=found.group, joined=found.joins_session, waits=waits, pause=pause
    )
    try:
        yield session
    finally:
        session.close()


@contextmanager
def wrap_client(client: Any) -> Iterator[Session]:
    """Use an `omero.client` that is logged in and that the caller closes, as in an OMERO.script."""
    yield Session(lambda: client, reconnect=False)
