"""``omero-pixclf watch``: the watcher as a service, a single pass, or a health check."""

from __future__ import annotations

import logging.config
import os
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import click

from omero_pixclf.cli.output import print_result
from omero_pixclf.cli.path_types import UserPath
from omero_pixclf.text import pluralize

if TYPE_CHECKING:
    from omero_pixclf.watch.settings import WatcherSettings
    from omero_pixclf.watch.status import PassResult

__all__ = ["watch"]


@click.command(
    epilog="""\b
Examples:
  omero-pixclf watch watch.toml
  omero-pixclf watch watch.toml --once          one pass, for cron
  omero-pixclf watch watch.toml --check         is the watcher healthy?
  omero-pixclf watch watch.toml --once --json
"""
)
@click.argument("config", type=UserPath(exists=True, dir_okay=False, path_type=Path))
@click.option(
    "--once", is_flag=True, help="Make one pass and exit: 1 if images failed, 3 if the server is unreachable."
)
@click.option("--check", is_flag=True, help="Only show the state of the watchers; exit 0 if all are healthy, else 1.")
@click.option("--grace", type=click.FloatRange(1), help="Longest duration of a stop in seconds (default: see CONFIG).")
@click.option(
    "--json-logs/--plain-logs", default=None, help="Log lines as JSON (default: if stderr is not a terminal)."
)
@click.option("--json", "as_json", is_flag=True, help="With --once and --check: one JSON object per line.")
def watch(config: Path, once: bool, check: bool, grace: float | None, json_logs: bool | None, as_json: bool) -> int:
    """Watch containers in OMERO and apply recipes to new images once their import has finished.

    Watches the containers in the settings file CONFIG and those opted in within OMERO, and processes queued requests.
    SIGTERM and SIGINT stop it after the current image.
    """
    from omero_pixclf.watch.logs import log_settings
    from omero_pixclf.watch.settings import load_settings

    settings = load_settings(config)
    if grace is not None:
        settings = settings.model_copy(update={"service": settings.service.model_copy(update={"grace": grace})})
    if check:
        return _check(settings, as_json)
    logs_as_json = not sys.stderr.isatty() if json_logs is None else json_logs
    logging.config.dictConfig(log_settings(as_json=logs_as_json))
    return _run(settings, once=once, as_json=as_json)


def _run(settings: WatcherSettings, *, once: bool, as_json: bool) -> int:
    from omero_pixclf.app.watch_backend import OmeroWatchBackend, read_status_token, runs_folder, state_url
    from omero_pixclf.watch.auth import Authenticator
    from omero_pixclf.watch.installation import installation_id
    from omero_pixclf.watch.lease_guard import StopRequest
    from omero_pixclf.watch.loop import create_service, run_forever, run_once, stopped_by_signals
    from omero_pixclf.watch.settings import load_recipes
    from omero_pixclf.watch.state import open_state
    from omero_pixclf.watch.web import StatusSite, serve

    stop = StopRequest()
    with ExitStack() as stack:
        engine = open_state(state_url(settings.service, os.environ))
        stack.callback(engine.dispose)
        backend = OmeroWatchBackend(settings, load_recipes(settings), stop.wait)
        stack.callback(backend.disconnect)
        stack.enter_context(stopped_by_signals(stop))
        installation = installation_id(runs_folder(settings.service))
        service = create_service(backend, engine, settings.service, stop, installation=installation)
        if once:
            return _show_pass(run_once(service), as_json)
        if settings.status.enabled:
            auth = Authenticator(settings.status, read_status_token(settings.status))
            url = stack.enter_context(serve(StatusSite(service.watcher, auth, time.time)))
            logging.getLogger("omero_pixclf.watch").info("status page: %s", url)
        if not run_forever(service):
            os._exit(1)  # a thread still works: the usual exit would wait for it
    return 0


def _show_pass(result: PassResult, as_json: bool) -> int:
    """Print the result of a pass; returns the exit code."""
    for status in result.containers:
        container = status.container
        text = f"{container.key} {container.name}: {status.pending or 'nothing due'}"
        text += f"; {status.note}" if status.note else ""
        facts = {"container": container.key, "name": container.name, "due": len(status.due), **status.counts}
        print_result(as_json, text, **facts, note=status.note)
    for problem in result.problems:
        click.echo(f"{problem.key}, {problem.origin}: {problem.reason}", err=True)
    problems = [
        {"target": p.key, "origin": p.origin, "reason": p.reason, "request": p.request} for p in result.problems
    ]
    numbers = {"done": result.done, "failed": result.failed, "settling": result.settling}
    text = f"{pluralize(result.done, 'image')} done, {result.failed} failed"
    print_result(as_json, text, **numbers, problems=problems, error=result.error)
    if result.error:
        click.echo(f"error: {result.error}", err=True)
        return 3
    return 1 if result.failed or result.problems else 0


def _check(settings: WatcherSettings, as_json: bool) -> int:
    from omero_pixclf.app.watch_backend import state_url
    from omero_pixclf.watch.heartbeats import list_watchers
    from omero_pixclf.watch.state import WatcherProcess, open_state

    engine = open_state(state_url(settings.service, os.environ))
    try:
        found = list_watchers(engine, WatcherProcess.current(), time.time)
    finally:
        engine.dispose()
    for watcher in found:
        state = "healthy" if watcher.is_healthy else "unhealthy" if watcher.is_running else "gone"
        facts = {
            "place": watcher.place, "pid": watcher.pid, "there": watcher.is_running, "healthy": watcher.is_healthy,
            "passes": watcher.passes, "message": watcher.message,
        }  # fmt: skip
        print_result(
            as_json, f"{state}: process {watcher.pid} on {watcher.place.split()[0]}: {watcher.message}", **facts
        )
    if not found:
        click.echo("no watcher is running", err=True)
    return 0 if found and all(watcher.is_healthy for watcher in found) else 1
