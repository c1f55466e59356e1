"""The embedded OMERO when it is asked to be late, shuffled and forgetful."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import Ice
import omero
import omero.model as model
import pytest
from omero.rtypes import rstring

from omero_pixclf.embedded.server.fault_injection import FaultInjection
from omero_pixclf.embedded.server.server import start
from omero_pixclf.errors import UsageError
from tests.integration.commands import wait_for
from tests.integration.conftest import ROOT_PASSWORD


def client_of(server, agent="test"):
    client = omero.client(host=server.host, port=server.port)
    client.setAgent(agent)
    client.createSession("root", ROOT_PASSWORD)
    return client


def running(folder: Path, faults: str):
    return start(folder / "data", password=ROOT_PASSWORD, faults=FaultInjection.parse(faults))


def named(name: str) -> model.DatasetI:
    made = model.DatasetI()
    made.name = rstring(name)
    return made


_SAVE = """
import sys, omero, omero.model, omero.rtypes
client = omero.client(host="127.0.0.1", port=int(sys.argv[1]))
client.createSession("root", sys.argv[2])
dataset = omero.model.DatasetI()
dataset.name = omero.rtypes.rstring("of the dead")
update = client.getSession().getUpdateService()
print("saving", flush=True)
update.saveObject(dataset)
"""


def test_a_late_server_carries_out_what_a_killed_client_asked_for(tmp_path: Path) -> None:
    with running(tmp_path, "late=6,seed=2") as server:
        watching = client_of(server)
        dying = subprocess.Popen(
            [sys.executable, "-c", _SAVE, str(server.port), ROOT_PASSWORD], stdout=subprocess.PIPE, text=True
        )
        assert dying.stdout.readline() == "saving\n"
        time.sleep(0.3)  # the request is on its way
        dying.kill()
        dying.communicate()
        query = watching.getSession().getQueryService()
        assert query.findAll("Dataset", None) == []
        wait_for(lambda: query.findAll("Dataset", None))
        watching.closeSession()


def test_a_late_request_holds_up_no_other(tmp_path: Path) -> None:
    with running(tmp_path, "late=10,late_share=0.5,seed=1") as server:
        clients = [client_of(server) for _ in range(6)]
        begun = time.monotonic()
        updates = [c.getSession().getUpdateService() for c in clients]
        waiting = [update.begin_saveAndReturnObject(named("d")) for update in updates]
        for update, answer in zip(updates, waiting, strict=True):
            update.end_saveAndReturnObject(answer)
        assert time.monotonic() - begun < 20
        for client in clients:
            client.closeSession()


def test_a_shuffled_server_changes_the_order_of_what_has_none(tmp_path: Path) -> None:
    with running(tmp_path, "shuffled") as server:
        client = client_of(server)
        image, update = model.ImageI(), client.getSession().getUpdateService()
        image.name = rstring("i")
        for text in "abcdef":
            note = model.CommentAnnotationI()
            note.textValue = rstring(text)
            image.linkAnnotation(note)
        update.saveObject(image)
        query = client.getSession().getQueryService()
        fetched = "select i from Image i join fetch i.annotationLinks l join fetch l.child"
        asked = "select c.textValue from CommentAnnotation c"
        orders: list[set[str]] = [set(), set(), set()]
        for _ in range(20):
            orders[0].add("".join(a.textValue.val for a in query.findByQuery(fetched, None).linkedAnnotationList()))
            orders[1].add("".join(row[0].val for row in query.projection(asked, None)))
            orders[2].add("".join(row[0].val for row in query.projection(asked + " order by c.textValue", None)))
        assert len(orders[0]) > 1
        assert len(orders[1]) > 1
        assert orders[2] == {"abcdef"}
        client.closeSession()


def test_a_forgetful_server_loses_sessions_of_the_named_client_only(tmp_path: Path) -> None:
    with running(tmp_path, "forgetful=0.2,agent=victim,seed=3") as server:
        spared = client_of(server)
        saved = [_saved_until_lost(server, number) for number in range(8)]
        found = spared.getSession().getQueryService().findAll("Dataset", None)
        assert sum(saved) < len(found) < sum(saved) + 8  # some were carried out without an answer, some not at all
        spared.closeSession()


def _saved_until_lost(server, number: int) -> int:
    """How many changes a client was told of before its session was lost."""
    client = client_of(server, "victim")
    update = client.getSession().getUpdateService()
    for count in range(200):
        try:
            update.saveObject(named(f"d{number}"))
        except Ice.Exception:
            client.closeSession()
            return count
    raise AssertionError("the session was never lost")


@pytest.mark.parametrize("text", ["slow=2", "late", "late=soon", "shuffled=1", "late=-1", "forgetful=2"])
def test_faults_that_there_are_not_are_refused_by_name(text: str) -> None:
    with pytest.raises(UsageError, match="late=SECONDS"):
        FaultInjection.parse(text)


def test_faults_come_from_the_environment_too() -> None:
    named = {"OMERO_EMBEDDED_FAULTS": "late=2,late_share=0.1,shuffled,forgetful=0.01,agent=x,seed=4"}
    assert FaultInjection.from_environment(named) == FaultInjection(2, 0.1, True, 0.01, "x", 4)
    assert FaultInjection.from_environment({}) == FaultInjection()
