"""What makes two runs the same: every option of ``run`` changes the recipe's hash, or has a reason why it need not."""

from __future__ import annotations

import hashlib
import json
import typing
from dataclasses import fields, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Literal

import click
import pytest
from click.testing import CliRunner
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from omero_pixclf.app.request import RunRequest, results_state_folder
from omero_pixclf.cli import cli
from omero_pixclf.cli.options import SECTIONS, SERVER_NAMES, pop_recipe
from omero_pixclf.cli.run import ALLOWED_WITH_RESUME, check, run
from omero_pixclf.config import RESULT_VERSION, Recipe, load_recipe
from omero_pixclf.errors import PixclfError, UsageError
from omero_pixclf.runs.state.manifest import Manifest, RunHeader

RECIPE = load_recipe(None, {"classifier.project": "nuclei.ilp"})
PROJECT: Any = SimpleNamespace(sha256="ab" * 32)

NO_RESULT_KEYS = {
    "name": "says which results replace which, not what they are",
    "classifier.project": "where the .ilp is found; its bytes are in the hash",
}
NO_RESULT_OPTIONS = {
    "targets": "which images; the pixels of each are the other half of a run's identity",
    "recipe_file": "only another way to give the keys",
    "dry_run": "does nothing",
    "force": "repeats what is done, with the same results",
    "resume": "goes on with an earlier run; what would change that one is refused",
    "as_json": "how events are shown",
    "out": "where results go; each folder has its own ledger",
    "threads": "the engine gives the same bits however it is spread",
    "memory": "images in blocks give the same objects as whole ones",
    "workers": "who works",
    "dask": "who works",
    "shard": "which of the images",
    "mounted": "pixels that differ from the server's are not used",
    "direct_check": "how pixels are compared with the server's",
    **dict.fromkeys(SERVER_NAMES, "which server, as whom"),
}
NO_RESULT_FIELDS = {"targets", "force", "resume", "threads", "memory", "folder", "workers", "dask", "shard", "direct"}
KEYS = [(section, key) for section, model in SECTIONS.items() for key in model.model_fields]


def another(field: FieldInfo) -> Any:
    """A valid value of a key that is not its default."""
    options = [field.annotation, *typing.get_args(field.annotation)]
    literal = next((o for o in options if typing.get_origin(o) is Literal), None)
    if literal is not None:
        return next(value for value in typing.get_args(literal) if value != field.default)
    if field.annotation is bool:
        return not field.default
    if field.annotation is str:
        return "other"
    if field.annotation in (int, float) or int in options:
        bounds = [getattr(rule, "ge", getattr(rule, "gt", None)) for rule in field.metadata]
        low = next((b for b in bounds if b is not None), 0)
        return 1000 if field.annotation is not float else low + 0.25 + (0.25 if field.default == low + 0.25 else 0)
    return (1.0, 2.0, 3.0) if field.default == (0.0, 0.0, 0.0) else ("other",)


def changed(section: str, key: str) -> Recipe:
    model: type[BaseModel] = SECTIONS[section]
    value = another(model.model_fields[key])
    assert value != model.model_fields[key].default
    keys = {"classifier.project": "nuclei.ilp", "objects.method": "hysteresis"} if key in ("low", "high") else {}
    if key == "high":
        value = 0.9
    return load_recipe(None, {"classifier.project": "nuclei.ilp", **keys, f"{section}.{key}": value})


@pytest.mark.parametrize(("section", "key"), KEYS)
def test_every_key_of_a_recipe_is_in_the_hash_or_has_a_reason(section: str, key: str) -> None:
    base = load_recipe(None, {"classifier.project": "nuclei.ilp", "objects.method": "hysteresis"})
    before = base if key in ("low", "high") else RECIPE
    same = changed(section, key).hash("sha") == before.hash("sha")
    assert same == (f"{section}.{key}" in NO_RESULT_KEYS)


def test_a_recipe_has_no_keys_besides_its_sections_and_its_name() -> None:
    assert set(Recipe.model_fields) == {*SECTIONS, "name"}
    assert replace_name("other").hash("sha") == RECIPE.hash("sha")
    assert RECIPE.hash("sha") != RECIPE.hash("another project's bytes")


def replace_name(name: str) -> Recipe:
    return RECIPE.model_copy(update={"name": name})


@pytest.mark.parametrize("command", [run, check], ids=["run", "check"])
def test_every_option_changes_the_hash_or_is_listed_with_the_reason_why_not(command: click.Command) -> None:
    of_the_recipe = {f"{section}_{key}" for section, key in KEYS} | {"name"}
    for parameter in command.params:
        kinds = [parameter.name in of_the_recipe, parameter.name in NO_RESULT_OPTIONS, parameter.name == "axes"]
        assert sum(kinds) == 1, f"{parameter.name}: in the hash, or in the table with a reason?"


