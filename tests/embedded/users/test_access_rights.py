"""Group levels: who may do what to whose objects."""

from __future__ import annotations

import pytest
from omero.model import PermissionsI

from omero_pixclf.embedded.users.access_rights import Caller, GroupLevel, make_permissions

GROUP, OWNER, COLLEAGUE = 3, 5, 6


def caller(user: int, *, leads: bool = False, admin: bool = False, level: str = "rw----") -> Caller:
    readable = frozenset({GROUP}) if GroupLevel(PermissionsI(level)._perm1).is_readable else frozenset()
    leader = frozenset({GROUP}) if leads else frozenset()
    return Caller(user, "", GROUP, admin, frozenset({GROUP}), leader, readable)


def rights(who: Caller, level: str) -> set[str]:
    found = who.rights(OWNER, GROUP, GroupLevel(PermissionsI(level)._perm1))
    return {name for name in ("link", "edit", "delete", "annotate") if getattr(found, name)}


EVERYTHING = {"link", "edit", "delete", "annotate"}


@pytest.mark.parametrize("level", ["rw----", "rwr---", "rwra--", "rwrw--"])
def test_owners_may_do_everything(level: str) -> None:
    assert rights(caller(OWNER, level=level), level) == EVERYTHING


@pytest.mark.parametrize(
    ("level", "expected"),
    [("rw----", set()), ("rwr---", set()), ("rwra--", {"annotate"}), ("rwrw--", EVERYTHING)],
)
def test_colleagues_may_do_what_the_level_says(level: str, expected: set[str]) -> None:
    assert rights(caller(COLLEAGUE, level=level), level) == expected


@pytest.mark.parametrize("who", [{"leads": True}, {"admin": True}])
def test_leaders_and_administrators_neither_annotate_nor_link_in_private_groups(who: dict[str, bool]) -> None:
    assert rights(caller(COLLEAGUE, **who), "rw----") == {"edit", "delete"}
    assert rights(caller(COLLEAGUE, **who), "rwr---") == EVERYTHING


@pytest.mark.parametrize(
    ("level", "leads", "seen"),
    [("rw----", False, False), ("rw----", True, True), ("rwr---", False, True)],
)
def test_reading_a_colleagues_object(level: str, leads: bool, seen: bool) -> None:
    assert caller(COLLEAGUE, leads=leads, level=level).may_read(OWNER, GROUP) is seen


def test_other_groups_are_out_of_sight_unless_the_request_spans_all() -> None:
    who = caller(OWNER)
    assert not who.may_read(OWNER, GROUP + 1)
    everywhere = Caller(OWNER, "", None, False, who.member_of, who.leader_of, who.readable_groups)
    assert everywhere.may_read(OWNER, GROUP + 1)
    assert not everywhere.may_read(COLLEAGUE, GROUP + 1)


def test_permissions_tell_clients_what_is_denied() -> None:
    level = GroupLevel(PermissionsI("rwra--")._perm1)
    made = make_permissions(level.perm1, caller(COLLEAGUE, level="rwra--").rights(OWNER, GROUP, level))
    assert (made.canAnnotate(), made.canEdit(), made.canLink(), made.canDelete()) == (True, False, False, False)
    assert str(made) == "rwra--"
