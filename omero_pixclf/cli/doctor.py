"""``omero-pixclf doctor``: is this machine fit for the work, and does the server let this user do it."""

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
  omero-pixclf doctor Plate:3 Dataset:7        may I write results there?
  omero-pixclf doctor -s ada@omero.example.org --json
  omero-pixclf doctor --offline

\b
Exit codes:
  0 fit, perhaps with warnings · 1 something here is missing
  3 the server is unreachable or refuses
"""
)
@click.argument("targets", nargs=-1)
@click.option("--offline", is_flag=True, help="Look at this machine only.")
@json_option
@server_options
def doctor(targets: tuple[str, ...], offline: bool, machine: bool, **options: Any) -> int:
    """See whether all is in place: this installation, this machine, the server, your rights.

    Nothing is changed. TARGETS such as Plate:3 are asked whether you may write results there. Without a server named,
    in the environment or by `omero login`, only this machine is looked at.
    """
    from omero_pixclf.cli.doctor_machine import check_machine

    login = pop_login(options)
    here = _show_results(check_machine(os.environ), machine)
    if offline or any(result.check == "clients" and result.state == "fail" for result in here):
        return doctor_exit_code(here, ())
    from omero_pixclf.cli.doctor_server import check_server

    ask = functools.cache(getpass.getpass) if sys.stdin.isatty() and not machine else None
    return doctor_exit_code(here, _show_results(check_server(login, targets, os.environ, ask), machine))


def _show_results(results: Iterable[CheckResult], machine: bool) -> tuple[CheckResult, ...]:
    """Show each result as it comes."""
    seen = []
    for result in results:
        seen.append(result)
        if machine:
            click.echo(json.dumps(asdict(result)))
            continue
        click.echo(f"{click.style(f'{result.state:<8}', fg=_COLORS[result.state])} {result.check:<12} {result.found}")
        if result.advice:
            click.echo(f"{'':<21} → {result.advice}")
    return tuple(seen)


def doctor_exit_code(here: Iterable[CheckResult], server: Iterable[CheckResult]) -> int:
    """The exit code: 1 where this machine fails, else 3 where the server does, else 0.

    >>> fine, bad = CheckResult("disk", "ok", ""), CheckResult("login", "fail", "")
    >>> doctor_exit_code([fine], [fine]), doctor_exit_code([fine], [bad]), doctor_exit_code([bad], [bad])
    (0, 3, 1)
    """
    if any(result.state == "fail" for result in here):
        return 1
    return 3 if any(result.state == "fail" for result in server) else 0
