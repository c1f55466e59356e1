"""The OMERO.web script: put onto a server, and looked at there."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

import omero_pixclf
from omero_pixclf.cli.options import pop_login, server_options
from omero_pixclf.cli.output import json_option, tell
from omero_pixclf.direct.mounts import parse_mount
from omero_pixclf.errors import MissingError, UsageError
from omero_pixclf.omero_script.slots import AT_ONCE

__all__ = ["script", "script_text"]

NAME = "Pixel_Classification.py"
FOLDER = "omero_pixclf"
_PYTHON, _DIRECT, _AT_ONCE = 'PYTHON = ""', "DIRECT = ()", "AT_ONCE = 2"


@click.group(
    epilog="""\b
Examples:
  omero-pixclf script install -s root@omero.example.org
  omero-pixclf script install --python /opt/omero_pixclf/bin/python
  omero-pixclf script show
  omero-pixclf script show --text > Pixel_Classification.py
"""
)
def script() -> None:
    """The script in OMERO.web's menu."""


def place_options(command: Any) -> Any:
    """Where on the server, for whom, and what it is to know of the machine that it runs on."""
    options = [
        click.option(
            "--folder", default=FOLDER, show_default=True, help="Its folder, the entry in the menu of scripts."
        ),
        click.option("--own", is_flag=True, help="As your own script, which `omero script serve` runs; not for all."),
        click.option(
            "--python",
            metavar="PATH",
            default="",
            help="The Python that omero_pixclf is installed in, on the machine of the server's processor; needed where "
            "that is not the processor's own.",
        ),
        click.option(
            "--direct",
            metavar="[SERVER_PATH=]PATH",
            multiple=True,
            help="Where the server's storage lies on that machine, so that the script reads pixels from its files, as "
            "`omero-pixclf run --direct` does. Repeatable.",
        ),
        click.option(
            "--at-once",
            type=click.IntRange(1),
            default=AT_ONCE,
            show_default=True,
            help="How many of these scripts may work at the same time on that machine; further ones wait.",
        ),
    ]
    for option in reversed(options):
        command = option(command)
    return command


def script_text(python: str = "", direct: Sequence[str] = (), at_once: int = AT_ONCE) -> str:
    """The script as it goes to the server.

    ``python`` is the one to run it with, where the processor's cannot; ``direct`` where storage is mounted there;
    ``at_once`` how many may work at the same time.

    Raises
    ------
    MissingError
        Where this installation has no script.
    UsageError
        For a path that cannot be written into it.
    """
    paths = {"--python": [python] if python else [], "--direct": [entry.rpartition("=")[2] for entry in direct]}
    for option, path in ((option, path) for option, listed in paths.items() for path in listed):
        if not Path(path).is_absolute() or not path.isprintable():
            raise UsageError(f"{option} {path}: give the whole path, as it is on the machine of the server's processor")
    for entry in direct:
        parse_mount(entry)
    text = _script_file().read_text(encoding="utf-8")
    assert text.count(_PYTHON) == text.count(_DIRECT) == text.count(_AT_ONCE) == 1
    told = text.replace(_PYTHON, f"PYTHON = {python!r}") if python else text
    return told.replace(_DIRECT, f"DIRECT = {tuple(direct)!r}").replace(_AT_ONCE, f"AT_ONCE = {at_once}")


def _script_file() -> Path:
    """In a checkout beside the package, else where the package's files were installed."""
    beside = Path(omero_pixclf.__file__).resolve().parents[1] / "scripts" / NAME
    if beside.is_file():
        return beside
    for file in importlib.metadata.files("omero_pixclf") or []:
        if file.name == NAME:
            return Path(str(file.locate())).resolve()
    raise MissingError(f"{NAME} is not part of this installation of omero_pixclf")


@script.command(
    epilog="""\b
Examples:
  omero-pixclf script install -s root@omero.example.org
  omero-pixclf script install --python /opt/omero_pixclf/bin/python
  omero-pixclf script install --direct /OMERO
  omero-pixclf script install --own
"""
)
@place_options
@json_option
@server_options
def install(
    folder: str, own: bool, python: str, direct: tuple[str, ...], at_once: int, machine: bool, **options: Any
) -> None:
    """Put the script onto the server, or bring it up to date there."""
    from omero_pixclf.app.runs import open_session
    from omero_pixclf.connector.scripts import install_script

    text = script_text(python, direct, at_once)
    with open_session(pop_login(options)) as session:
        done = install_script(session, f"{folder.strip('/')}/{NAME}", text, official=not own)
    text = f"{done.path}: {done.change} (script {done.ident})"
    tell(machine, text, path=done.path, change=done.change, script=done.ident)
    if own and not machine:
        click.echo("it runs while you have a processor of your own: omero script serve user")


@script.command(
    short_help="Whether it stands there, and its form as you see it.",
    epilog="""\b
Examples:
  omero-pixclf script show -s root@omero.example.org
  omero-pixclf script show --text > Pixel_Classification.py
""",
)
@place_options
@click.option("--text", is_flag=True, help="Only write the script's text, for a server's lib/scripts folder.")
@json_option
@server_options
def show(
    folder: str,
    own: bool,
    python: str,
    direct: tuple[str, ...],
    at_once: int,
    text: bool,
    machine: bool,
    **options: Any,
) -> None:
    """Show whether the script stands on the server, and its parameters as you would see them."""
    if text and machine:
        raise UsageError("--text writes the script itself, --json facts about it: choose one of the two")
    if text:
        click.echo(script_text(python, direct, at_once), nl=False)
        return
    from omero_pixclf.app.runs import open_session
    from omero_pixclf.connector.scripts import find_script, script_parameters

    path = f"{folder.strip('/')}/{NAME}"
    with open_session(pop_login(options)) as session:
        found = find_script(session, path, official=not own)
        if found is None:
            raise MissingError(f"{path}: not on {session.host}; put it there with: omero-pixclf script install")
        parameters = script_parameters(session, found.ident)
    same = found.text == script_text(python, direct, at_once)
    state = "as here" if same else "another version, Python or storage than here"
    tell(machine, f"{path}: script {found.ident}, {state}", path=path, script=found.ident, same=same)
    for p in parameters:
        values = f" [{', '.join(map(str, p.values))}]" if p.values else ""
        default = "" if p.default is None else f" = {p.default}"
        tell(machine, f"  {p.name}{default}{values}", parameter=p.name, default=p.default, values=list(p.values))
