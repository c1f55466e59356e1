"""A logged-in connection: opened, kept alive, opened again when it breaks, and closed."""

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

__all__ = ["ALL_GROUPS", "Session", "connect", "wrap_client"]

log = logging.getLogger(__name__)
T = TypeVar("T")

ALL_GROUPS = -1
KEEP_ALIVE_S = 60
SUDO_IDLE_MS = 600_000
RETRY_WAITS_S = (1.0, 2.0, 4.0, 8.0, 15.0, 30.0, 60.0)
"""How long to wait before each new attempt after a transient fault: two minutes in all, a server's restart."""
MOST_BROKEN_CONNECTIONS = 2
"""How often an action may break a connection that worked just before, until it is the action's own fault."""
_REFUSED_LOGIN = (
    Glacier2.PermissionDeniedException,
    omero.AuthenticationException,
    omero.RemovedSessionException,
    omero.SessionTimeoutException,
)
CONFLICT_WAITS_S = (0.05, 0.2, 0.8)
"""How long to wait before a save that the server found invalid is tried again: another session may have been first."""


class Session:
    """A user's session on a server.

    Every call goes through `read` or `write`: they translate what the server raises and go on after a broken
    connection, a restarted server or an expired session. The group is given with each action and belongs to all calls
    in it (`omero_pixclf.connector.sessions.services`). Calls may come from several threads.

    Attributes
    ----------
    user_id, user_name, is_admin, session_id
        Who this is, and the session's (not secret) number.
    group_id
        Where new containers and images go.
    pause
        How to wait for some seconds.
    generation
        Counts the connections; services opened in an earlier one are gone.
    """

    def __init__(
        self,
        dial: Callable[[], Any],
        *,
        group: str = "",
        joined: bool = False,
        again: bool = True,
        waits: Sequence[float] = RETRY_WAITS_S,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        self._dial = dial
        self._joined = joined
        self._waits = tuple(waits) if again else ()
        self.pause = pause
        self._lock = threading.RLock()
        self._services: dict[tuple[int, int], Services] = {}
        self.generation = 0
        self.client = dial()
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
        """The session's key, for a worker process to join with. A secret."""
        return str(self.client.getSessionId())

    @property
    def host(self) -> str:
        """The server's name or address."""
        return str(self.client.getProperty("omero.host"))

    def read(self, doing: str, action: Callable[[Any], T], *, group: int = ALL_GROUPS) -> T:
        """Do something that changes nothing; ``action`` gets the group's `Services` and may be repeated.

        Raises
        ------
        UnreachableError
            Where the server is gone.
        ServerError
            Where the connection breaks at this action again and again, although the server answers otherwise.
        """
        return self._attempt(doing, action, group, None)

    def write(
        self, doing: str, action: Callable[[Any], T], *, group: int, clean: Callable[[], object] | None = None
    ) -> T:
        """Do something that changes the server within a group; after a transient fault, ``clean``, then do it again.

        ``clean`` removes what an attempt whose answer was lost may have left; None where repeating is harmless.
        Raises what `read` does.
        """
        return self._attempt(doing, action, group, clean)

    def write_once(self, doing: str, action: Callable[[Any], T], *, group: int) -> T:
        """Do something that must not be repeated, since what a lost attempt left could not be told apart."""
        return self._act(doing, action, partial(self._in_group, group), None)

    def _attempt(self, doing: str, action: Callable[[Any], T], group: int, clean: Callable[[], object] | None) -> T:
        lost: UnreachableError | None = None
        seen, breaks = self.generation, 0
        for wait in (0.0, *self._waits):
            checked = False
            try:
                if lost is not None:
                    log.warning("%s; trying again in %g s", lost, wait)
                    self.pause(wait)
                    self._reconnect(seen)
                    checked = True
                    if clean is not None:
                        clean()
                seen = self.generation
                if breaks:  # away from the other threads' connection, which it may break: or they break it
                    return self._act_alone(doing, action, group, clean)
                return self._act(doing, action, partial(self._in_group, group), clean)
            except UnreachableError as error:
                lost = error
                self._services.clear()
                breaks += checked and isinstance(error.__cause__, Ice.LocalException)
                if breaks >= MOST_BROKEN_CONNECTIONS and self._answers(seen):
                    raise ServerError(
                        f"{lost}; so it did {breaks + 1} times, although the server answers otherwise: what is sent "
                        "or asked for may be too large for it (Ice.MessageSizeMax); see the server's log"
                    ) from error
        assert lost is not None
        raise lost

    def _act_alone(self, doing: str, action: Callable[[Any], T], group: int, clean: Callable[[], object] | None) -> T:
        """One attempt over a connection that nobody else uses."""
        client = self._dial()
        try:
            services = Services(client.getSession(), _group_context(group))
            return self._act(doing, action, lambda: services, clean)
        finally:
            _close_client(client)

    def _act(
        self,
        doing: str,
        action: Callable[[Any], T],
        services: Callable[[], Services],
        clean: Callable[[], object] | None,
    ) -> T:
        """One attempt; repeated where two sessions made the same thing at once, such as a new namespace."""
        with translate_errors(doing):
            for wait in CONFLICT_WAITS_S:
                try:
                    return action(services())
                except omero.ValidationException as error:  # nothing of that save stands
                    log.debug("%s: %s; trying again in %g s", doing, describe_error(error), wait)
                self.pause(wait)
                if clean is not None:
                    clean()
            return action(services())

    def _in_group(self, group: int) -> Services:
        """The services within a group; those of an earlier connection are gone."""
        with self._lock:
            key = (self.generation, group)
            found = self._services.get(key)
            if found is None:
                found = self._services[key] = Services(self.client.getSession(), _group_context(group))
            return found

    def _answers(self, seen: int) -> bool:
        try:
            self._reconnect(seen)
        except UnreachableError:
            return False
        return True

    def _reconnect(self, seen: int) -> None:
        with self._lock:
            if self.generation != seen or self._alive():
                return
            broken, self.client = self.client, self._dial()
            self.generation += 1
            _close_client(broken)
            log.info("connected again as %s", self.user_name)

    def _alive(self) -> bool:
        try:
            self.client.getSession().getAdminService().getEventContext()
        except REMOTE_ERRORS:
            return False
        return True

    def context(self, group: int) -> dict[str, str]:
        """The context for a call on a proxy of one's own, which selects a group (`ALL_GROUPS`: all of the user's).

        An explicit context replaces the implicit one, without which a server refuses calls on repositories: what that
        holds (the session's uuid) is in it. Ask for it anew in each attempt: a new connection may have a new session.
        The services that `read` and `write` give need none.
        """
        with translate_errors("call context"):
            return dict(self.client.getContext(str(group)))

    def query_rows(self, hql: str, *, group: int = ALL_GROUPS, **named: Any) -> list[list[Any]]:
        """The rows of a projection as plain Python values; integers are bound as longs, sequences as lists."""
        bound = _make_parameters(named)
        found = self.read("query", lambda sf: sf.getQueryService().projection(hql, bound), group=group)
        return [[unwrap(cell) for cell in row] for row in found]

    def query_ids(self, hql: str, *, group: int = ALL_GROUPS, **named: Any) -> list[int]:
        """The first column of a projection, as ints."""
        return [int(row[0]) for row in self.query_rows(hql, group=group, **named)]

    def query_objects(self, hql: str, *, group: int = ALL_GROUPS, **named: Any) -> list[Any]:
        """Model objects by a query."""
        bound = _make_parameters(named)
        return list(self.read("query", lambda sf: sf.getQueryService().findAllByQuery(hql, bound), group=group))

    def close(self) -> None:
        """End the session for everybody who joined it, or leave it where it was joined; threads and sockets end."""
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
        raise LoginError(f"group {name!r}: there is none of that name; {_describe_own_groups(admin, who)}") from error
    if not who.isAdmin and ident not in who.memberOfGroups:
        raise LoginError(f"group {name!r}: {who.userName} is not a member; {_describe_own_groups(admin, who)}")
    return ident


def _describe_own_groups(admin: Any, who: Any) -> str:
    """Which groups can be named; not the one that every user is in."""
    names = sorted(g.name.val for g in admin.containedGroups(who.userId) if g.name.val not in ("user", "guest"))
    return f"groups of {who.userName}: {', '.join(names) or 'none'}"


def _close_on_server(client: Any) -> None:
    """End a session on the server, however many clients joined it; the server answers how many are left."""
    service = client.getSession().getSessionService()
    ended = omero.model.SessionI()
    ended.uuid = rstring(client.getSessionId())
    while service.closeSession(ended) > 0:
        log.debug("session closed for one of several clients")


def _close_client(client: Any) -> None:
    with suppress(*REMOTE_ERRORS):
        client.closeSession()


def _open_client(found: Credentials) -> Any:
    """A client with an open session.

    Raises
    ------
    LoginError, UnreachableError
        With the address, never with the secret.
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
                _log_in(client, found, found.secret if found.joins else found.user)
            if found.joins:
                client.getSession().detachOnDestroy()
            client.enableKeepAlive(KEEP_ALIVE_S)
        except BaseException:
            _close_client(client)
            raise
        return client


def _log_in(client: Any, found: Credentials, name: str) -> Any:
    """Open or join a session; the server's own words for a refusal name a session's key as a user."""
    try:
        return client.createSession(name, found.secret)
    except _REFUSED_LOGIN as error:
        raise LoginError(describe_refused_login(found)) from error


def _log_in_for_user(client: Any, found: Credentials) -> None:
    """Let an administrator open a session for somebody else, and join that."""
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
    """A session, closed at the end; a joined one is left open on the server.

    Parameters
    ----------
    login
        Who logs in where.
    environ
        Where ``OMERO_PASSWORD`` and the session store's folder are looked up; the process's own by default.
    ask
        Called with a prompt where a password is needed, such as `getpass.getpass`; None: never ask.
    waits, pause
        Seconds to wait before each new attempt after a transient fault, and how to wait.

    Raises
    ------
    LoginError
        No secret was found, or the server refused it.
    UnreachableError
        There is no server at that address.
    """
    found = find_credentials(login, os.environ if environ is None else environ, ask)
    session = Session(lambda: _open_client(found), group=found.group, joined=found.joins, waits=waits, pause=pause)
    try:
        yield session
    finally:
        session.close()


@contextmanager
def wrap_client(client: Any) -> Iterator[Session]:
    """A session around an `omero.client` that somebody else logged in and will close, as in an OMERO.script."""
    yield Session(lambda: client, again=False)
