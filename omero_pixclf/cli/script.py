"""``omero-pixclf script``: install the script of OMERO.web on a server, or show it."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

import omero_pixclf
from omero_pixclf.cli.options import pop_login, server_options
from omero_pixclf.cli.output import json_option, print_result
from omero_pixclf.direct.mounts import parse_mount
from omero_pixclf.errors import MissingError, UsageError
from omero_pixclf.omero_script.slots import DEFAULT_SLOTS

__all__ = ["FOLDER", "NAME", "install", "script", "script_options", "script_text", "show"]

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
    """Install or show the script in OMERO.web's menu, which runs classifiers from a form."""


def script_options(command: Any) -> Any:
    """Add the options for the script's place on the server and the machine that runs it."""
    options = [
        click.option(
            "--folder", default=FOLDER, show_default=True, help="Its folder on the server, an entry of the menu."
        ),
        click.option(
            "--own", is_flag=True, help="For you only, run by your own `omero script serve`; not for all users."
        ),
        click.option(
            "--python",
            metavar="PATH",
            default="",
            help="Python in which omero_pixclf is installed on the machine of the server's processor, if it is not the "
            "processor's own.",
        ),
        click.option(
            "--direct",
            metavar="[SERVER_PATH=]PATH",
            multiple=True,
            help="Mount point of the server's storage on that machine, to read pixels from its files as "
            "`omero-pixclf run --direct` does. Repeatable.",
        ),
        click.option(
            "--at-once",
            type=click.IntRange(1),
            default=DEFAULT_SLOTS,
            show_default=True,
            help="Maximum number of these scripts at the same time on that machine; others wait.",
        ),
    ]
    for option in reversed(options):
        command = option(command)
    return command


def script_text(python: str = "", direct: Sequence[str] = (), at_once: int = DEFAULT_SLOTS) -> str:
    """The text of the script for the server.

    Parameters
    ----------
    python
        Python to run it with, if not the processor's own.
    direct
        Mount points of the server's storage, as for ``run --direct``.
    at_once
        Maximum number of scripts at the same time.

    Raises
    ------
    MissingError
        This installation has no script.
    UsageError
        A path is not absolute, or has characters that cannot be printed.
    """
    paths = {"--python": [python] if python else [], "--direct": [entry.rpartition("=")[2] for entry in direct]}
    for option, path in ((option, path) for option, listed in paths.items() for path in listed):
        if not Path(path).is_absolute() or not path.isprintable():
            raise UsageError(f"{option} {path}: expected an absolute path on the machine of the server's processor")
    for entry in direct:
        parse_mount(entry)
    text = _script_file().read_text(encoding="utf-8")
    assert text.count(_PYTHON) == text.count(_DIRECT) == text.count(_AT_ONCE) == 1
    text = text.replace(_PYTHON, f"PYTHON = {python!r}") if python else text
    return text.replace(_DIRECT, f"DIRECT = {tuple(direct)!r}").replace(_AT_ONCE, f"AT_ONCE = {at_once}")


def _script_file() -> Path:
    """Find the script: next to the package in a checkout, otherwise among the package's installed files."""
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
@script_options
@json_option
@server_options
def install(
    folder: str, own: bool, python: str, direct: tuple[str, ...], at_once: int, as_json: bool, **options: Any
) -> None:
    """Install the script on the server, or update it there."""
    from omero_pixclf.app.backends import open_session
    from omero_pixclf.connector.scripts import install_script

    text = script_text(python, direct, at_once)
    with open_session(pop_login(options)) as session:
        done = install_script(session, f"{folder.strip('/')}/{NAME}", text, official=not own)
    text = f"{done.path}: {done.change} (script {done.ident})"
    print_result(as_json, text, path=done.path, change=done.change, script=done.ident)
    if own and not as_json:
        click.echo("it only runs while you run a processor of your own: omero script serve user")


@script.command(
    short_help="Show whether the script is installed, and its form.",
    epilog="""\b
Examples:
  omero-pixclf script show -s root@omero.example.org
  omero-pixclf script show --text > Pixel_Classification.py
""",
)
@script_options
@click.option("--text", is_flag=True, help="Only print the script's text, for a server's lib/scripts folder.")
@json_option
@server_options
def show(
    folder: str,
    own: bool,
    python: str,
    direct: tuple[str, ...],
    at_once: int,
    text: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Show whether the script is installed on the server, and the parameters of its form."""
    if text and as_json:
        raise UsageError("--text prints the script, --json information about it: give only one")
    if text:
        click.echo(script_text(python, direct, at_once), nl=False)
        return
    from omero_pixclf.app.backends import open_session
    from omero_pixclf.connector.scripts import find_script, script_parameters

    path = f"{folder.strip('/')}/{NAME}"
    with open_session(pop_login(options)) as session:
        found = find_script(session, path, official=not own)
        if found is None:
            raise MissingError(f"{path}: not on {session.host}; install it with: omero-pixclf script install")
        parameters = script_parameters(session, found.ident)
    same = found.text == script_text(python, direct, at_once)
    state = "the same as this version's" if same else "differs from this version's, or has another Python or storage"
    print_result(as_json, f"{path}: script {found.ident}, {state}", path=path, script=found.ident, same=same)
    for p in parameters:
        values = f" [{', '.join(map(str, p.values))}]" if p.values else ""
        default = "" if p.default is None else f" = {p.default}"
        print_result(
            as_json, f"  {p.name}{default}{values}", parameter=p.name, default=p.default, values=list(p.values)
        )
