"""A server to test against: a real one where ``OMERO_HOST`` is set, else the embedded one in a process of its own.

``OMERO_HOST``, ``OMERO_PORT`` (4064) and ``OMERO_ROOT_PASSWORD`` name a real, throw-away server. Every test makes its
own group, users and objects.
"""

from __future__ import annotations

import os
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import omero
import omero.model
import pytest
from omero.gateway import BlitzGateway
from omero.rtypes import rbool, rstring

from omero_pixclf.connector.results.sink import OmeroSink
from omero_pixclf.connector.sessions.login import Login
from omero_pixclf.connector.sessions.session import Session, connect
from omero_pixclf.connector.source import OmeroSource
from omero_pixclf.connector.upload import create_container, upload_image
from omero_pixclf.embedded.server.fault_injection import FAULTS_VARIABLE
from omero_pixclf.image import ImageInfo
from tests.integration.commands import Client
from tests.integration.readers import reader
from tests.integration.results import ENCODE

ROOT_PASSWORD = "root-pw-1"
PASSWORD = "pw-Test-1"
_SERVE = """
import sys, signal
from omero_pixclf.embedded.server.server import start
with start(sys.argv[1], port=int(sys.argv[2]), password=sys.argv[3]) as server:
    print(server.port, flush=True)
    sys.stdin.read()
"""


@dataclass(frozen=True)
class Endpoint:
    """Where the server listens, root's password, and the data folder of an embedded server."""

    host: str
    port: int
    password: str
    folder: Path | None = None


@dataclass
class EmbeddedProcess:
    """The embedded server in a process of its own, which tests may stop, kill and start again on the same port."""

    folder: Path
    port: int = 0
    faults: str | None = None  # see `FaultInjection.parse`; None: those of the test run
    process: subprocess.Popen[str] | None = None

    def start(self) -> None:
        log = (self.folder.parent / "server.log").open("a")
        faults = {} if self.faults is None else {FAULTS_VARIABLE: self.faults}
        self.process = subprocess.Popen(
            [sys.executable, "-c", _SERVE, str(self.folder), str(self.port), ROOT_PASSWORD],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            env={**os.environ, **faults},
        )
        log.close()
        line = self.process.stdout.readline()
        assert line.strip().isdecimal(), (self.folder.parent / "server.log").read_text()
        self.port = int(line)

    def kill(self) -> None:
        self.process.kill()
        self._gone()

    def stop(self) -> None:
        self.process.stdin.close()
        self._gone()

    def _gone(self) -> None:
        self.process.wait(30)
        self.process.stdout.close()
        if not self.process.stdin.closed:
            self.process.stdin.close()


@pytest.fixture(scope="session")
def endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Endpoint]:
    """The server that most tests share."""
    if host := os.environ.get("OMERO_HOST"):
        yield Endpoint(host, int(os.environ.get("OMERO_PORT", "4064")), os.environ["OMERO_ROOT_PASSWORD"])
        return
    server = EmbeddedProcess(tmp_path_factory.mktemp("omero") / "data")
    server.start()
    try:
        yield Endpoint("127.0.0.1", server.port, ROOT_PASSWORD, server.folder)
    finally:
        server.stop()


@pytest.fixture
def folder(endpoint: Endpoint) -> Path:
    """The data folder of the server that most tests share."""
    if endpoint.folder is None:
        pytest.skip("the server's data is not on this machine")
    return endpoint.folder


