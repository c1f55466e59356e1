"""The watcher: ``watch``."""

from __future__ import annotations

import logging.config
import os
import sys
import time
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from omero_pixclf.cli.output import tell
from omero_pixclf.cli.path_types import UserPath
from omero_pixclf.text import pluralize

if TYPE_CHECKING:
    from omero_pixclf.watch.settings import Settings
    from omero_pixclf.watch.status import Passed

__all__ = ["watch"]


@click.command(
    epilog="""\b
Examples:
  omero-pixclf watch watch.toml
  omero-pixclf watch watch.toml --once          one pass, for cron
  omero-pixclf watch watch.toml --check         is the watcher well?
  omero-pixclf watch watch.toml --once --json
"""
)
@click.argument("config", type=UserPath(exists=True, dir_okay=False, path_type=Path))
@click.option("--once", is_flag=True, help="Do one pass and end; 1 where images failed, 3 where the server is away.")
@click.option("--check", is_flag=True, help="Only tell how the watchers are: 0 well, 1 not.")
@click.option("--grace", type=click.FloatRange(1), help="Seconds that a stop may take (default: as in CONFIG).")
@click.option(
    "--json-logs/--plain-logs", default=None, help="Log lines as JSON (default: where stderr is no terminal)."
)
@click.option("--json", "machine", is_flag=True, help="With --once and --check: one JSON object per line.")
def watch(config: Path, once: bool, check: bool, grace: float | None, json_logs: bool | None, machine: bool) -> int:
    """Look after the containers that CONFIG names, those opted in within OMERO, and queued requests.

    Whatever the recipe has not been applied to is worked on as soon as its import has settled. Stops on SIGTERM and
    SIGINT.
    """
    from omero_pixclf.watch.logs import log_settings
    from omero_pixclf.watch.settings import load_settings

    settings = load_settings(config)
    if grace is not None:
        settings = settings.model_copy(update={"service": settings.service.model_copy(update={"grace": grace})})
    if check:
        return _check(settings, machine)
    as_json = not sys.stderr.isatty() if json_logs is None else json_logs
    logging.config.dictConfig(log_settings(as_json=as_json))
    return _run(settings, once=once, machine=machine)


def _run(settings: Settings, *, once: bool, machine: bool) -> int:
    from omero_pixclf.app.watch_backend import OmeroFacility, runs_folder, state_url, status_token
    from omero_pixclf.watch.auth import Gate
    from omero_pixclf.watch.installation import installation_id
    from omero_pixclf.watch.lease_guard import Stop
    from omero_pixclf.watch.loop import assemble, run_forever, run_once, stopped_by_signals
    from omero_pixclf.watch.settings import recipes_of
    from omero_pixclf.watch.state import open_state
    from omero_pixclf.watch.web import StatusSite, served

    stop = Stop()
    with ExitStack() as stack:
        engine = open_state(state_url(settings.service, os.environ))
        stack.callback(engine.dispose)
        facility = OmeroFacility(settings, recipes_of(settings), stop.pause)
        stack.callback(facility.drop)
        stack.enter_context(stopped_by_signals(stop))
        installation = installation_id(runs_folder(settings.service))
        desk = assemble(facility, engine, settings.service, stop, site=installation)
        if once:
            return _told(run_once(desk), machine)
        if settings.status.enabled:
            site = StatusSite(desk.watcher, Gate(settings.status, status_token(settings.status)), time.time)
            logging.getLogger("omero_pixclf.watch").info("status page: %s", stack.enter_context(served(site)))
        orderly = run_forever(desk)
        if not orderly:
            os._exit(1)  # a thread is still at it: ending in the usual way would wait for it
    return 0


def _told(passed: Passed, machine: bool) -> int:
    """Say what a pass came to; returns the exit code."""
    for outlook in passed.outlooks:
        part = outlook.part
        counts = {k: getattr(outlook, k) for k in ("standing", "settling", "resting", "aside")}
        others = "".join(f", {n} {state}" for state, n in counts.items() if n and state != "standing")
        text = f"{part.container} {part.name}: {len(outlook.due)} were due{others} {outlook.note}".rstrip()
        facts = {"container": part.container, "name": part.name, "due": len(outlook.due), **counts}
        tell(machine, text, **facts, note=outlook.note)
    for problem in passed.problems:
        click.echo(f"{problem.target}, {problem.origin}: {problem.reason}", err=True)
    problems = [asdict(problem) for problem in passed.problems]
    numbers = {"done": passed.done, "failed": passed.failed, "settling": passed.settling}
    text = f"{pluralize(passed.done, 'image')} done, {passed.failed} failed"
    tell(machine, text, **numbers, problems=problems, error=passed.error)
    if passed.error:
        click.echo(f"error: {passed.error}", err=True)
        return 3
    return 1 if passed.failed or passed.problems else 0


def _check(settings: Settings, machine: bool) -> int:
    from omero_pixclf.app.watch_backend import state_url
    from omero_pixclf.watch.heartbeats import seen
    from omero_pixclf.watch.state import Holder, open_state

    engine = open_state(state_url(settings.service, os.environ))
    try:
        found = seen(engine, Holder.this_process(), time.time)
    finally:
        engine.dispose()
    for one in found:
        state = "well" if one.healthy else "not well" if one.there else "gone"
        tell(machine, f"{state}: process {one.pid} on {one.place.split()[0]}: {one.message}", **asdict(one))
    if not found:
        click.echo("no watcher is running", err=True)
    return 0 if found and all(one.healthy for one in found) else 1
