"""Logging in, as a user would, over a real socket."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

from omero_pixclf.connector.sessions.login import Login
from omero_pixclf.connector.sessions.session import connect, wrap_client
from omero_pixclf.errors import LoginError, UnreachableError


def sockets():
    """This process's open sockets."""
    return sorted(p.readlink().name for p in Path("/proc/self/fd").iterdir() if "socket:" in _target(p))


def _target(path):
    try:
        return str(path.readlink())
    except OSError:
        return ""


def test_a_session_knows_its_user_and_group(user):
    session = user.session()
    assert (session.user_id, session.user_name, session.group_id) == (user.ident, user.name, user.group)
    assert not session.is_admin


def test_a_wrong_password_is_refused_without_showing_it(user):
    with (
        pytest.raises(LoginError, match="refused") as caught,
        connect(user.login, environ={"OMERO_PASSWORD": "wr0ng"}),
    ):
        pass
    assert "wr0ng" not in str(caught.value)


def test_an_address_without_a_server_is_unreachable():
    with (
        pytest.raises(UnreachableError, match=r"nobody@127\.0\.0\.1:9"),
        connect(Login("nobody@127.0.0.1:9"), environ={"OMERO_PASSWORD": "x"}),
    ):
        pass


def test_a_group_that_one_is_not_in_is_refused(user):
    with (
        pytest.raises(LoginError, match="group 'no such group'"),
        connect(
            Login(user.endpoint.host, port=user.endpoint.port, user=user.name, group="no such group"),
            environ={"OMERO_PASSWORD": user.password},
        ),
    ):
        pass


def test_a_session_is_joined_by_its_key_and_left_open(user):
    first = user.session()
    login = Login(user.endpoint.host, port=user.endpoint.port, key=first.key)
    with connect(login, environ={}) as joined:
        assert joined.user_id == user.ident
        assert joined.key == first.key
    assert first.query_rows("select e.omeName from Experimenter e where e.id = :id", id=user.ident) == [[user.name]]


def test_a_key_of_no_session_is_refused(user):
    login = Login(user.endpoint.host, port=user.endpoint.port, key="00000000-0000-0000-0000-000000000000")
    with pytest.raises(LoginError), connect(login, environ={}):
        pass


def test_what_omero_login_stored_is_joined(user, tmp_path):
    from omero.util.sessions import SessionsStore

    properties = {"omero.host": user.endpoint.host, "omero.port": str(user.endpoint.port)}
    store = SessionsStore(str(tmp_path))
    client, key, _, _ = store.create(user.name, user.password, properties)
    try:
        with connect(Login(), environ={"OMERO_SESSIONDIR": str(tmp_path)}) as session:
            assert (session.user_name, session.key) == (user.name, key)
    finally:
        client.killSession()


def test_an_administrator_logs_in_for_a_user(user, endpoint):
    login = Login(endpoint.host, port=endpoint.port, user=user.name, sudo="root")
    with connect(login, environ={"OMERO_PASSWORD": endpoint.password}) as session:
        assert (session.user_name, session.is_admin) == (user.name, False)


def test_nothing_stays_open(user):
    with connect(user.login, environ={"OMERO_PASSWORD": user.password}) as warm_up:
        opened = warm_up.key
    before, threads = sockets(), threading.active_count()
    with connect(user.login, environ={"OMERO_PASSWORD": user.password}) as session:
        session.query_rows("select e.id from Experimenter e where e.id = :id", id=user.ident)
        opened = session.key
        with connect(Login(user.endpoint.host, port=user.endpoint.port, key=opened), environ={}) as worker:
            assert worker.key == opened
    deadline = time.monotonic() + 10
    while (sockets() != before or threading.active_count() > threads) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert sockets() == before
    assert threading.active_count() <= threads
    login = Login(user.endpoint.host, port=user.endpoint.port, key=opened)
    with pytest.raises(LoginError), connect(login, environ={}):
        pass


def test_a_client_that_somebody_else_logged_in_stays_logged_in(user):
    client = user.client()
    with wrap_client(client) as session:
        assert session.user_name == user.name
    assert client.getSession().getAdminService().getEventContext().userName == user.name
