"""Command line `omero-pixclf`: one module per command, imported only when the command is called."""

from __future__ import annotations

import codecs
import difflib
import importlib
import io
import logging
import os
import sys
from typing import Any

import click

from omero_pixclf.cli.interrupts import Interrupted, termination_as_interrupt
from omero_pixclf.cli.output import print_version
from omero_pixclf.errors import PixclfError

__all__ = ["main"]

# The kernels have their own threads; those that OpenBLAS starts when numpy is imported would only compete with them.
# A number that the user has set is kept.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

# name: (module, attribute, line in the overview)
COMMANDS = {
    "demo": ("omero_pixclf.cli.demo", "demo", "Show a whole run on an OMERO server of its own."),
    "check": ("omero_pixclf.cli.run", "check", "Show what a run would do and any problems."),
    "run": ("omero_pixclf.cli.run", "run", "Apply a classifier to images, datasets, plates in OMERO."),
    "predict": ("omero_pixclf.cli.predict", "predict", "Apply a classifier to files, with ilastik's options."),
    "watch": ("omero_pixclf.cli.watch", "watch", "Process new images in OMERO automatically (a service)."),
    "runs": ("omero_pixclf.cli.runs", "runs", "List, show, compare and merge earlier runs."),
    "undo": ("omero_pixclf.cli.runs", "undo", "Remove exactly what a run wrote."),
    "script": ("omero_pixclf.cli.script", "script", "Install or show the script in OMERO.web."),
    "plugin": ("omero_pixclf.cli.plugin", "plugin", "Add these commands to omero-py as `omero pixclf`."),
    "doctor": ("omero_pixclf.cli.doctor", "doctor", "Check this installation, the server and permissions."),
    "embedded": ("omero_pixclf.cli.embedded", "embedded", "Start an OMERO server in Python, for tests and trials."),
}

EPILOG = """\b
Examples:
  omero-pixclf demo
  omero-pixclf check Plate:3 --project nuclei.ilp
  omero-pixclf run Dataset:7 Plate:3 --recipe nuclei.toml
  omero-pixclf predict --project nuclei.ilp stack.h5/data
  omero-pixclf run --help                       more examples

\b
Exit codes:
  0 all done · 1 some images failed · 2 wrong usage or invalid input
  3 server unreachable or permission denied
"""


class _Commands(click.Group):
    """The commands of the table above; the overview imports none of them."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module, attribute, _ = COMMANDS[cmd_name]
        command: click.Command = getattr(importlib.import_module(module), attribute)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        near = difflib.get_close_matches(args[0], COMMANDS, 1)
        if args[0] not in COMMANDS and near:
            raise click.UsageError(f"No such command {args[0]!r}; did you mean {near[0]!r}?", ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, _, line) in COMMANDS.items()])


@click.group(cls=_Commands, epilog=EPILOG, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--version", is_flag=True, is_eager=True, expose_value=False, callback=print_version, help="Show the version."
)
@click.option("-v", "--verbose", count=True, help="More log lines on stderr (twice: all).")
def cli(verbose: int) -> None:
    """Apply trained ilastik pixel classifiers to images in OMERO or in files, without ilastik."""
    level = {0: logging.WARNING, 1: logging.INFO}.get(verbose, logging.DEBUG)
    logging.basicConfig(level=level, format="%(levelname)s %(name)s: %(message)s", stream=sys.stderr)


def _print_any_name() -> None:
    """Make every file name printable: undecodable bytes as they are, characters that the terminal lacks escaped."""

    def encode(error: UnicodeError) -> tuple[str | bytes, int]:
        if not isinstance(error, UnicodeEncodeError):
            raise error
        characters = error.object[error.start : error.end]
        try:
            return characters.encode("ascii", "surrogateescape"), error.end
        except UnicodeEncodeError:
            return characters.encode("ascii", "backslashreplace"), error.end

    codecs.register_error("omero_pixclf.names", encode)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper) and stream.errors in ("strict", "backslashreplace", "surrogateescape"):
            stream.reconfigure(errors="omero_pixclf.names")


def main(arguments: list[str] | None = None) -> Any:
    """Run the command line and exit with its code; expected errors are one message, not a traceback."""
    _print_any_name()
    try:
        with termination_as_interrupt():
            code = cli.main(args=arguments, prog_name="omero-pixclf", standalone_mode=False)
        sys.exit(code if isinstance(code, int) else 0)
    except click.exceptions.Exit as stop:
        sys.exit(stop.exit_code)
    except click.ClickException as error:
        error.show()
        sys.exit(2)
    except (click.Abort, KeyboardInterrupt) as stop:
        # click turns every KeyboardInterrupt into an Abort
        known = next((e for e in (stop, stop.__cause__, stop.__context__) if isinstance(e, Interrupted)), None)
        click.echo(f"interrupted; {known or 'no partial results are left'}", err=True)
        sys.exit(130)
    except PixclfError as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(error.exit_code)
