"""``omero pixclf``: the unmodified command line of omero-py with our plug-in, after ``omero login``."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from omero_pixclf.demo.images import plate_field
from tests.e2e.conftest import PASSWORD, PROGRAM, Omero

DEMO = Path(__file__).resolve().parents[2] / "omero_pixclf" / "demo"
# What bin/omero does, but for its refusal to run as the superuser, who runs tests in containers.
OMERO = [sys.executable, "-c", "import sys; from omero.cli import argv; sys.exit(argv(['omero', *sys.argv[1:]]))"]


@dataclass(frozen=True)
class Shell:
    """A shell of a user who has nothing but PYTHONPATH set, and sessions in a home of their own."""

    environment: dict[str, str]

    def omero(self, *arguments: str, code: int = 0, **more: str) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [*OMERO, *arguments], env={**self.environment, **more}, capture_output=True, text=True, timeout=200,
            check=False, stdin=subprocess.DEVNULL,
        )  # fmt: skip
        assert done.returncode == code, f"{arguments}: exit {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    folder = tmp_path / "plugins"
    done = subprocess.run(
        [str(PROGRAM), "plugin", "install", "--folder", str(folder)], capture_output=True, text=True, check=True
    )
    assert str(folder) in done.stdout
    kept = {k: v for k, v in os.environ.items() if not k.startswith("OMERO_")}
    state = {"OMERO_PIXCLF_STATE": str(tmp_path / "runs"), "OMERO_USERDIR": str(tmp_path / "user")}
    return Shell({**kept, **state, "HOME": str(tmp_path), "PYTHONPATH": str(folder)})


@pytest.fixture
def dataset(omero: Omero, tmp_path: Path) -> tuple[str, str]:
    """A dataset with one field, and its image."""
    name = f"for omero pixclf {tmp_path.name}"
    np.save(tmp_path / "field.npy", plate_field("A2", 3).pixels)
    put = omero.command("embedded", "import", str(tmp_path / "field.npy"), "--dataset", name, "--axes", "tzyxc")
    image = put.stdout.split("\t")[0]
    return name, image


def test_after_omero_login_the_commands_work_with_its_session(
    shell: Shell, omero: Omero, dataset: tuple[str, str], second_client: Any
) -> None:
    _, image = dataset
    server = ["-s", omero.host, "-p", str(omero.port), "-u", "root"]
    shell.omero("login", *server, OMERO_PASSWORD=PASSWORD)
    run = [image, "--project", str(DEMO / "plate.ilp"), "--min-size", "40"]
    checked = shell.omero("pixclf", "check", *run)
    assert image in checked.stdout and "Using session" in checked.stderr
    done = shell.omero("pixclf", "run", *run, "--json")
    events = [json.loads(line) for line in done.stdout.splitlines()]
    count = events[1]["objects"]["Nucleus"]
    found = second_client.getRoiService().findByImage(int(image.partition(":")[2]), None)
    assert len(found.rois) == count > 0

    run_id = events[0]["run"]
    assert run_id in shell.omero("pixclf", "runs", "list").stdout
    assert re.search(rf"Roi\D+{count}|{count}\D+Roi", shell.omero("pixclf", "undo", run_id, "--yes").stdout)
    shell.omero("sessions", "list")  # the session stands as before
    assert image in shell.omero("pixclf", "check", *run).stdout
    shell.omero("logout")


def test_login_options_before_the_command_log_in(shell: Shell, omero: Omero, dataset: tuple[str, str]) -> None:
    server = ["-s", omero.host, "-p", str(omero.port), "-u", "root", "-w", PASSWORD]
    done = shell.omero("pixclf", *server, "check", dataset[1], "--project", str(DEMO / "plate.ilp"))
    assert dataset[1] in done.stdout


def test_exit_codes_and_messages_are_those_of_the_program(shell: Shell, omero: Omero) -> None:
    shell.omero("login", "-s", omero.host, "-p", str(omero.port), "-u", "root", OMERO_PASSWORD=PASSWORD)
    missing = shell.omero("pixclf", "check", "Image:99999999", "--project", str(DEMO / "plate.ilp"), code=2)
    assert "Image:99999999" in missing.stderr and "Traceback" not in missing.stderr
    assert "nowhere.ilp" in shell.omero("pixclf", "check", "Image:1", "--project", "x/nowhere.ilp", code=2).stderr


def test_help_and_local_commands_ask_for_no_session(shell: Shell) -> None:
    assert "omero login" in shell.omero("pixclf", "-h").stdout
    assert "--threshold" in shell.omero("pixclf", "run", "--help").stdout
    assert "predict" in shell.omero("pixclf").stdout
    assert "export_source" in shell.omero("pixclf", "predict", "--help").stdout


def test_the_plugin_is_shown_removed_and_its_remains_do_no_harm(tmp_path: Path) -> None:
    folder = ["--folder", str(tmp_path)]

    def plugin(word: str, code: int = 0) -> str:
        done = subprocess.run([str(PROGRAM), "plugin", word, *folder], capture_output=True, text=True, check=False)
        assert done.returncode == code, done.stderr
        return done.stdout

    assert "not installed" in plugin("show")
    plugin("install")
    assert "not installed" not in plugin("show")
    text = (tmp_path / "omero" / "plugins" / "pixclf.py").read_text()
    blocked = f"import sys; sys.modules['omero_pixclf'] = None\nexec({text!r}, {{}})"
    assert subprocess.run([sys.executable, "-c", blocked], check=False).returncode == 0
    plugin("remove")
    plugin("remove", code=2)
