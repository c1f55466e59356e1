"""``omero pixclf``: the file that makes omero-py's command line find omero_pixclf."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import click

from omero_pixclf.cli.output import json_option, tell
from omero_pixclf.cli.path_types import UserPath
from omero_pixclf.errors import MissingError, OutputError

__all__ = ["plugin"]

PLUGIN = '''"""omero pixclf, written by: omero-pixclf plugin install"""

try:
    from omero_pixclf.cli.omero_control import HELP, PixclfControl
except ImportError:  # omero_pixclf was removed and this file left behind: omero's other commands go on
    pass
else:
    register("pixclf", PixclfControl, HELP)  # noqa: F821 - omero-py provides it
'''


@click.group(
    epilog="""\b
Examples:
  omero-pixclf plugin install
  omero login demo@omero.example.org
  omero pixclf run Plate:3 --project nuclei.ilp
"""
)
def plugin() -> None:
    """The commands of omero-pixclf as `omero pixclf`."""


folder_option = click.option(
    "--folder",
    type=UserPath(file_okay=False, path_type=Path),
    help="A folder on PYTHONPATH instead of this environment's omero-py, where that cannot be written to.",
)


def _place(folder: Path | None) -> Path:
    if folder is not None:
        return folder / "omero" / "plugins" / "pixclf.py"
    found = importlib.util.find_spec("omero")
    if found is None or not found.submodule_search_locations:
        raise MissingError("omero-py is not installed here")
    return Path(found.submodule_search_locations[0]) / "plugins" / "pixclf.py"


@plugin.command(
    epilog="""\b
Examples:
  omero-pixclf plugin install
  omero-pixclf plugin install --folder ~/omero-plugins
  export PYTHONPATH=~/omero-plugins            then omero finds it there
"""
)
@folder_option
@json_option
def install(folder: Path | None, machine: bool) -> None:
    """Make `omero pixclf` work."""
    place = _place(folder)
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(PLUGIN, encoding="utf-8")
    except OSError as error:
        raise OutputError(f"{place}: cannot be written: {error.strerror}; name another place with --folder") from error
    tell(machine, f"{place}: installed; try: omero pixclf --help", path=str(place), installed=True)


@plugin.command(
    epilog="""\b
Examples:
  omero-pixclf plugin remove
"""
)
@folder_option
@json_option
def remove(folder: Path | None, machine: bool) -> None:
    """Take `omero pixclf` away again."""
    place = _place(folder)
    if not place.is_file():
        raise MissingError(f"{place}: not installed")
    place.unlink()
    tell(machine, f"{place}: removed", path=str(place), installed=False)


@plugin.command(
    epilog="""\b
Examples:
  omero-pixclf plugin show
"""
)
@folder_option
@json_option
def show(folder: Path | None, machine: bool) -> None:
    """Show where `omero pixclf` lies, and whether it does."""
    place = _place(folder)
    there = place.is_file()
    tell(machine, f"{place}: {'installed' if there else 'not installed'}", path=str(place), installed=there)
