"""``omero-pixclf plugin``: install or remove the file that adds ``omero pixclf`` to omero-py's command line."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import click

from omero_pixclf.cli.output import json_option, print_result
from omero_pixclf.cli.path_types import UserPath
from omero_pixclf.errors import MissingError, OutputError

__all__ = ["PLUGIN", "folder_option", "install", "plugin", "remove", "show"]

PLUGIN = '''"""omero pixclf, written by: omero-pixclf plugin install"""

try:
    from omero_pixclf.cli.omero_control import HELP, PixclfControl
except ImportError:  # omero_pixclf was uninstalled, but not this file: omero's other commands still work
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
    """Add the commands of omero-pixclf to omero-py as `omero pixclf`, which uses omero's sessions."""


folder_option = click.option(
    "--folder",
    type=UserPath(file_okay=False, path_type=Path),
    help="Folder on PYTHONPATH to write to, instead of this environment's omero-py.",
)


def _plugin_path(folder: Path | None) -> Path:
    if folder is not None:
        return folder / "omero" / "plugins" / "pixclf.py"
    found = importlib.util.find_spec("omero")
    if found is None or not found.submodule_search_locations:
        raise MissingError("omero-py is not installed in this environment; install it: pip install omero-py")
    return Path(found.submodule_search_locations[0]) / "plugins" / "pixclf.py"


@plugin.command(
    epilog="""\b
Examples:
  omero-pixclf plugin install
  omero-pixclf plugin install --folder ~/omero-plugins
  export PYTHONPATH=~/omero-plugins            so that omero finds it
"""
)
@folder_option
@json_option
def install(folder: Path | None, as_json: bool) -> None:
    """Install the file that adds `omero pixclf`."""
    path = _plugin_path(folder)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(PLUGIN, encoding="utf-8")
    except OSError as error:
        raise OutputError(
            f"{path}: cannot be written: {error.strerror}; choose another folder with --folder"
        ) from error
    print_result(as_json, f"{path}: installed; try: omero pixclf --help", path=str(path), installed=True)


@plugin.command(
    epilog="""\b
Examples:
  omero-pixclf plugin remove
"""
)
@folder_option
@json_option
def remove(folder: Path | None, as_json: bool) -> None:
    """Remove the file that adds `omero pixclf`."""
    path = _plugin_path(folder)
    if not path.is_file():
        raise MissingError(f"{path}: not installed")
    path.unlink()
    print_result(as_json, f"{path}: removed", path=str(path), installed=False)


@plugin.command(
    epilog="""\b
Examples:
  omero-pixclf plugin show
"""
)
@folder_option
@json_option
def show(folder: Path | None, as_json: bool) -> None:
    """Show whether `omero pixclf` is installed, and where."""
    path = _plugin_path(folder)
    installed = path.is_file()
    text = f"{path}: {'installed' if installed else 'not installed'}"
    print_result(as_json, text, path=str(path), installed=installed)
