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

from omero_pixclf.cli.check_result import Finding
from omero_pixclf.cli.options import login_from, server_options
from omero_pixclf.cli.output import json_option

__all__ = ["doctor", "verdict"]

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
    from omero_pixclf.cli.doctor_here import look_here

    login = login_from(options)
    here = _shown(look_here(os.environ), machine)
    if offline or any(finding.check == "clients" and finding.state == "fail" for finding in here):
        return verdict(here, ())
    from omero_pixclf.cli.doctor_server import look_at_server

    ask = functools.cache(getpass.getpass) if sys.stdin.isatty() and not machine else None
    return verdict(here, _shown(look_at_server(login, targets, os.environ, ask), machine))


def _shown(findings: Iterable[Finding], machine: bool) -> tuple[Finding, ...]:
    """Show each finding as it comes."""
    seen = []
    for finding in findings:
        seen.append(finding)
        if machine:
            click.echo(json.dumps(asdict(finding)))
            continue
        click.echo(
            f"{click.style(f'{finding.state:<8}', fg=_COLORS[finding.state])} {finding.check:<12} {finding.found}"
        )
        if finding.advice:
            click.echo(f"{'':<21} → {finding.advice}")
    return tuple(seen)


def verdict(here: Iterable[Finding], server: Iterable[Finding]) -> int:
    """The exit code: 1 where this machine fails, else 3 where the server does, else 0.

    >>> fine, bad = Finding("disk", "ok", ""), Finding("login", "fail", "")
    >>> verdict([fine], [fine]), verdict([fine], [bad]), verdict([bad], [bad])
    (0, 3, 1)
    """
    if any(finding.state == "fail" for finding in here):
        return 1
    return 3 if any(finding.state == "fail" for finding in server) else 0
