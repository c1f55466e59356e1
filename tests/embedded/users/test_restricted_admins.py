"""Administrators who lack some privileges: what is left to them, and what they cannot give themselves."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from typing import Any

import omero
import omero.clients
import omero.cmd
import omero.model as model
import pytest
from omero.rtypes import rbool, rstring, unwrap

from tests.integration.conftest import PASSWORD, Endpoint, Lab, Person


def person(name: str) -> Any:
    made = model.ExperimenterI()
    made.omeName, made.firstName, made.lastName = rstring(name), rstring("Some"), rstring("Body")
    made.ldap = rbool(False)
    return made


def privileges(*names: str) -> list[Any]:
    made = []
    for name in names:
        made.append(model.AdminPrivilegeI())
        made[-1].value = rstring(name)
    return made


@pytest.fixture
def lab(endpoint: Endpoint, new_lab: Callable[..., Lab]) -> Lab:
    return new_lab(endpoint, "rwr---")


@pytest.fixture
def admin(endpoint: Endpoint, lab: Lab) -> Iterator[Callable[..., Any]]:
    """Makes clients of new administrators with the privileges named, and no others."""
    clients = []

    def make(*names: str) -> Any:
        name = f"admin-{uuid.uuid4()}"
        service = lab.root().client().sf.getAdminService()
        service.createRestrictedSystemUserWithPassword(person(name), privileges(*names), rstring(PASSWORD))
        clients.append(omero.client(endpoint.host, endpoint.port))
        clients[-1].createSession(name, PASSWORD)
        return clients[-1]

    yield make
    for client in clients:
        client.closeSession()


def dataset(owner: Person) -> Any:
    made = model.DatasetI()
    made.name = rstring("hers")
    return owner.client().sf.getUpdateService().saveAndReturnObject(made)


def done(client: Any, request: Any) -> bool:
    """Whether a request was carried out."""
    callback = client.submit(request, failonerror=False, failontimeout=True)
    answer = callback.getResponse()
    callback.close(True)
    return isinstance(answer, omero.cmd.OK)


def test_privileges_are_told_and_those_of_root_are_all(admin: Callable[..., Any], lab: Lab) -> None:
    client = admin("Chgrp", "ReadSession")
    service = client.sf.getAdminService()
    assert sorted(unwrap([p.value for p in service.getCurrentAdminPrivileges()])) == ["Chgrp", "ReadSession"]
    context = service.getEventContext()
    assert (context.isAdmin, sorted(context.adminPrivileges)) == (True, ["Chgrp", "ReadSession"])
    assert len(service.getAdminPrivileges(model.ExperimenterI(0, False))) == 15
    assert service.getAdminPrivileges(model.ExperimenterI(lab.member().ident, False)) == []
    found = service.getAdminsWithPrivileges(privileges("Chgrp"))
    assert {0, context.userId} <= {a.id.val for a in found}
    assert context.userId not in {a.id.val for a in service.getAdminsWithPrivileges(privileges("Chgrp", "Sudo"))}


@pytest.mark.parametrize(("names", "may"), [((), False), (("WriteOwned",), True)])
def test_others_data_is_seen_but_changed_by_privilege_only(
    admin: Callable[..., Any], lab: Lab, names: tuple[str, ...], may: bool
) -> None:
    made = dataset(lab.member())
    client = admin(*names)
    context = {"omero.group": str(lab.group)}
    found = client.sf.getQueryService().get("Dataset", made.id.val, context)
    rights = found.details.permissions
    assert (rights.canEdit(), rights.canLink(), rights.canAnnotate(), rights.canDelete()) == (may, may, may, False)
    found.name = rstring("mine")
    if may:
        client.sf.getUpdateService().saveObject(found, context)
    else:
        with pytest.raises(omero.SecurityViolation):
            client.sf.getUpdateService().saveObject(found, context)


@pytest.mark.parametrize(
    ("privilege", "request_for"),
    [
        ("DeleteOwned", lambda made, lab, other: omero.cmd.Delete2(targetObjects={"Dataset": [made]})),
        (
            "Chgrp",
            lambda made, lab, other: omero.cmd.Chgrp2(targetObjects={"Dataset": [made]}, groupId=other.group),
        ),
        (
            "Chown",
            lambda made, lab, other: omero.cmd.Chown2(targetObjects={"Dataset": [made]}, userId=other.people[0].ident),
        ),
        (
            "ModifyGroup",
            lambda made, lab, other: omero.cmd.Chmod2(
                targetObjects={"ExperimenterGroup": [lab.group]}, permissions="rwra--"
            ),
        ),
    ],
)
def test_requests_take_their_privilege(
    admin: Callable[..., Any],
    endpoint: Endpoint,
    new_lab: Callable[..., Lab],
    lab: Lab,
    privilege: str,
    request_for: Any,
) -> None:
    other = new_lab(endpoint, "rwr---")
    newcomer = other.member()
    root = lab.root().client().sf.getAdminService()
    root.addGroups(model.ExperimenterI(newcomer.ident, False), [model.ExperimenterGroupI(lab.group, False)])
    made = dataset(lab.member()).id.val
    assert not done(admin("ReadSession"), request_for(made, lab, other))
    assert done(admin(privilege), request_for(made, lab, other))


def test_people_and_groups_take_their_privileges(admin: Callable[..., Any], lab: Lab) -> None:
    group, member = model.ExperimenterGroupI(lab.group, False), lab.member()
    with pytest.raises(omero.SecurityViolation):
        admin("ModifyGroup").sf.getAdminService().createUser(person(f"u-{uuid.uuid4()}"), lab.name)
    service = admin("ModifyUser").sf.getAdminService()
    assert service.createUser(person(f"u-{uuid.uuid4()}"), lab.name) > 0
    service.changeUserPassword(member.name, rstring("new"))
    with pytest.raises(omero.SecurityViolation):
        service.setGroupOwner(group, model.ExperimenterI(member.ident, False))
    with pytest.raises(omero.SecurityViolation):
        service.createGroup(model.ExperimenterGroupI())
    admin("ModifyGroupMembership").sf.getAdminService().setGroupOwner(group, model.ExperimenterI(member.ident, False))


def test_nobody_gives_what_he_has_not(admin: Callable[..., Any], lab: Lab) -> None:
    client = admin("ModifyUser", "ModifyGroupMembership")
    service, member = client.sf.getAdminService(), lab.member()
    myself = model.ExperimenterI(service.getEventContext().userId, False)
    with pytest.raises(omero.SecurityViolation):
        service.setAdminPrivileges(myself, privileges("ModifyUser", "Sudo"))
    with pytest.raises(omero.SecurityViolation):  # who joins the administrators has all privileges at first
        service.addGroups(model.ExperimenterI(member.ident, False), [model.ExperimenterGroupI(0, False)])
    with pytest.raises(omero.SecurityViolation):
        service.createSystemUser(person(f"a-{uuid.uuid4()}"))
    with pytest.raises(omero.SecurityViolation):
        service.changeUserPassword("root", rstring("mine"))
    with pytest.raises(omero.ApiUsageException):
        service.setAdminPrivileges(myself, privileges("Everything"))
    assert service.createRestrictedSystemUser(person(f"a-{uuid.uuid4()}"), privileges("ModifyUser")) > 0
    assert unwrap([p.value for p in service.getCurrentAdminPrivileges()]) == ["ModifyGroupMembership", "ModifyUser"]


def test_root_keeps_all_privileges(lab: Lab) -> None:
    service = lab.root().client().sf.getAdminService()
    with pytest.raises(omero.ApiUsageException):
        service.setAdminPrivileges(model.ExperimenterI(0, False), privileges("Sudo"))


def test_who_acts_as_an_administrator_gains_nothing(admin: Callable[..., Any], lab: Lab, endpoint: Endpoint) -> None:
    principal = omero.sys.Principal(lab.member().name, lab.name, "User", None)
    with pytest.raises(omero.SecurityViolation):
        admin("ModifyUser").sf.getSessionService().createSessionWithTimeout(principal, 60_000)
    service = admin("Sudo").sf.getSessionService()
    assert service.createSessionWithTimeout(principal, 60_000).uuid.val
    as_root = service.createSessionWithTimeout(omero.sys.Principal("root", "system", "User", None), 60_000)
    client = omero.client(endpoint.host, endpoint.port)
    try:
        session = client.joinSession(as_root.uuid.val)
        assert unwrap([p.value for p in session.getAdminService().getCurrentAdminPrivileges()]) == ["Sudo"]
    finally:
        client.closeSession()


def test_files_of_others_take_privileges_of_their_own(admin: Callable[..., Any], lab: Lab) -> None:
    owner = lab.member().client()
    made = model.OriginalFileI()
    made.name, made.path, made.mimetype = rstring("f"), rstring("/"), rstring("text/plain")
    ident = owner.sf.getUpdateService().saveAndReturnObject(made).id.val
    for names, expected in ((("WriteOwned", "DeleteOwned"), (False, False)), (("WriteFile",), (True, False))):
        found = admin(*names).sf.getQueryService().get("OriginalFile", ident, {"omero.group": "-1"})
        rights = found.details.permissions
        assert (rights.canEdit(), rights.canDelete()) == expected
