"""What a command tells: a line for people, or with ``--json`` an object for machines."""

from __future__ import annotations

import json

import click

__all__ = ["json_option", "tell"]

json_option = click.option("--json", "machine", is_flag=True, help="One JSON object per line, for machines.")


def tell(machine: bool, text: str, **facts: object) -> None:
    """Say something on stdout, once in words and once as plain data."""
    click.echo(json.dumps(facts) if machine else text)
