"""What lies in deploy/ is what the program understands: settings, commands, files, options."""

from __future__ import annotations

import json
import re
import shlex
from configparser import RawConfigParser
from fnmatch import fnmatch
from pathlib import Path

import click
import pytest
import yaml

from omero_pixclf.cli import cli
from omero_pixclf.config import load_recipe, parse_size
from omero_pixclf.watch.settings import load_recipes, load_settings

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"
UNIT = DEPLOY / "omero-pixclf-watch.service"
COMPOSE = yaml.safe_load((DEPLOY / "compose.yml").read_text(encoding="utf-8"))
WATCHERS = sorted(DEPLOY.rglob("watch.toml"))
RECIPES = sorted(set(DEPLOY.rglob("*.toml")) - set(WATCHERS))


def accept(words: list[str], folder: Path) -> click.Context:
    """Let the program's own parser take a command; files named by absolute paths are looked up in ``folder``."""
    command: click.Command = cli
    while isinstance(command, click.Group):
        found = command.get_command(click.Context(command), words[0])
        assert found is not None, f"{words[0]}: no such command"
        command, words = found, words[1:]
    return command.make_context("deploy", [str(folder / Path(w).name) if w.startswith("/etc/") else w for w in words])


def unit() -> RawConfigParser:
    parser = RawConfigParser(strict=False)  # keys may come several times
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read_string(UNIT.read_text(encoding="utf-8"))
    return parser


def seconds(text: str) -> float:
    number, kind = re.fullmatch(r"(\d+)(s|min|m)?", text).groups()  # type: ignore[union-attr]
    return float(number) * (60 if kind in ("m", "min") else 1)


@pytest.mark.parametrize("path", RECIPES, ids=lambda p: str(p.relative_to(DEPLOY)))
def test_recipes_are_recipes(path: Path) -> None:
    assert load_recipe(path, {}).title == path.stem


@pytest.mark.parametrize("path", WATCHERS, ids=lambda p: str(p.relative_to(DEPLOY)))
def test_watcher_settings_load_with_their_recipes(path: Path) -> None:
    settings = load_settings(path)
    assert set(settings.recipes) <= set(load_recipes(settings))
    assert settings.service.memory is not None
    assert settings.server.password_file is not None


def test_there_are_examples_of_both() -> None:
    assert len(WATCHERS) == 2
    assert len(RECIPES) == 2


def test_the_unit_starts_a_command_that_exists_with_its_own_settings() -> None:
    program, *words = shlex.split(unit()["Service"]["ExecStart"])
    assert Path(program).name == "omero-pixclf"
    accept(words, DEPLOY / "settings")


def test_the_unit_leaves_the_watcher_its_grace_and_its_memory() -> None:
    service, settings = unit()["Service"], load_settings(DEPLOY / "settings" / "watch.toml").service
    assert seconds(service["TimeoutStopSec"]) > settings.grace
    assert parse_size(service["MemoryMax"]) > parse_size(settings.memory or "")
    assert service["Type"] == "notify"


def test_the_unit_writes_only_where_its_state_is() -> None:
    service = unit()["Service"]
    assert service["ProtectSystem"] == "strict"
    lines = re.findall(r"^Environment=(.*)$", UNIT.read_text(encoding="utf-8"), re.MULTILINE)
    places = dict(pair.split("=", 1) for line in lines for pair in shlex.split(line))
    state = f"/var/lib/{service['StateDirectory']}/"
    assert places["OMERO_PIXCLF_STATE"].startswith(state)
    assert places["OMERO_USERDIR"].startswith(state)


def stages() -> list[str]:
    return re.split(r"^FROM ", (DEPLOY / "Dockerfile").read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]


def copied() -> list[str]:
    """What the image is built from, out of the repository."""
    lines = [line for stage in stages() for line in stage.splitlines() if line.startswith("COPY")]
    words = [[w for w in line.split()[1:] if not w.startswith("--")] for line in lines if "--from=" not in line]
    return [source for line in words for source in line[:-1]]


