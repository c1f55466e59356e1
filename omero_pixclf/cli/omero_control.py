"""``omero pixclf …``: omero-pixclf's commands within OMERO's own command line, with its sessions.

`omero-pixclf plugin install` writes the small file that makes omero-py find this; see `omero_pixclf.cli.plugin`.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from typing import Any

import click
from omero.cli import BaseControl

from omero_pixclf.cli import cli, main

__all__ = ["HELP", "PixclfControl", "needs_session"]

HELP = """Apply ilastik pixel classifiers to images in OMERO

What follows are omero-pixclf's own commands and options: run, check, runs, undo, predict, …
The session is that of 'omero login'.

Examples:

    omero login demo@omero.example.org
    omero pixclf check Plate:3 --project nuclei.ilp
    omero pixclf run Plate:3 --project nuclei.ilp --label Nucleus
    omero pixclf runs list
    omero pixclf run --help
"""
# With one of these a command needs no session, or has been told which one.
_OWN = {"-h", "--help", "--out", "-s", "--server", "-u", "--user", "-k", "--key", "--sudo"}


class PixclfControl(BaseControl):  # type: ignore[misc]
    """The command ``pixclf`` of omero-py's command line."""

    def _configure(self, parser: Any) -> None:
        parser.add_login_arguments()
        parser.add_argument("arguments", nargs=argparse.REMAINDER, help="command and options of omero-pixclf")
        parser.set_defaults(func=self._perform)

    def _perform(self, args: Any) -> None:
        if needs_session(args.arguments):
            client = self.ctx.conn(args)
            os.environ.update(
                OMERO_HOST=client.getProperty("omero.host"),
                OMERO_PORT=client.getProperty("omero.port"),
                OMERO_SESSION_KEY=client.getSessionId(),
            )
        try:
            main(args.arguments or ["--help"])
        except SystemExit as end:
            self.ctx.rv = end.code


def needs_session(arguments: Sequence[str]) -> bool:
    """Whether such a command talks to the server and has not been told where and as whom.

    >>> needs_session(["run", "Plate:3"]), needs_session(["predict"]), needs_session(["run", "--help"])
    (True, False, False)
    """
    if any(argument.partition("=")[0] in _OWN for argument in arguments):
        return False
    command: click.Command | None = cli
    for word in arguments:
        if not isinstance(command, click.Group):
            break
        command = command.get_command(click.Context(command), word) if not word.startswith("-") else command
    return command is not None and any(parameter.name == "key" for parameter in command.params)
