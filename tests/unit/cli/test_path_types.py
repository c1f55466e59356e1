"""``~`` stands for the home folder wherever a path is named, also where the shell leaves it in."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from omero_pixclf.cli import cli
from omero_pixclf.cli.path_types import UserPath, UserText
from omero_pixclf.config import load_recipe
from omero_pixclf.watch.settings import load_settings


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "home").mkdir()
    (tmp_path / "here").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path / "home"


def parameters(command: click.Command) -> Iterator[tuple[str, click.Parameter]]:
    context = click.Context(command)
    for parameter in command.get_params(context):
        yield f"{command.name} {parameter.name}", parameter
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            below = command.get_command(context, name)
            assert below is not None
            yield from parameters(below)


def test_every_path_on_the_command_line_knows_the_home_folder() -> None:
    paths = {name: p.type for name, p in parameters(cli) if isinstance(p.type, click.Path)}
    assert len(paths) >= 10
    assert [name for name, kind in paths.items() if not isinstance(kind, UserPath)] == []


@pytest.mark.parametrize("name", ["targets", "dask"])
def test_texts_that_may_be_paths_know_the_home_folder(home: Path, name: str) -> None:
    found = [(what, p) for what, p in parameters(cli) if p.name == name and not what.startswith("doctor ")]
    assert found
    for what, parameter in found:
        value = parameter.process_value(click.Context(cli), ["~/x"] if parameter.nargs == -1 else "~/x")
        assert str(home / "x") in (value, *value), what


def test_a_home_path_is_made_whole_but_a_file_of_that_very_name_stays(home: Path) -> None:
    kind = UserPath(path_type=Path)
    assert kind.convert("~/x", None, None) == home / "x"
    Path("~").mkdir()
    Path("~/x").touch()
    assert kind.convert("~/x", None, None) == Path("~/x")
    assert kind.convert("a~", None, None) == Path("a~")


def test_settings_and_recipes_know_the_home_folder(home: Path, tmp_path: Path) -> None:
    path = tmp_path / "watch.toml"
    path.write_text('[server]\npassword_file = "~/p"\n[recipes]\nn = "~/n.toml"\n'
                    '[[watches]]\nname = "b"\ntargets = ["Dataset:1"]\nrecipe = "~/o.toml"\n')  # fmt: skip
    found = load_settings(path)
    assert (found.server.password_file, found.recipes) == (home / "p", {"n": home / "n.toml"})
    assert found.watches[0].recipe == str(home / "o.toml")
    assert load_recipe(None, {"classifier.project": "~/a.ilp"}).classifier.project == str(home / "a.ilp")


NAMES = ("name", "user", "group", "server", "sudo", "dataset", "channels")


def test_every_name_on_the_command_line_is_read_as_text() -> None:
    recipe = ("classifier_", "objects_", "output_")
    named = {
        what: p.type
        for what, p in parameters(cli)
        if isinstance(p.type, click.types.StringParamType)
        and (p.name in NAMES or (not what.startswith("predict ") and str(p.name).startswith(recipe)))
        and p.name != "classifier_project"
    }
    assert {"run name", "run classifier_channels", "run objects_label", "predict channels"} <= set(named)
    assert [what for what, kind in named.items() if not isinstance(kind, UserText)] == []
