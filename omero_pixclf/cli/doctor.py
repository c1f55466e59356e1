"""``omero-pixclf doctor``: check this installation, this machine, the server and the user's permissions."""

from __future__ import annotations

import functools
import getpass
import json
import os
import sys
from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

import click

from omero_pixclf.cli.check_result import CheckResult
from omero_pixclf.cli.options import pop_login, server_options
from omero_pixclf.cli.output import json_option

__all__ = ["doctor", "doctor_exit_code"]

_COLORS = {"ok": "green", "warning": "yellow", "fail": "red"}


@click.command(
    epilog="""\b
Examples:
  omero-pixclf doctor
  omero-pixclf doctor Plate:3 Dataset:7        checks permissions there, too
  omero-pixclf doctor -s ada@omero.example.org --json
  omero-pixclf doctor --offline

\b
Exit codes:
  0 no failed check, perhaps warnings · 1 a check of this machine failed
  3 a check of the server failed
"""
)
@click.argument("targets", nargs=-1)
@click.option("--offline", is_flag=True, help="Check this machine only.")
@json_option
@server_options
def doctor(targets: tuple[str, ...], offline: bool, as_json: bool, **options: Any) -> int:
    """Check this installation, this machine, the server, and your permissions.

    Nothing is changed. For TARGETS such as Plate:3, also check whether you may write results there. If no server is
    given by option, environment or `omero login`, only this machine is checked.
    """
    from omero_pixclf.cli.doctor_machine import check_machine

    login = pop_login(options)
    here = _show_results(check_machine(os.environ), as_json)
    if offline or any(result.check == "clients" and result.state == "fail" for result in here):
        return doctor_exit_code(here, ())
    from omero_pixclf.cli.doctor_server import check_server

    ask = functools.cache(getpass.getpass) if sys.stdin.isatty() and not as_json else None
    return doctor_exit_code(here, _show_results(check_server(login, targets, os.environ, ask), as_json))


def _show_results(results: Iterable[CheckResult], as_json: bool) -> tuple[CheckResult, ...]:
    """Print each result when its check is complete, and return all of them."""
    shown = []
    for result in results:
        shown.append(result)
        if as_json:
            click.echo(json.dumps(asdict(result)))
            continue
        click.echo(f"{click.style(f'{result.state:<8}', fg=_COLORS[result.state])} {result.check:<12} {result.found}")
        if result.advice:
            click.echo(f"{'':<21} → {result.advice}")
    return tuple(shown)


def doctor_exit_code(here: Iterable[CheckResult], server: Iterable[CheckResult]) -> int:
    """The exit code: 1 if a check of this machine failed, otherwise 3 if one of the server failed, otherwise 0.

    >>> fine, bad = CheckResult("disk", "ok", ""), CheckResult("login", "fail", "")
    >>> doctor_exit_code([fine], [fine]), doctor_exit_code([fine], [bad]), doctor_exit_code([bad], [bad])
    (0, 3, 1)
    """
    if any(result.state == "fail" for result in here):
        return 1
    return 3 if any(result.state == "fail" for result in server) else 0
