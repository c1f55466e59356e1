"""`omero-pixclf doctor` as a user meets it: without a server, with one, and where something is wrong."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import PROGRAM, Omero


def doctor(environment: dict[str, str], *arguments: str) -> tuple[int, dict[str, list[dict[str, Any]]]]:
    """The exit code, and findings by what was looked at."""
    command = [str(PROGRAM), "doctor", "--json", *arguments]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
    found: dict[str, list[dict[str, Any]]] = {}
    for line in done.stdout.splitlines():
        found.setdefault(json.loads(line)["check"], []).append(json.loads(line))
    assert "Traceback" not in done.stderr, done.stderr
    return done.returncode, found


@pytest.fixture
def alone(tmp_path: Path) -> dict[str, str]:
    """An environment that knows no server."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("OMERO")}
    return {**kept, "HOME": str(tmp_path), "OMERO_PIXCLF_STATE": str(tmp_path / "runs")}


def test_without_a_server_this_machine_is_looked_at(alone: dict[str, str]) -> None:
    code, found = doctor(alone)
    assert code == 0
    assert found["server"][0]["state"] == "warning"
    assert "omero login" in found["server"][0]["advice"]
    assert f"Python {sys.version_info[0]}.{sys.version_info[1]}" in found["versions"][0]["found"]
    assert {"clients", "kernels", "compiler", "processors", "memory", "runs", "temporary"} <= set(found)
    assert "login" not in found


def test_rights_cannot_be_told_without_a_server(alone: dict[str, str]) -> None:
    code, found = doctor(alone, "Plate:3")
    assert code == 3
    assert found["server"][0]["state"] == "fail"


def test_offline_does_not_ask_about_a_server(alone: dict[str, str]) -> None:
    code, found = doctor(alone | {"OMERO_HOST": "127.0.0.1", "OMERO_PORT": "1"}, "--offline")
    assert code == 0
    assert "server" not in found


def test_a_server_that_is_not_there_is_exit_code_3(alone: dict[str, str]) -> None:
    code, found = doctor(alone | {"OMERO_PASSWORD": "x"}, "-s", "ada@127.0.0.1:1")
    assert code == 3
    assert found["server"][0]["state"] == "fail"
    assert "127.0.0.1:1" in found["server"][0]["found"]
    assert "login" not in found


def test_a_state_folder_that_cannot_be_made_is_exit_code_1(alone: dict[str, str], tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("not a folder")
    code, found = doctor(alone | {"OMERO_PIXCLF_STATE": str(file / "runs")})
    assert code == 1
    assert found["runs"][0]["state"] == "fail"
    assert "OMERO_PIXCLF_STATE" in found["runs"][0]["advice"]


def test_the_slow_path_is_named(alone: dict[str, str]) -> None:
    code, found = doctor(alone | {"OMERO_PIXCLF_PURE": "1"})
    assert code == 0
    assert found["kernels"][0]["state"] == "warning"


def test_a_server_is_logged_in_to_and_asked_about_rights(omero: Omero, second_client: Any) -> None:
    from omero.model import DatasetI
    from omero.rtypes import rstring

    dataset = DatasetI()
    dataset.name = rstring("doctor")
    number = second_client.getUpdateService().saveAndReturnObject(dataset).id.val
    code, found = doctor(omero.environment, f"Dataset:{number}")
    assert code == 0, found
    assert f"{omero.host}:{omero.port} answers" in found["server"][0]["found"]
    assert found["login"][0]["found"].startswith("root, an administrator on ")
    assert found["tables"][0]["state"] == "ok"
    assert found["rights"] == [
        {"check": "rights", "state": "ok", "found": f"Dataset:{number}: root may write results there", "advice": ""}
    ]
    assert any("group of this session" in one["found"] for one in found["group"])


def test_a_wrong_password_is_exit_code_3_and_is_not_shown(omero: Omero) -> None:
    code, found = doctor(omero.environment | {"OMERO_PASSWORD": "sesame-1"})
    assert code == 3
    assert found["login"][0]["state"] == "fail"
    assert "sesame-1" not in str(found)


def test_a_target_that_is_not_there_is_exit_code_3(omero: Omero) -> None:
    code, found = doctor(omero.environment, "Plate:987654")
    assert code == 3
    assert found["rights"][0]["state"] == "fail"


def test_people_see_states_findings_and_advice_without_colours_in_a_pipe(alone: dict[str, str]) -> None:
    done = subprocess.run([str(PROGRAM), "doctor"], env=alone, capture_output=True, text=True, timeout=60, check=True)
    assert "\x1b" not in done.stdout
    lines = done.stdout.splitlines()
    assert lines[0].startswith("ok       versions ")
    assert lines[-1].lstrip().startswith("→ omero login")
