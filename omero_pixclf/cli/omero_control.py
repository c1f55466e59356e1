"""``omero pixclf``: omero-pixclf's commands as a plugin of omero-py's command line, with its sessions.

`omero-pixclf plugin install` writes the small file by which omero-py finds this module; see `omero_pixclf.cli.plugin`.
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

Takes the commands and options of omero-pixclf: run, check, runs, undo, predict, …
It uses the session of 'omero login'.

Examples:

    omero login demo@omero.example.org
    omero pixclf check Plate:3 --project nuclei.ilp
    omero pixclf run Plate:3 --project nuclei.ilp --label Nucleus
    omero pixclf runs list
    omero pixclf run --help
"""
# With one of these options a command needs no session, or the option names the session.
_WITHOUT_SESSION = {"-h", "--help", "--out", "-s", "--server", "-u", "--user", "-k", "--key", "--sudo"}


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
    """Whether a command needs a server, and its arguments do not say which one.

    >>> needs_session(["run", "Plate:3"]), needs_session(["predict"]), needs_session(["run", "--help"])
    (True, False, False)
    """
    if any(argument.partition("=")[0] in _WITHOUT_SESSION for argument in arguments):
        return False
    command: click.Command | None = cli
    for word in arguments:
        if not isinstance(command, click.Group):
            break
        command = command.get_command(click.Context(command), word) if not word.startswith("-") else command
    return command is not None and any(parameter.name == "key" for parameter in command.params)
