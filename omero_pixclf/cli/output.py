"""Print one result of a command: as text, or as a JSON object with ``--json``."""

from __future__ import annotations

import json

import click

__all__ = ["json_option", "print_result", "print_version"]

json_option = click.option("--json", "as_json", is_flag=True, help="Write one JSON object per line.")


def print_result(as_json: bool, text: str, **fields: object) -> None:
    """Print ``text``, or ``fields`` as a JSON object, on stdout."""
    click.echo(json.dumps(fields) if as_json else text)


def print_version(ctx: click.Context, _: click.Parameter, wanted: bool) -> None:
    """Print the program's version and exit; a callback of click."""
    if wanted:
        from omero_pixclf import __version__

        click.echo(f"omero_pixclf {__version__}")
        ctx.exit()
