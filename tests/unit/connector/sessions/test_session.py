"""Faults are translated, and transient ones are survived."""

from __future__ import annotations

from types import SimpleNamespace

import Glacier2
import Ice
import omero
import omero.clients
import omero.cmd
import pytest

from omero_pixclf.connector.sessions.exceptions import describe_error, translate_errors
from omero_pixclf.connector.sessions.session import Session
from omero_pixclf.errors import LoginError, NotAllowedError, ServerError, UnreachableError


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        (Glacier2.PermissionDeniedException("no"), LoginError),
        (Glacier2.CannotCreateSessionException("no"), LoginError),
        (omero.SessionTimeoutException(), UnreachableError),
        (omero.RemovedSessionException(), UnreachableError),
        (Ice.ObjectNotExistException(), UnreachableError),
        (Ice.ConnectionRefusedException(), UnreachableError),
        (Ice.ConnectionLostException(), UnreachableError),
        (Ice.ConnectTimeoutException(), UnreachableError),
        (Ice.CloseConnectionException(), UnreachableError),
        (Ice.ProtocolException("SSL protocol error during read"), UnreachableError),
        (Ice.DNSException(), UnreachableError),
        (omero.DatabaseBusyException(), UnreachableError),
        (omero.SecurityViolation(), NotAllowedError),
        (omero.ReadOnlyGroupSecurityViolation(), NotAllowedError),
        (omero.ValidationException(), ServerError),
        (omero.OptimisticLockException(), ServerError),
        (omero.CmdError(omero.cmd.ERR()), ServerError),
        (Ice.MarshalException(), ServerError),
    ],
)
def test_theirs_become_ours_and_stay_the_cause(theirs, ours):
    with pytest.raises(ours) as caught, translate_errors("Image:5: reading"):
        raise theirs
    assert type(caught.value) is ours
    assert caught.value.__cause__ is theirs
    assert str(caught.value).startswith("Image:5: reading: ")


def test_what_is_not_theirs_passes():
    with pytest.raises(KeyError), translate_errors("x"):
        raise KeyError("k")


def test_a_message_is_one_line_without_the_remote_stack_trace():
    fault = omero.ValidationException(None, None, "bad query\n at org.hibernate…\n at …")
    assert describe_error(fault) == "ValidationException: bad query"


class Server:
    """Hands out clients; each call takes the next fault of a list until there are none."""

    def __init__(self, faults):
        self.faults = list(faults)
        self.logins = 0
        self.closed = 0
        self.up = True
        self.contexts = []

    def open_client(self):
        if not self.up:
            raise UnreachableError("down")
        self.logins += 1
        return Client(self)


class Client:
    def __init__(self, server):
        self.server = server
        self.open = True

    def getSession(self):
        if not self.open:
            raise omero.ClientError("No session available")
        return self

    def ice_context(self, context):
        self.server.contexts.append(context)
        return self

    def getAdminService(self):
        return self

    def getEventContext(self):
        if not self.open:
            raise Ice.ConnectionLostException()
        return SimpleNamespace(userId=2, userName="ada", isAdmin=False, sessionId=7, groupId=3, memberOfGroups=[3, 4])

    def work(self):
        if self.server.faults:
            self.open = False
            raise self.server.faults.pop(0)
        return "done"

    def closeSession(self):
        self.open = False
        self.server.closed += 1


def test_a_lost_connection_is_opened_again_and_the_call_repeated():
    server, waits = Server([Ice.ConnectionLostException(), Ice.ConnectionLostException()]), []
    session = Session(server.open_client, waits=(1, 2, 4), pause=waits.append)
    assert session.read("reading", lambda sf: sf.work()) == "done"
    assert (waits, session.generation) == ([1, 2], 2)
    assert (server.logins, server.closed) == (4, 3)  # the last attempt has a connection of its own


