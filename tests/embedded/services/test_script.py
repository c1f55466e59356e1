"""Scripts of the embedded OMERO: run by omero-py's processor, ended by time, users and failures."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import omero
import omero.grid
import omero.model
import omero.scripts
import pytest
from omero.constants.namespaces import NSDYNAMIC
from omero.rtypes import rlong, rstring

from omero_pixclf.embedded.server.server import Server, start
from tests.integration.conftest import Endpoint, Person

ADDS = """
import omero.scripts as s
from omero.rtypes import rlong
client = s.client("adds", "adds two numbers", s.Long("A", optional=False, min=0), s.Long("B", default=2))
client.setOutput("Sum", rlong(client.getInput("A").val + client.getInput("B").val))
print("added")
client.closeSession()
"""
SLEEPS = """
import time, omero.scripts as s
client = s.client("sleeps", "")
print("asleep", flush=True)
time.sleep(60)
"""
DYNAMIC = f"""
import omero, omero.scripts as s
from omero.rtypes import rstring
from omero.gateway import BlitzGateway
def datasets():
    client = omero.client(); client.createSession().detachOnDestroy()
    names = [d.getName() for d in BlitzGateway(client_obj=client).getObjects("Dataset")]
    return [rstring(n) for n in sorted(names)] or [rstring("none")]
params = omero.grid.JobParams()
params.namespaces = ["{NSDYNAMIC}"]
client = s.client("dynamic", "lists datasets", s.String("Dataset", values=datasets()), namespaces=params.namespaces)
client.closeSession()
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with start(tmp_path_factory.mktemp("scripts") / "data", password="root-pw-1") as made:
        yield made


@pytest.fixture
def root(server: Server) -> Iterator[Any]:
    client = omero.client("127.0.0.1", server.port)
    client.createSession("root", "root-pw-1")
    yield client
    client.closeSession()


@pytest.fixture
def person(server: Server, new_lab: Any) -> Person:
    return new_lab(Endpoint("127.0.0.1", server.port, "root-pw-1")).member()


def uploaded(root: Any, text: str) -> int:
    return int(root.sf.getScriptService().uploadOfficialScript(f"/tests/{uuid.uuid4().hex}.py", text))


def run(client: Any, script: int, **inputs: Any) -> Any:
    return client.sf.getScriptService().runScript(script, inputs, None)


def job_state(client: Any, job: Any) -> list[str]:
    hql = f"select j.status.value, j.message from Job j where j.id = {job.id.val}"
    row = client.sf.getQueryService().projection(hql, None, {"omero.group": "-1"})[0]
    return [cell.val for cell in row]


def wait_for(condition: Any, seconds: float = 15) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_script_runs_with_its_inputs_and_defaults(root: Any, person: Person) -> None:
    client = person.client()
    process = run(client, uploaded(root, ADDS), A=rlong(40))
    assert process.wait() == 0
    results = process.getResults(5)
    assert results["Sum"].val == 42
    store = client.sf.createRawFileStore()
    store.setFileId(results["stdout"].val.id.val)
    assert store.read(0, store.size()) == b"added\n"
    store.close()
    assert job_state(client, process.getJob())[0] == "Finished"
    process.close(False)


def test_inputs_below_the_minimum_are_refused(root: Any, person: Person) -> None:
    with pytest.raises(omero.ValidationException, match="Invalid parameters"):
        run(person.client(), uploaded(root, ADDS), A=rlong(-1))


def test_a_client_is_called_back_at_the_end(root: Any, person: Person) -> None:
    client = person.client()
    process = run(client, uploaded(root, ADDS), A=rlong(1))
    callback = omero.scripts.ProcessCallbackI(client, process)
    found = None
    for _ in range(100):
        found = callback.block(200)
        if found is not None:
            break
    assert found == omero.scripts.ProcessCallbackI.FINISHED
    callback.close()
    process.close(False)


def test_a_cancelled_script_ends_and_its_job_says_so(root: Any, person: Person) -> None:
    client = person.client()
    process = run(client, uploaded(root, SLEEPS))
    assert process.poll() is None
    process.cancel()
    wait_for(lambda: process.poll() is not None)
    assert job_state(client, process.getJob())[0] == "Cancelled"
    process.close(False)


def test_a_script_is_ended_at_its_time_limit(root: Any, person: Person) -> None:
    script = uploaded(root, SLEEPS)
    config = root.sf.getConfigService()
    config.setConfigValue("omero.scripts.timeout", "1500")
    try:
        client = person.client()
        process = run(client, script)
        began = time.monotonic()
        assert process.wait() != 0
        assert time.monotonic() - began < 30
        wait_for(lambda: job_state(client, process.getJob())[0] == "Error")
        assert "time limit" in job_state(client, process.getJob())[1]
        process.close(False)
    finally:
        config.setConfigValue("omero.scripts.timeout", "")


def test_the_script_of_a_vanished_client_is_ended(server: Server, root: Any, person: Person) -> None:
    script = uploaded(root, SLEEPS)
    client = person.client()
    before = {s.uuid for s in server.sessions.all()}
    process = run(client, script)
    job = process.getJob()
    running = [s for s in server.sessions.all() if s.uuid not in before and s.user_name == person.name]
    client.closeSession()
    wait_for(lambda: job_state(root, job)[0] == "Cancelled")
    wait_for(lambda: all(s.closed for s in running), 30)


def test_a_killed_processor_fails_its_scripts_and_comes_back(server: Server, root: Any, person: Person) -> None:
    client = person.client()
    process = run(client, uploaded(root, SLEEPS))
    server.processors._process.kill()
    wait_for(lambda: process.poll() is not None)
    assert job_state(client, process.getJob()) == ["Error", "the processor is gone"]
    process.close(False)
    again = run(client, uploaded(root, ADDS), A=rlong(1))
    assert again.wait() == 0
    again.close(False)


def test_scripts_side_by_side_do_not_mix(root: Any, person: Person) -> None:
    client, script, sums = person.client(), uploaded(root, ADDS), {}

    def add(number: int) -> None:
        process = run(client, script, A=rlong(number))
        process.wait()
        sums[number] = process.getResults(5)["Sum"].val
        process.close(False)

    threads = [threading.Thread(target=add, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sums == {i: i + 2 for i in range(4)}


def test_dynamic_parameters_are_those_of_the_asking_user(root: Any, person: Person) -> None:
    script = uploaded(root, DYNAMIC)
    client = person.client()
    values = lambda: [v.val for v in client.sf.getScriptService().getParams(script).inputs["Dataset"].values.val]  # noqa: E731
    assert values() == ["none"]
    dataset = omero.model.DatasetI()
    dataset.name = rstring("mine")
    client.sf.getUpdateService().saveObject(dataset)
    assert values() == ["mine"]


def test_a_script_that_does_not_parse_is_refused_with_its_error(root: Any) -> None:
    with pytest.raises(omero.ValidationException, match="SyntaxError"):
        uploaded(root, "def (")


def test_the_processor_ends_with_its_server(tmp_path: Path) -> None:
    with start(tmp_path / "data", password="x") as server:
        client = omero.client("127.0.0.1", server.port)
        client.createSession("root", "x")
        uploaded(client, ADDS)
        process = server.processors._process
        assert process.poll() is None
        client.closeSession()
    assert process.poll() is not None
