"""What the doctor makes of what it finds."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from omero_pixclf.cli.check_result import CheckResult
from omero_pixclf.cli.doctor import doctor_exit_code
from omero_pixclf.cli.doctor_machine import (
    LOW_MEMORY,
    check_folder,
    check_kernels,
    check_memory,
    check_processors,
    check_python,
    check_sessions,
)
from omero_pixclf.cli.doctor_server import check_reachable, explain_permissions


@pytest.mark.parametrize(
    ("version", "state"), [((3, 9), "warning"), ((3, 10), "ok"), ((3, 13), "ok"), ((3, 14), "warning")]
)
def test_pythons_outside_the_tested_range_are_a_warning(version: tuple[int, int], state: str) -> None:
    assert check_python(version).state == state


def test_missing_kernels_are_a_warning_with_its_reason() -> None:
    assert check_kernels(True, {}).state == "ok"
    assert "compiler" in check_kernels(False, {}).advice
    assert check_kernels(False, {"OMERO_PIXCLF_PURE": "1"}).advice == "unset it"


def test_a_container_with_fewer_processors_than_it_sees_is_told_how_many_threads() -> None:
    assert check_processors(4, "max 100000").state == "ok"
    assert check_processors(4, "").state == "ok"
    assert check_processors(4, "400000 100000").state == "ok"
    limited = check_processors(4, "50000 100000")
    assert (limited.state, limited.advice) == ("warning", "use --threads 1")


def test_little_memory_is_a_warning_that_names_a_bound() -> None:
    assert check_memory(LOW_MEMORY).state == "ok"
    assert check_memory(None).state == "ok"
    little = check_memory(LOW_MEMORY // 2)
    assert (little.state, little.advice.split(":")[0]) == ("warning", "use --memory 256M")


def test_a_folder_that_is_not_there_yet_is_judged_by_where_it_would_be(tmp_path: Path) -> None:
    assert check_folder("runs", tmp_path / "a" / "b", "").state in ("ok", "warning")
    (tmp_path / "file").touch()
    assert check_folder("runs", tmp_path / "file" / "b", "elsewhere").state == "fail"


def test_sessions_that_others_can_look_into_are_a_warning(tmp_path: Path) -> None:
    folder = tmp_path / "sessions"
    assert check_sessions(folder).state == "ok"
    folder.mkdir(mode=0o700)
    assert check_sessions(folder).state == "ok"


def test_an_address_without_port_is_omeros(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def refuse(address: tuple[str, int], timeout: float) -> None:
        asked.append(address)
        raise ConnectionRefusedError(111, os.strerror(111))

    monkeypatch.setattr("socket.create_connection", refuse)
    for host, port in (("omero", None), ("omero", 14064), ("wss://omero/path", None), ("wss://omero:8443", None)):
        assert check_reachable(host, port).state == "fail"
    assert asked == [("omero", 4064), ("omero", 14064), ("omero", 443), ("omero", 8443)]


@pytest.mark.parametrize(
    ("level", "own", "state", "part"),
    [
        ("rw----", False, "warning", "only on your own"),
        ("rw----", True, "ok", "only on your own"),
        ("rwr---", False, "warning", "only on your own"),
        ("rwr---", True, "ok", "all members'"),
        ("rwra--", False, "ok", "all members'"),
        ("rwrw--", False, "ok", "all members'"),
    ],
)
def test_a_groups_level_is_told_by_what_it_means(level: str, own: bool, state: str, part: str) -> None:
    found = explain_permissions("lab", level, is_leader=own, is_current=True)
    assert found.state == state
    assert part in found.found


def test_this_machines_failures_count_before_the_servers() -> None:
    ok, warning, fail = CheckResult("a", "ok", ""), CheckResult("b", "warning", ""), CheckResult("c", "fail", "")
    assert doctor_exit_code([ok, warning], [warning]) == 0
    assert doctor_exit_code([fail], [ok]) == 1
    assert doctor_exit_code([ok], [fail]) == 3
    assert doctor_exit_code([fail], [fail]) == 1
