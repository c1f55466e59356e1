"""Users, groups and logins through a real client."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any

import Glacier2
import omero
import omero.clients
import omero.model as model
import pytest
from omero.rtypes import rbool, rstring

from tests.integration.conftest import PASSWORD, Endpoint, Lab, Person


@pytest.fixture
def lab(endpoint: Endpoint, new_lab: Callable[..., Lab]) -> Lab:
    return new_lab(endpoint, "rwra--")


def admin_of(person: Person) -> Any:
    return person.client().getSession().getAdminService()


def group(ident: int) -> Any:
    return model.ExperimenterGroupI(ident, False)


def user(person: Person) -> Any:
    return model.ExperimenterI(person.ident, False)


def test_users_change_their_own_data_and_nothing_else(lab: Lab) -> None:
    alice, bob = lab.member("alice"), lab.member("bob")
    admin = admin_of(alice)
    me = admin.getExperimenter(alice.ident)
    me.email, me.omeName = rstring("a@b.c"), rstring("somebody-else")
    admin.updateSelf(me)
    changed = admin.getExperimenter(alice.ident)
    assert (changed.email.val, changed.omeName.val) == ("a@b.c", alice.name)
    other = admin.getExperimenter(bob.ident)
    with pytest.raises(omero.SecurityViolation):
        admin.updateExperimenter(other)


def test_a_leader_adds_and_removes_members(endpoint: Endpoint, new_lab: Callable[..., Lab], lab: Lab) -> None:
    leader, newcomer = lab.member("leader"), new_lab(endpoint).member("newcomer")
    with pytest.raises(omero.SecurityViolation):
        admin_of(leader).addGroups(user(newcomer), [group(lab.group)])
    admin_of(lab.root()).setGroupOwner(group(lab.group), user(leader))
    admin = admin_of(leader)
    admin.addGroups(user(newcomer), [group(lab.group)])
    assert lab.group in admin.getMemberOfGroupIds(user(newcomer))
    admin.removeGroups(user(newcomer), [group(lab.group)])
    assert lab.group not in admin.getMemberOfGroupIds(user(newcomer))
    with pytest.raises(omero.ValidationException):
        admin.removeGroups(user(leader), [group(lab.group)])


def test_the_default_group_is_where_the_next_login_starts(endpoint: Endpoint, new_lab: Callable[..., Lab]) -> None:
    first, second = new_lab(endpoint), new_lab(endpoint)
    person = first.member()
    admin_of(second.root()).addGroups(user(person), [group(second.group)])
    admin = admin_of(person)
    assert admin.getEventContext().groupId == first.group
    admin.setDefaultGroup(user(person), group(second.group))
    assert admin_of(person).getEventContext().groupId == second.group
    with pytest.raises(omero.ApiUsageException):
        admin.setDefaultGroup(user(person), group(1))


def test_login_into_a_group_by_name(endpoint: Endpoint, new_lab: Callable[..., Lab]) -> None:
    first, second = new_lab(endpoint), new_lab(endpoint)
    person = first.member()
    admin_of(second.root()).addGroups(user(person), [group(second.group)])
    assert _group_after_login(endpoint, person, second.name) == second.group
    with pytest.raises(Glacier2.CannotCreateSessionException):
        _group_after_login(endpoint, person, f"no-{uuid.uuid4().hex}")
    with pytest.raises(omero.SecurityViolation, match="not a member of group 0"):
        _group_after_login(endpoint, person, "system")  # a real server finds out at the first request, too


def _group_after_login(endpoint: Endpoint, person: Person, name: str) -> int:
    client = omero.client(host=endpoint.host, port=endpoint.port)
    try:
        client.getImplicitContext().put("omero.group", name)
        return int(client.createSession(person.name, PASSWORD).getAdminService().getEventContext().groupId)
    finally:
        client.closeSession()


def test_a_new_password_replaces_the_old_one(endpoint: Endpoint, lab: Lab) -> None:
    person = lab.member()
    admin = admin_of(person)
    with pytest.raises(omero.SecurityViolation):
        admin.changePasswordWithOldPassword(rstring("wrong"), rstring("new"))
    admin.changePassword(rstring("new"))
    client = omero.client(host=endpoint.host, port=endpoint.port)
    with pytest.raises(Glacier2.PermissionDeniedException):
        client.createSession(person.name, PASSWORD)
    client.createSession(person.name, "new")
    client.closeSession()


def test_who_joined_a_session_by_its_uuid_gives_the_password_before_changing_it(endpoint: Endpoint, lab: Lab) -> None:
    person = lab.member()
    first, joined = person.client(), omero.client(host=endpoint.host, port=endpoint.port)
    session = joined.joinSession(first.getSessionId())
    admin, sessions = session.getAdminService(), session.getSessionService()
    with pytest.raises(omero.SecurityViolation):
        admin.changePassword(rstring("new"))
    with pytest.raises(omero.SecurityViolation):
        sessions.createUserSession(0, 60_000, None)
    with pytest.raises(omero.SecurityViolation):
        session.setSecurityPassword("wrong")
    session.setSecurityPassword(PASSWORD)
    admin.changePassword(rstring("new"))
    assert sessions.createUserSession(0, 60_000, None).uuid.val
    joined.closeSession()


def test_who_is_taken_out_of_the_group_of_all_users_may_do_nothing(lab: Lab) -> None:
    person, everybody = lab.member(), group(1)
    admin_of(lab.root()).removeGroups(user(person), [everybody])
    session = person.client().sf
    assert session.getAdminService().getEventContext().userId == person.ident
    for refused in (
        lambda: session.getQueryService().find("Image", -1),
        lambda: session.getUpdateService().saveObject(model.TagAnnotationI()),
        lambda: session.createRawFileStore().setFileId(1),
    ):
        with pytest.raises(omero.SecurityViolation):
            refused()
    admin_of(lab.root()).addGroups(user(person), [everybody])
    assert session.getQueryService().find("Image", -1) is None


@pytest.mark.parametrize("password", [None, rstring(""), rstring(" ")])
def test_no_password_locks_an_account(endpoint: Endpoint, lab: Lab, password: Any) -> None:
    person = lab.member()
    admin = admin_of(person)
    admin.changePassword(password)
    with pytest.raises(omero.SecurityViolation):
        admin.changePasswordWithOldPassword(rstring(PASSWORD), rstring("new"))
    with pytest.raises(omero.ApiUsageException):
        admin.changePasswordWithOldPassword(None, rstring("new"))
    for text in (PASSWORD, " "):
        client = omero.client(host=endpoint.host, port=endpoint.port)
        with pytest.raises(Glacier2.PermissionDeniedException):
            client.createSession(person.name, text)
        client.__del__()  # closes the client, not a session
    admin_of(lab.root()).changeUserPassword(person.name, rstring("again"))
    again = omero.client(host=endpoint.host, port=endpoint.port)
    again.createSession(person.name, "again")
    again.closeSession()


def test_groups_are_renamed_and_opened_by_those_who_lead_them(lab: Lab) -> None:
    admin = admin_of(lab.root())
    found = admin.getGroup(lab.group)
    found.name = rstring(lab.name + "-renamed")
    found.details.permissions = model.PermissionsI("rwrw--")
    admin.updateGroup(found)
    changed = admin.lookupGroup(lab.name + "-renamed")
    assert str(changed.details.permissions) == "rwrw--"
    system = admin.getGroup(0)
    system.name = rstring("other")
    with pytest.raises(omero.ValidationException):
        admin.updateGroup(system)


def test_only_who_never_did_anything_can_be_deleted(lab: Lab) -> None:
    admin = admin_of(lab.root())
    fresh, busy = lab.member("fresh"), lab.member("busy")
    busy.client()
    admin.deleteExperimenter(user(fresh))
    with pytest.raises(omero.ApiUsageException):
        admin.lookupExperimenter(fresh.name)
    with pytest.raises(omero.ValidationException):
        admin.deleteExperimenter(user(busy))


def test_a_second_group_of_a_name_and_a_second_user_of_a_name_are_refused(lab: Lab) -> None:
    admin = admin_of(lab.root())
    again = model.ExperimenterGroupI()
    again.name, again.ldap = rstring(lab.name), rbool(False)
    with pytest.raises(omero.ValidationException):
        admin.createGroup(again)
    person = model.ExperimenterI()
    person.omeName, person.firstName, person.lastName = rstring(lab.member().name), rstring("x"), rstring("y")
    person.ldap = rbool(False)
    with pytest.raises(omero.ValidationException):
        admin.createUser(person, lab.name)


def test_a_photo_is_the_users_own(lab: Lab) -> None:
    alice, bob = lab.member("alice"), lab.member("bob")
    ident = admin_of(alice).uploadMyUserPhoto("me.png", "image/png", b"PNG")
    assert [f.id.val for f in admin_of(alice).getMyUserPhotos()] == [ident]
    assert admin_of(bob).getMyUserPhotos() == []
    store = alice.client().getSession().createRawFileStore()
    store.setFileId(ident, {"omero.group": "-1"})
    assert store.read(0, 3) == b"PNG"
    store.close()
