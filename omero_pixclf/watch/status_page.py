"""What the status page shows, and the page itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from omero_pixclf import __version__
from omero_pixclf.watch.backoff import Failure
from omero_pixclf.watch.container_runner import Memory
from omero_pixclf.watch.run_table import Run
from omero_pixclf.watch.status import Board, Outlook

__all__ = ["STYLE", "render", "render_login"]

HERE = Path(__file__).parent
STYLE = HERE / "page.css"
MOST = 200
SHEETS = 6

_templates = Environment(loader=FileSystemLoader(HERE), autoescape=True, undefined=StrictUndefined)


@dataclass(frozen=True)
class _Watched:
    """One line of the list of containers."""

    outlook: Outlook
    paused: bool

    @property
    def total(self) -> int:
        return len(self.outlook.part.images)

    @property
    def waiting(self) -> str:
        """What else there is, in words."""
        o = self.outlook
        states = (
            ("due", len(o.due)),
            ("settling", o.settling),
            ("to be tried again", o.resting),
            ("set aside", o.aside),
        )
        return ", ".join(f"{n} {state}" for state, n in states if n)


def _moment(seconds: float | None) -> str:
    """A moment for people, in UTC."""
    return "" if seconds is None else datetime.fromtimestamp(seconds, timezone.utc).strftime("%Y-%m-%d %H:%M:%S")


def _next_try(failure: Failure, now: float) -> str:
    if failure.kind == "aside":
        return "set aside"
    left = failure.retry_at - now
    return "in work" if failure.kind == "working" else f"in {left:.0f} s" if left > 0 else "at the next pass"


def render(memory: Memory, board: Board, *, now: float, mark: str) -> str:
    """The page; ``mark`` goes into its forms."""
    paused, recent = memory.pauses.all(), memory.runs.recent()
    failures = memory.failures.all()
    healthy, message = board.health
    last = board.last
    outlooks = sorted(last.outlooks if last else (), key=_busy_first)
    shown: dict[str, Any] = {
        "version": __version__,
        "mark": mark,
        "healthy": healthy,
        "message": message,
        "in_work": board.in_work,
        "all_paused": "*" in paused,
        "watched": [_Watched(o, o.part.container in paused) for o in outlooks[:MOST]],
        "more_watched": max(0, len(outlooks) - MOST),
        "queue": board.queue[:MOST],
        "more_asked": max(0, len(board.queue) - MOST),
        "problems": last.problems if last else (),
        "failures": [(f, _next_try(f, now)) for f in failures[:MOST]],
        "more_failures": max(0, len(failures) - MOST),
        "runs": recent,
        "sheets": _sheets(recent),
        "now": _moment(now),
        "moment": _moment,
    }
    return _templates.get_template("page.html").render(shown)


def _busy_first(outlook: Outlook) -> tuple[bool, str]:
    return (outlook.standing == len(outlook.part.images), outlook.part.name)


def _sheets(recent: Sequence[Run]) -> list[Run]:
    return [run for run in recent if run.sheet and Path(run.sheet).is_file()][:SHEETS]


def render_login(message: str) -> str:
    """The page that asks for the token."""
    return _templates.get_template("login.html").render(message=message)