def test_the_image_is_built_from_files_that_exist_and_that_the_build_may_see() -> None:
    assert copied()
    allowed = [
        line[1:]
        for line in (DEPLOY / "Dockerfile.dockerignore").read_text(encoding="utf-8").splitlines()
        if line.startswith("!")
    ]
    for source in copied():
        assert (ROOT / source).exists(), source
        assert any(fnmatch(source, pattern) for pattern in allowed), f"{source}: hidden by Dockerfile.dockerignore"


def test_the_image_has_all_that_the_package_is_made_of() -> None:
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    named = re.findall(r'^(?:readme = |license-files = \[)"([^"]+)"', project, re.MULTILINE)
    named += re.findall(r'"share/[^"]+" = \["([^"]+)"\]', project)
    assert len(named) == 3
    for name in named:
        assert any(name == source or name.startswith(f"{source}/") for source in copied()), name


def test_every_stage_that_runs_is_a_plain_users() -> None:
    first, program, *others = stages()
    assert "USER 10001:10001" in program
    assert all(stage.startswith("program") and "USER" not in stage for stage in others)
    assert "--from=build" in program
    assert "g++" in first
    assert "g++" not in program


def test_compose_has_the_four_services_with_health_checks() -> None:
    services = COMPOSE["services"]
    assert set(services) == {"database", "omeroserver", "omeroweb", "watcher"}
    for name, service in services.items():
        assert service["healthcheck"]["test"], name


def test_compose_keeps_every_password_in_a_file() -> None:
    for name, service in COMPOSE["services"].items():
        for key in service.get("environment", {}):
            assert not re.search(r"pass|token", key, re.IGNORECASE) or key.endswith("_FILE"), f"{name}: {key}"
        assert set(service.get("secrets", [])) <= set(COMPOSE["secrets"]), name
    assert all(set(secret) == {"file"} for secret in COMPOSE["secrets"].values())


def test_the_watchers_container_is_confined_and_runs_commands_that_exist() -> None:
    watcher = COMPOSE["services"]["watcher"]
    assert watcher["read_only"] is True
    assert watcher["cap_drop"] == ["ALL"]
    settings = DEPLOY / "settings" / "compose"
    assert f"./{settings.relative_to(DEPLOY)}:/etc/omero_pixclf:ro" in watcher["volumes"]
    assert (DEPLOY / watcher["build"]["context"] / watcher["build"]["dockerfile"]).resolve() == DEPLOY / "Dockerfile"
    for words in (watcher["command"], watcher["healthcheck"]["test"][1:]):
        assert words[0] == "omero-pixclf"
        accept(words[1:], settings)


def test_the_watchers_container_and_its_settings_fit() -> None:
    watcher = COMPOSE["services"]["watcher"]
    settings = load_settings(DEPLOY / "settings" / "compose" / "watch.toml")
    assert settings.server.host in COMPOSE["services"]
    for file in (settings.server.password_file, settings.status.token_file):
        assert file is not None
        assert file.parts[1:3] == ("run", "secrets")
        assert file.name in watcher["secrets"]
    assert [f"127.0.0.1:{settings.status.port}:{settings.status.port}"] == watcher["ports"]
    assert seconds(watcher["stop_grace_period"]) > settings.service.grace
    assert parse_size(watcher["mem_limit"]) > parse_size(settings.service.memory or "")


def test_biomeros_descriptor_names_the_parameters_that_its_script_takes() -> None:
    content = json.loads((DEPLOY / "biomero" / "descriptor.json").read_text(encoding="utf-8"))
    script = (DEPLOY / "biomero" / "run.sh").read_text(encoding="utf-8")
    assert content["schema-version"] == "cytomine-0.1"
    for given in content["inputs"]:
        flag = given["command-line-flag"].replace("@id", given["id"])
        assert re.search(rf"{flag}\b.*\)", script), f"{flag}: not taken by run.sh"
        assert given["id"].upper() in content["command-line"].split()
