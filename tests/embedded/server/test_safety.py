"""What the embedded OMERO promises when things go wrong: power cuts, full disks, wrong passwords, lost clients."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import Glacier2
import Ice
import omero
import omero.clients
import omero.model as model
import pytest
from omero.rtypes import rlong, rstring

from omero_pixclf.embedded.server.server import Server, start
from omero_pixclf.errors import UsageError
from tests.integration.conftest import ROOT_PASSWORD, EmbeddedProcess

BATCH = 200
SAVER = """
import sys, omero, omero.clients, omero.model
from omero.rtypes import rstring

def dataset():
    made = omero.model.DatasetI()
    made.name = rstring("n")
    return made

client = omero.client("127.0.0.1", int(sys.argv[1]))
update = client.createSession("root", sys.argv[2]).getUpdateService()
while True:
    update.saveArray([dataset() for _ in range(int(sys.argv[3]))])
    print("saved", flush=True)
"""
WAITER = """
import sys, omero.clients
client = omero.client("127.0.0.1", int(sys.argv[1]))
client.createSession("root", sys.argv[2]).createRawFileStore()
print("in", flush=True)
sys.stdin.read()
"""


@contextlib.contextmanager
def connected(port: int, user: str = "root", password: str = ROOT_PASSWORD) -> Any:
    client = omero.client(host="127.0.0.1", port=port)
    try:
        yield client.createSession(user, password)
    finally:
        client.closeSession()


def dataset(name: str) -> Any:
    made = model.DatasetI()
    made.name = rstring(name)
    return made


def test_a_killed_server_keeps_whole_transactions(own_server: EmbeddedProcess) -> None:
    saver = subprocess.Popen(
        [sys.executable, "-c", SAVER, str(own_server.port), ROOT_PASSWORD, str(BATCH)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        for _ in range(3):
            assert saver.stdout.readline() == "saved\n"
        time.sleep(0.02)
        own_server.kill()
    finally:
        saver.kill()
        saver.wait()
        saver.stdout.close()
    own_server.start()
    with connected(own_server.port) as session:
        count = session.getQueryService().projection("select count(d.id) from Dataset d", None)[0][0].val
    assert count >= 3 * BATCH
    assert count % BATCH == 0


def test_data_and_passwords_survive_a_restart_and_sessions_do_not(tmp_path: Path) -> None:
    with start(tmp_path / "data", password="first") as server, connected(server.port, password="first") as session:
        ident = session.getUpdateService().saveAndReturnObject(dataset("kept")).id.val
        old = session.ice_getIdentity().name
    with start(tmp_path / "data") as server:
        assert server.new_password is None
        with connected(server.port, password="first") as session:
            assert session.getQueryService().get("Dataset", ident).name.val == "kept"
        with pytest.raises(Glacier2.PermissionDeniedException):
            omero.client(host="127.0.0.1", port=server.port).joinSession(old)


def test_a_password_is_made_up_at_the_first_start_and_works(tmp_path: Path) -> None:
    with start(tmp_path / "data") as server:
        assert server.new_password is not None
        with connected(server.port, password=server.new_password) as session:
            assert session.getAdminService().getEventContext().isAdmin


def test_two_servers_never_share_a_folder(tmp_path: Path) -> None:
    with start(tmp_path / "data", password="x"), pytest.raises(UsageError, match="already running on it"):
        start(tmp_path / "data")


def test_a_port_in_use_is_told_and_leaves_the_folder_free(tmp_path: Path) -> None:
    with start(tmp_path / "one", password="x") as server:
        with pytest.raises(UsageError, match="cannot listen"):
            start(tmp_path / "two", port=server.port, password="x")
        with start(tmp_path / "two", password="x") as second, connected(second.port, password="x") as session:
            assert session.getAdminService().getEventContext().isAdmin


def test_a_full_disk_is_told_to_the_client_and_loses_nothing(tmp_path: Path) -> None:
    with start(tmp_path / "data", password=ROOT_PASSWORD) as server, connected(server.port) as session:
        update = session.getUpdateService()
        kept = update.saveAndReturnObject(dataset("before")).id.val
        _limit_pages(server, extra=1)
        with pytest.raises(omero.ResourceError):
            update.saveArray([dataset("x" * 200) for _ in range(2000)])
        _limit_pages(server, extra=100000)
        query = session.getQueryService()
        assert query.projection("select count(d.id) from Dataset d", None)[0][0].val == 1
        assert query.get("Dataset", kept).name.val == "before"
        update.saveObject(dataset("after"))


def _limit_pages(server: Server, extra: int) -> None:
    """Let the database file grow by some pages only, as on a disk with little room."""
    with server.database.writing() as tx:
        pages = tx.one("PRAGMA page_count")[0]
        tx.one(f"PRAGMA max_page_count = {pages + extra}")


def test_wrong_passwords_are_answered_slower_and_slower(tmp_path: Path) -> None:
    with start(tmp_path / "data", password=ROOT_PASSWORD) as server:
        seconds = []
        for _ in range(4):
            begun = time.monotonic()
            with pytest.raises(Glacier2.PermissionDeniedException):
                omero.client(host="127.0.0.1", port=server.port).createSession("root", "wrong")
            seconds.append(time.monotonic() - begun)
        assert seconds[3] >= 0.8
        assert seconds[3] > 2 * seconds[0]


def test_idle_sessions_expire(tmp_path: Path) -> None:
    with start(tmp_path / "data", password=ROOT_PASSWORD) as server, connected(server.port) as session:
        [found] = server.sessions.all()
        found.last_used -= found.idle_ms / 1000 + 1
        assert server.sessions.expire() == [found]
        with pytest.raises(Ice.ObjectNotExistException):
            session.getQueryService().projection("select 1 from Node n", None)


def test_a_client_that_vanishes_is_cleaned_up(tmp_path: Path) -> None:
    with start(tmp_path / "data", password=ROOT_PASSWORD) as server:
        client = subprocess.Popen(
            [sys.executable, "-W", "ignore", "-c", WAITER, str(server.port), ROOT_PASSWORD],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert client.stdout.readline() == "in\n"
        [session] = server.sessions.all()
        assert session.services
        client.kill()
        client.communicate()
        end = time.monotonic() + 10
        while server.sessions.all() and time.monotonic() < end:
            time.sleep(0.02)
        assert server.sessions.all() == []
        assert not session.services


def test_listening_beyond_the_loopback_is_warned_about(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with start(tmp_path / "data", password="x", host="0.0.0.0") as server:
        assert "everybody who can reach this address" in caplog.text
        with connected(server.port, password="x") as session:
            assert session.getAdminService().getEventContext().userName == "root"


def test_a_stopped_server_leaves_no_thread_and_no_open_file(tmp_path: Path) -> None:
    before = set(threading.enumerate())
    with start(tmp_path / "data", password=ROOT_PASSWORD) as server, connected(server.port) as session:
        session.getQueryService().projection("select n.id from Node n", None)
    assert not [t for t in set(threading.enumerate()) - before if t.name.startswith("omero-")]
    held = [str(p.resolve()) for p in Path("/proc/self/fd").iterdir() if p.exists()]
    assert not [p for p in held if str(tmp_path) in p]


def test_clients_at_once_lose_no_write(tmp_path: Path) -> None:
    """Eight clients, each saving and reading its own."""
    errors: list[BaseException] = []

    def work(port: int, number: int) -> None:
        try:
            with connected(port) as session:
                update, query = session.getUpdateService(), session.getQueryService()
                for turn in range(10):
                    ids = update.saveAndReturnIds([dataset(f"{number}-{turn}-{i}") for i in range(5)])
                    params = omero.sys.ParametersI().addIds([rlong(i) for i in ids])
                    rows = query.projection("select d.name from Dataset d where d.id in (:ids)", params)
                    assert len(rows) == 5
        except Exception as error:  # noqa: BLE001 - whatever it is, the test shows it
            errors.append(error)

    with start(tmp_path / "data", password=ROOT_PASSWORD) as server:
        threads = [threading.Thread(target=work, args=(server.port, n)) for n in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert errors == []
        with connected(server.port) as session:
            count = session.getQueryService().projection("select count(d.id) from Dataset d", None)[0][0].val
    assert count == 400