@pytest.mark.parametrize("field", [f.name for f in fields(RunRequest)])
def test_every_part_of_a_request_changes_the_hash_or_is_listed(field: str) -> None:
    request = RunRequest(("a",), RECIPE)
    if field not in NO_RESULT_FIELDS:
        other: dict[str, Any] = {"recipe": changed("objects", "threshold"), "axes": "tyx"}
        assert replace(request, **{field: other[field]}).recipe_hash(PROJECT) != request.recipe_hash(PROJECT)


def test_other_axes_are_another_run() -> None:
    hashes = {RunRequest(("a",), RECIPE, axes=axes).recipe_hash(PROJECT) for axes in (None, "tyx", "zyx", "cyx")}
    assert len(hashes) == 4


def test_hashes_of_earlier_versions_still_count() -> None:
    """Without --axes, results of versions that did not know it are the same run."""
    plain = load_recipe(
        None, {"classifier.project": "n.ilp", "objects.threshold": 0.6, "objects.label": ["a"], "output.rois": "mask"}
    )
    settings = plain.model_dump(mode="json")
    settings["classifier"].pop("project")
    settings.pop("name")
    content = {"project": "0" * 64, "version": RESULT_VERSION, **settings}
    assert plain.hash("0" * 64) == hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def resumable() -> list[str]:
    return [p.opts[0] for p in run.params if isinstance(p, click.Option) and p.name not in ALLOWED_WITH_RESUME]


VALUES = {"--smooth": ["1", "1", "1"], "--shard": ["1/2"], "--axes": ["tyx"], "--name": ["n"], "--project": ["n.ilp"]}


def words_for(flag: str, recipe: Path) -> list[str]:
    option = next(p for p in run.params if flag in p.opts)
    assert isinstance(option, click.Option)
    if option.is_flag:
        return [flag]
    if flag in ("-r", "--recipe"):
        return [flag, str(recipe)]
    if flag in VALUES:
        return [flag, *VALUES[flag]]
    return [flag, option.type.choices[0] if isinstance(option.type, click.Choice) else "1"]


@pytest.mark.parametrize("flag", resumable())
def test_what_a_resumed_run_would_not_follow_is_refused_by_name(flag: str, tmp_path: Path) -> None:
    recipe = tmp_path / "r.toml"
    recipe.write_text("")
    words = ["run", "--resume", "20261121T053012-ab12cd", "--out", str(tmp_path), *words_for(flag, recipe)]
    ended = CliRunner().invoke(cli, words)
    assert isinstance(ended.exception, UsageError), ended.output
    assert f"leave out {flag}" in str(ended.exception)


def test_the_axes_of_a_resumed_run_may_be_repeated_but_not_changed(tmp_path: Path) -> None:
    run_id = "20261121T053012-ab12cd"
    header = RunHeader(run_id, RECIPE.model_dump(mode="json"), "h", ("a",), str(tmp_path), "", "now", axes="tyx")
    with Manifest.create(results_state_folder(tmp_path) / run_id, header):
        pass
    said = {}
    for axes in ("zyx", "tyx"):
        ended = CliRunner().invoke(cli, ["run", "--resume", run_id, "--out", str(tmp_path), "--axes", axes])
        assert isinstance(ended.exception, PixclfError)
        said[axes] = str(ended.exception)
    assert "reads its files with axes tyx, not zyx" in said["zyx"]
    assert "nuclei.ilp" in said["tyx"]  # the next thing that is looked at


def test_targets_of_a_resumed_run_are_refused(tmp_path: Path) -> None:
    ended = CliRunner().invoke(cli, ["run", "in", "--resume", "20261121T053012-ab12cd", "--out", str(tmp_path)])
    assert "leave out TARGETS" in str(ended.exception)


def test_what_says_where_and_how_a_run_goes_on_is_not_refused(tmp_path: Path) -> None:
    words = ["--out", str(tmp_path), "--threads", "1", "--workers", "1", "--memory", "2G", "--json", "--dry-run"]
    ended = CliRunner().invoke(cli, ["run", "--resume", "20261121T053012-ab12cd", *words])
    assert "no such run" in str(ended.exception)


@pytest.mark.parametrize("command", ["run", "check"])
def test_axes_without_files_are_refused(command: str) -> None:
    ended = CliRunner().invoke(cli, [command, "Plate:1", "--project", "n.ilp", "--axes", "zyx"])
    assert isinstance(ended.exception, UsageError)
    assert "--axes is for image files" in str(ended.exception)


def test_options_of_a_recipe_are_its_keys() -> None:
    options = {p.name: None for p in run.params}
    made = pop_recipe(None, {**options, "classifier_project": "n.ilp", "objects_min_size": 7})
    assert made.objects.min_size == 7