@pytest.fixture
def own_server(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[EmbeddedProcess]:
    """An embedded server that the test may kill and start again.

    ``@pytest.mark.parametrize("own_server", ["late=2"], indirect=True)`` gives it faults.
    """
    server = EmbeddedProcess(tmp_path / "data", faults=getattr(request, "param", None))
    server.start()
    try:
        yield server
    finally:
        server.kill()


@dataclass
class Person:
    """A user with a password, to be logged in as often as wanted."""

    endpoint: Endpoint
    name: str
    ident: int
    group: int
    password: str = PASSWORD
    _open: ExitStack = field(default_factory=ExitStack)

    @property
    def login(self) -> Login:
        return Login(self.endpoint.host, port=self.endpoint.port, user=self.name)

    def session(self, **options: Any) -> Session:
        """A session of the connector, closed when the test ends."""
        found = connect(self.login, environ={"OMERO_PASSWORD": self.password}, **options)
        return self._open.enter_context(found)

    def client(self) -> Any:
        """A second, independent plain client, closed when the test ends."""
        client = omero.client(host=self.endpoint.host, port=self.endpoint.port)
        self._open.callback(client.closeSession)
        client.createSession(self.name, self.password)
        return client

    def gateway(self) -> BlitzGateway:
        """A second, independent client, closed when the test ends."""
        gateway = BlitzGateway(self.name, self.password, host=self.endpoint.host, port=self.endpoint.port, secure=True)
        assert gateway.connect(), gateway.getLastError()
        self._open.callback(gateway.close)
        gateway.SERVICE_OPTS.setOmeroGroup("-1")
        return gateway


class Lab:
    """A new group and its members."""

    def __init__(self, endpoint: Endpoint, permissions: str, root: Any) -> None:
        self._endpoint, self._root = endpoint, root
        group = omero.model.ExperimenterGroupI()
        self.name = f"lab-{uuid.uuid4().hex[:10]}"
        group.name, group.ldap = rstring(self.name), rbool(False)
        group.details.permissions = omero.model.PermissionsI(permissions)
        self.group = int(root.getSession().getAdminService().createGroup(group))
        self.people: list[Person] = []

    def member(self, stem: str = "user") -> Person:
        """A new user in the group."""
        person = omero.model.ExperimenterI()
        name = f"{stem}-{uuid.uuid4().hex[:10]}"
        person.omeName, person.firstName, person.lastName = rstring(name), rstring(stem), rstring("Test")
        person.ldap = rbool(False)
        groups = [omero.model.ExperimenterGroupI(1, False)]
        default = omero.model.ExperimenterGroupI(self.group, False)
        admin = self._root.getSession().getAdminService()
        ident = int(admin.createExperimenterWithPassword(person, rstring(PASSWORD), default, groups))
        self.people.append(Person(self._endpoint, name, ident, self.group))
        return self.people[-1]

    def root(self) -> Person:
        """The administrator, who is no member."""
        self.people.append(Person(self._endpoint, "root", 0, 0, self._endpoint.password))
        return self.people[-1]


@pytest.fixture
def new_lab() -> Iterator[Callable[..., Lab]]:
    """Makes groups: ``new_lab(endpoint, "rwra--")``."""
    labs: list[Lab] = []
    with ExitStack() as stack:

        def make(endpoint: Endpoint, permissions: str = "rw----") -> Lab:
            client = omero.client(host=endpoint.host, port=endpoint.port)
            client.createSession("root", endpoint.password)
            stack.callback(client.closeSession)
            labs.append(Lab(endpoint, permissions, client))
            return labs[-1]

        yield make
        for lab in labs:
            for person in lab.people:
                person._open.close()


@pytest.fixture
def user(endpoint: Endpoint, new_lab: Callable[..., Lab]) -> Person:
    """A user alone in a new private group."""
    return new_lab(endpoint).member()


@pytest.fixture
def session(user: Person) -> Session:
    """A session of `user`."""
    return user.session()


@pytest.fixture
def dataset(session: Session) -> int:
    """A dataset of `user`."""
    return create_container(session, "Dataset", "data")


@pytest.fixture
def info(session: Session, dataset: int) -> ImageInfo:
    """An image in it."""
    image = upload_image(session, reader((1, 1, 20, 30, 1), name="a.tif"), dataset=dataset)
    return next(OmeroSource(session).images([f"Image:{image}"]))


@pytest.fixture
def sink(session: Session) -> OmeroSink:
    """Where results of `user` go."""
    return OmeroSink(session, encode=ENCODE)


@pytest.fixture
def two(session: Session, dataset: int) -> list[ImageInfo]:
    """Two images in one dataset."""
    images = [upload_image(session, reader((1, 1, 20, 30, 1), name=n), dataset=dataset) for n in ("a.tif", "b.tif")]
    return list(OmeroSource(session).images([f"Image:{i}" for i in images]))


@pytest.fixture
def client(user: Person) -> Client:
    """The services of `user`, and what tests of them make."""
    return Client(user, user.client().getSession())


@pytest.fixture
def team(endpoint: Endpoint, new_lab: Callable[..., Lab]) -> Callable[..., list[Client]]:
    """Makes clients of members of one new group, and root: ``team("rwra--")``."""

    def make(permissions: str, count: int = 2) -> list[Client]:
        lab = new_lab(endpoint, permissions)
        people = [lab.member() for _ in range(count)] + [lab.root()]
        return [Client(p, p.client().getSession()) for p in people]

    return make
