"""What OMERO.web asks of a server beyond what other clients do (tests/e2e/test_omero_web.py runs OMERO.web itself)."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import Glacier2
import omero
import pytest
from omero.gateway import BlitzGateway
from omero.model import PlateI
from omero.rtypes import rstring, unwrap
from omero.sys import ParametersI

from tests.integration.conftest import Endpoint, Person

SLEEPS = """
import time
import omero.scripts as s
client = s.client("sleeps", "")
time.sleep(3)
client.closeSession()
"""


@pytest.mark.parametrize("secure", [True, False])
def test_guest_logs_in_with_any_password_and_reads_the_version(endpoint: Endpoint, secure: bool) -> None:
    """Without ``secure``, gateways ask for the address of an unencrypted router and go on there."""
    gateway = BlitzGateway("guest", "whatever", host=endpoint.host, port=endpoint.port, secure=secure)
    try:
        assert gateway.connect()
        assert gateway.getConfigService().getConfigValue("omero.version").startswith("5.")
        with pytest.raises(omero.SecurityViolation):
            list(gateway.getObjects("Image"))
    finally:
        gateway.close()


def test_an_empty_password_opens_nothing_and_other_accounts_keep_theirs(endpoint: Endpoint, user: Person) -> None:
    for name, password in (("guest", ""), (user.name, "whatever"), ("root", "whatever")):
        client = omero.client(host=endpoint.host, port=endpoint.port)
        with pytest.raises((Glacier2.PermissionDeniedException, omero.ClientError)):
            client.createSession(name, password)
        client.__del__()  # closes the client, not a session


@pytest.fixture
def plate(user: Person) -> tuple[Any, int]:
    """A client and its plate, which lies in no screen."""
    client = user.client()
    made = PlateI()
    made.name = rstring("for the tree")
    return client, client.sf.getUpdateService().saveAndReturnObject(made).id.val


def test_rights_are_asked_for_by_an_objects_name_in_a_map(plate: tuple[Any, int]) -> None:
    client, ident = plate
    hql = "select new map(plate.id as id, plate as plate_details_permissions) from Plate plate where plate.id = :id"
    ((found,),) = unwrap(client.sf.getQueryService().projection(hql, ParametersI().addId(ident)))
    rights = found["plate_details_permissions"]
    assert found["id"] == ident
    assert rights["canEdit"] and rights["canDelete"] and rights["canAnnotate"] and rights["canLink"]


def test_what_lies_within_an_outer_joins_path_is_joined_likewise(plate: tuple[Any, int]) -> None:
    client, ident = plate
    hql = (
        "select coalesce(owner.id, screenowner.id), link.parent.id, plate.id from Plate plate "
        "join plate.details.owner owner left outer join plate.screenLinks link "
        "left outer join link.parent.details.owner screenowner where plate.id = :id"
    )
    (row,) = client.sf.getQueryService().projection(hql, ParametersI().addId(ident))
    assert [unwrap(cell) for cell in row] == [client.sf.getAdminService().getEventContext().userId, None, ident]


def test_annotations_of_users_are_found(user: Person) -> None:
    found = user.client().sf.getMetadataService().loadAnnotations("Experimenter", [user.ident], None, None, None)
    assert found == {user.ident: []}


def test_a_script_goes_on_for_the_sessions_next_client_under_its_address(
    endpoint: Endpoint, user: Person, new_lab: Callable[..., Any]
) -> None:
    root = new_lab(endpoint).root().client()
    script = root.sf.getScriptService().uploadOfficialScript(f"/for-web/{user.name}.py", SLEEPS)
    first = omero.client(host=endpoint.host, port=endpoint.port)
    first.createSession(user.name, user.password).detachOnDestroy()
    address = str(first.sf.getScriptService().runScript(script, {}, None))
    key = first.getSessionId()
    first.closeSession()
    assert address.startswith("ProcessCallback")
    second = omero.client(host=endpoint.host, port=endpoint.port)
    second.joinSession(key)
    try:
        process = omero.grid.ScriptProcessPrx.checkedCast(second.ic.stringToProxy(address))
        end = time.monotonic() + 60
        while process.poll() is None:
            assert time.monotonic() < end
            time.sleep(0.1)
        assert process.poll().val == 0
        process.close(False)
    finally:
        second.closeSession()
        root.sf.getScriptService().deleteScript(script)