def test_a_write_is_cleaned_up_before_it_is_repeated():
    server, cleaned = Server([Ice.ConnectionLostException()]), []
    session = Session(server.open_client, waits=(1,), pause=lambda s: None)
    session.write("saving", lambda sf: sf.work(), group=3, clean=lambda: cleaned.append(session.generation))
    assert cleaned == [1]


def test_what_must_not_be_repeated_is_not():
    server = Server([Ice.ConnectionLostException()])
    session = Session(server.open_client, waits=(1,), pause=lambda s: None)
    with pytest.raises(UnreachableError):
        session.write_once("creating", lambda sf: sf.work(), group=3)
    assert server.logins == 1


def test_a_server_that_stays_away_is_given_up_with_the_last_reason():
    server, waits = Server([Ice.ConnectionLostException()]), []

    def pause(seconds):
        server.up = False
        waits.append(seconds)

    session = Session(server.open_client, waits=(1, 2), pause=pause)
    with pytest.raises(UnreachableError, match="down"):
        session.read("reading", lambda sf: sf.work())
    assert waits == [1, 2]


def test_a_refusal_is_not_repeated():
    server = Server([omero.SecurityViolation()])
    session = Session(server.open_client, waits=(1, 2), pause=lambda s: None)
    with pytest.raises(NotAllowedError):
        session.read("reading", lambda sf: sf.work())
    assert server.logins == 1


def test_an_adopted_session_does_not_reconnect():
    server = Server([Ice.ConnectionLostException()])
    session = Session(server.open_client, reconnect=False)
    with pytest.raises(UnreachableError):
        session.read("reading", lambda sf: sf.work())
    assert server.logins == 1


def test_an_action_that_breaks_a_working_connection_again_and_again_is_at_fault_itself():
    """A message that is too large for the server ends the connection each time: the image fails, the run goes on."""
    server, waits = Server([Ice.ConnectionLostException()] * 100), []
    session = Session(server.open_client, waits=(1, 2, 4, 8, 15, 30, 60), pause=waits.append)
    with pytest.raises(ServerError, match="although the server answers") as caught:
        session.write("Image:5: storing", lambda sf: sf.work(), group=3)
    assert not isinstance(caught.value, UnreachableError)
    assert sum(waits) < 10
    server.faults.clear()
    assert session.read("Image:6: reading", lambda sf: sf.work()) == "done"


def test_a_server_that_is_busy_for_long_is_waited_for():
    server, waits = Server([omero.DatabaseBusyException()] * 5), []
    session = Session(server.open_client, waits=(1,) * 7, pause=waits.append)
    assert session.read("reading", lambda sf: sf.work()) == "done"
    assert len(waits) == 5


def test_a_save_that_another_session_made_invalid_is_tried_again():
    """Two first annotations of a namespace at once: the server fails one of them."""
    for attempt in (Session.write, Session.write_once):
        server, cleaned = Server([omero.ValidationException()]), []
        session = Session(server.open_client, waits=(), pause=lambda s: None)
        clean = {"clean": lambda: cleaned.append(1)} if attempt is Session.write else {}  # noqa: B023
        assert attempt(session, "saving", lambda sf: sf.work(), group=3, **clean) == "done"
        assert cleaned == ([1] if clean else [])


def test_what_stays_invalid_is_an_error():
    server = Server([omero.ValidationException()] * 100)
    session = Session(server.open_client, waits=(), pause=lambda s: None)
    with pytest.raises(ServerError, match="ValidationException"):
        session.write_once("saving", lambda sf: sf.work(), group=3)


def test_every_action_works_within_the_group_that_it_was_given():
    server = Server([])
    session = Session(server.open_client, waits=())
    session.read("reading", lambda sf: sf.work())
    session.write("saving", lambda sf: sf.work(), group=3)
    session.write_once("creating", lambda sf: sf.work(), group=4)
    assert server.contexts == [{"omero.group": g} for g in ("-1", "3", "4")]
