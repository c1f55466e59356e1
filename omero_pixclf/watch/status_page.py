"""Render the status page with Jinja2."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from omero_pixclf import __version__
from omero_pixclf.watch.auth import CSRF_FIELD
from omero_pixclf.watch.backoff import FailureRecord
from omero_pixclf.watch.container_runner import WatcherState
from omero_pixclf.watch.run_table import ContainerRun
from omero_pixclf.watch.status import ContainerStatus, WatcherStatus

__all__ = ["STYLE", "render", "render_login"]

_FOLDER = Path(__file__).parent
STYLE = _FOLDER / "page.css"
"""Path of the style sheet."""
_MAX_ROWS = 200
_MAX_SHEETS = 6

_templates = Environment(loader=FileSystemLoader(_FOLDER), autoescape=True, undefined=StrictUndefined)


@dataclass(frozen=True)
class _ContainerRow:
    """A row of the table of containers."""

    status: ContainerStatus
    paused: bool

    @property
    def total(self) -> int:
        return len(self.status.container.images)


def _format_time(seconds: float | None) -> str:
    """Format seconds since 1970 as date and time in UTC; empty for None."""
    return "" if seconds is None else datetime.fromtimestamp(seconds, timezone.utc).strftime("%Y-%m-%d %H:%M:%S")


def _next_attempt(failure: FailureRecord, now: float) -> str:
    if failure.kind == "aside":
        return "set aside"
    if failure.kind == "working":
        return "processing"
    left = failure.retry_at - now
    return f"in {left:.0f} s" if left > 0 else "in the next pass"


def render(state: WatcherState, status: WatcherStatus, *, now: float, csrf_token: str) -> str:
    """Return the status page as HTML.

    Parameters
    ----------
    state
        Failures, runs and pauses.
    status
        Result of the last pass, requests, current work.
    now
        Seconds since 1970.
    csrf_token
        Sent back by the forms on the page (`omero_pixclf.watch.auth`).
    """
    paused, recent = state.pauses.list_all(), state.runs.list_recent()
    failures, requests = state.failures.list_all(), status.requests
    healthy, message = status.health
    last = status.last_pass
    containers = sorted(last.containers if last else (), key=_unfinished_first)
    values: dict[str, Any] = {
        "version": __version__,
        "csrf_field": CSRF_FIELD,
        "csrf_token": csrf_token,
        "healthy": healthy,
        "message": message,
        "current_work": status.current_work,
        "all_paused": "*" in paused,
        "containers": [_ContainerRow(c, c.container.key in paused) for c in containers[:_MAX_ROWS]],
        "more_containers": max(0, len(containers) - _MAX_ROWS),
        "requests": requests[:_MAX_ROWS],
        "more_requests": max(0, len(requests) - _MAX_ROWS),
        "problems": last.problems if last else (),
        "failures": [(f, _next_attempt(f, now)) for f in failures[:_MAX_ROWS]],
        "more_failures": max(0, len(failures) - _MAX_ROWS),
        "runs": recent,
        "sheets": _list_sheets(recent),
        "now": _format_time(now),
        "format_time": _format_time,
    }
    return _templates.get_template("page.html").render(values)


def _unfinished_first(status: ContainerStatus) -> tuple[bool, str]:
    return (status.complete == len(status.container.images), status.container.name)


def _list_sheets(recent: Sequence[ContainerRun]) -> list[ContainerRun]:
    return [run for run in recent if run.sheet and Path(run.sheet).is_file()][:_MAX_SHEETS]


def render_login(message: str) -> str:
    """Return the login page as HTML, with a message (empty: none)."""
    return _templates.get_template("login.html").render(message=message)
