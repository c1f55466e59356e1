"""Pytest fixtures for tests that need an OMERO server.

Load them with ``pytest -p omero_pixclf.embedded.pytest_plugin``, or with ``pytest_plugins`` in a conftest.

``omero_server``
    A server on a free loopback port and an empty folder, one per test session.
``omero_user``
    A new user in a new group (private, or with the permissions in the marker ``omero_group("rwra--")``).
``omero_gateway``
    A connected `BlitzGateway` of that user, closed when the test ends.

The server returns unordered collections, and the rows of queries without ``order by``, in random order, as a real one
may do. ``--omero-faults late=2,shuffled,forgetful=0.01`` injects other faults (see `FaultInjection`),
``--omero-faults ""`` none.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import omero.clients
import omero.model
import pytest
from omero.gateway import BlitzGateway
from omero.rtypes import rbool, rstring

from omero_pixclf.embedded.server.fault_injection import FaultInjection
from omero_pixclf.embedded.server.server import Server, start

__all__ = [
    "ROOT_PASSWORD",
    "OmeroUser",
    "omero_gateway",
    "omero_server",
    "omero_user",
    "pytest_addoption",
    "pytest_configure",
]

ROOT_PASSWORD = "omero"


@dataclass(frozen=True)
class OmeroUser:
    """Address, login name and password of a user."""

    host: str
    port: int
    name: str
    password: str
    ident: int
    group: int

    def gateway(self) -> Any:
        """Return a connected gateway of this user; the caller closes it."""
        made = BlitzGateway(self.name, self.password, host=self.host, port=self.port, secure=True)
        if not made.connect():
            raise made.getLastError() or RuntimeError(f"{self.name} cannot log in")
        return made


def pytest_addoption(parser: pytest.Parser) -> None:
    """Register the option ``--omero-faults``."""
    parser.addoption("--omero-faults", default="shuffled", help="faults of omero_server, e.g. late=2,shuffled")


def pytest_configure(config: pytest.Config) -> None:
    """Register the marker ``omero_group``."""
    config.addinivalue_line(
        "markers", "omero_group(permissions): level of the group that omero_user is in, e.g. rwra--"
    )


@pytest.fixture(scope="session")
def omero_server(tmp_path_factory: pytest.TempPathFactory, pytestconfig: pytest.Config) -> Iterator[Server]:
    """An embedded OMERO for the whole test session; root's password is ``omero``."""
    faults = FaultInjection.parse(pytestconfig.getoption("--omero-faults"))
    with start(tmp_path_factory.mktemp("omero") / "data", password=ROOT_PASSWORD, faults=faults) as server:
        yield server


@pytest.fixture
def omero_user(omero_server: Server, request: pytest.FixtureRequest) -> OmeroUser:
    """A new user in a new group."""
    marker = request.node.get_closest_marker("omero_group")
    client = omero.client(host=omero_server.host, port=omero_server.port)
    try:
        admin = client.createSession("root", ROOT_PASSWORD).getAdminService()
        return _new_user(omero_server, admin, marker.args[0] if marker else "rw----")
    finally:
        client.closeSession()


@pytest.fixture
def omero_gateway(omero_user: OmeroUser) -> Iterator[Any]:
    """A connected gateway of a new user."""
    gateway = omero_user.gateway()
    try:
        yield gateway
    finally:
        gateway.close()


def _new_user(server: Server, admin: Any, permissions: str) -> OmeroUser:
    name, password = f"user-{uuid.uuid4().hex[:8]}", uuid.uuid4().hex
    group = omero.model.ExperimenterGroupI()
    group.name, group.ldap = rstring(f"group-of-{name}"), rbool(False)
    group.details.permissions = omero.model.PermissionsI(permissions)
    group_id = admin.createGroup(group)
    person = omero.model.ExperimenterI()
    person.omeName, person.firstName, person.lastName = rstring(name), rstring("Test"), rstring("User")
    person.ldap = rbool(False)
    default, everybody = omero.model.ExperimenterGroupI(group_id, False), omero.model.ExperimenterGroupI(1, False)
    user = admin.createExperimenterWithPassword(person, rstring(password), default, [everybody])
    return OmeroUser(server.host, server.port, name, password, user, group_id)
