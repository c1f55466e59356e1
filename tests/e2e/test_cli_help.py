"""Every command's help has examples that its own parser accepts, fits a terminal, and can be completed by a shell."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from omero_pixclf.cli import COMMANDS, cli
from tests.e2e.conftest import PROGRAM

WIDTH = 80
FOLDERS = ("my-omero", "results")


def commands(command: click.Command, words: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """Every command and sub-command with the words that name it."""
    yield words, command
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            below = command.get_command(context, name)
            assert below is not None, f"{' '.join((*words, name))} is listed and does not exist"
            yield from commands(below, (*words, name))


ALL = dict(commands(cli))
each = pytest.mark.parametrize("words", ALL, ids=lambda words: "-".join(words) or "overview")


def help_text(words: tuple[str, ...]) -> str:
    """What ``--help`` shows on a terminal of 80 columns."""
    name = " ".join(("omero-pixclf", *words))
    return ALL[words].get_help(click.Context(ALL[words], info_name=name, terminal_width=WIDTH, max_content_width=WIDTH))


def examples(words: tuple[str, ...]) -> list[list[str]]:
    """The examples in a command's help, split as a shell would: without what follows after three blanks, or ``>``."""
    lines = help_text(words).partition("Examples:\n")[2].partition("\n\n")[0].replace("\\\n", "").splitlines()
    told = (line.strip().partition("   ")[0] if "   --" not in line else line.strip() for line in lines)
    return [shlex.split(line.partition(">")[0]) for line in told]


def of_ours(words: list[str]) -> list[str] | None:
    """An example's words after ``omero-pixclf`` or ``omero pixclf``; None for other programs."""
    if words[0] == "omero-pixclf":
        return words[1:]
    return words[2:] if words[:2] == ["omero", "pixclf"] else None


@each
def test_help_fits_eighty_columns(words: tuple[str, ...]) -> None:
    assert [line for line in help_text(words).splitlines() if len(line) > WIDTH] == []


@each
def test_no_line_of_an_overview_is_cut_off(words: tuple[str, ...]) -> None:
    listed = help_text(words).partition("Commands:\n")[2].partition("\n\n")[0].splitlines()
    assert bool(listed) == isinstance(ALL[words], click.Group)
    assert [line for line in listed if line.endswith("...")] == []


@each
def test_no_option_is_left_out_of_the_help(words: tuple[str, ...]) -> None:
    text = help_text(words)
    for parameter in ALL[words].params:
        if isinstance(parameter, click.Option) and not parameter.hidden:
            assert any(name in text for name in parameter.opts), parameter.name


@each
def test_every_command_speaks_to_machines(words: tuple[str, ...]) -> None:
    if isinstance(ALL[words], click.Group):
        return
    assert "--json" in {name for parameter in ALL[words].params for name in parameter.opts}


@each
def test_every_command_shows_itself_in_an_example(words: tuple[str, ...]) -> None:
    shown = [of_ours(example) for example in examples(words)]
    assert any(ours is not None and tuple(ours[: len(words)]) == words for ours in shown), help_text(words)


@each
def test_examples_are_accepted_by_the_commands_they_show(
    words: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for folder in FOLDERS:
        Path(folder).mkdir()
    tried = 0
    for example in examples(words):
        ours = of_ours(example)
        if ours is None:
            assert example[:2] in (["omero", "login"], ["export", "PYTHONPATH=~/omero-plugins"]), example
            continue
        parse([word.replace("*", "a") for word in ours])
        tried += 1
    assert tried


def parse(words: list[str]) -> None:
    """Let click parse and convert an example; files that it names are made first."""
    command: click.Command = cli
    while isinstance(command, click.Group) and words and not words[0].startswith("-"):
        found = command.get_command(click.Context(command), words[0])
        assert found is not None, words
        command, words = found, words[1:]
    if words in (["--help"], ["-h"]):
        return
    for file in (Path(word) for word in words if "." in word and not word.startswith("-")):
        if not file.is_absolute() and file.suffix in (".toml", ".tif", ".ilp", ".npy"):
            file.parent.mkdir(parents=True, exist_ok=True)
            file.touch()
    with command.make_context("example", list(words)):
        pass


def test_an_example_with_an_option_that_does_not_exist_is_noticed() -> None:
    with pytest.raises(click.NoSuchOption):
        parse(["run", "Plate:3", "--no-such-option"])
    with pytest.raises(click.BadParameter):
        parse(["run", "Plate:3", "--rois", "circles"])


def complete(shell: str, *words: str) -> subprocess.CompletedProcess[str]:
    """What click answers to a shell that asks how the last word goes on."""
    environment = {
        **os.environ,
        "_OMERO_PIXCLF_COMPLETE": f"{shell}_complete",
        "COMP_WORDS": shlex.join(("omero-pixclf", *words)),
        "COMP_CWORD": words[-1] if shell == "fish" else str(len(words)),
    }
    return subprocess.run([str(PROGRAM)], env=environment, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_each_shell_completes_commands_options_and_choices(shell: str) -> None:
    assert "doctor" in complete(shell, "do").stdout
    assert "--recipe" in complete(shell, "run", "--rec").stdout
    assert "polygon" in complete(shell, "run", "--rois", "pol").stdout


def test_commands_complete_to_all_that_there_are() -> None:
    offered = {line.partition(",")[2] for line in complete("bash", "").stdout.splitlines()}
    assert offered == set(COMMANDS)


@pytest.mark.skipif(shutil.which("bash") is None, reason="bash is not installed here")
def test_bash_takes_the_script_that_the_documentation_names() -> None:
    script = f"""
        PATH={shlex.quote(str(PROGRAM.parent))}:$PATH
        eval "$(_OMERO_PIXCLF_COMPLETE=bash_source omero-pixclf)"
        complete -p omero-pixclf
        COMP_WORDS=(omero-pixclf runs l); COMP_CWORD=2
        _omero_pixclf_completion omero-pixclf
        echo "offered: ${{COMPREPLY[*]}}"
    """
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, timeout=60, check=True)
    assert "_omero_pixclf_completion" in done.stdout
    assert "offered: list" in done.stdout
