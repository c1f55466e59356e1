"""Show a run's events: a progress bar on a terminal, otherwise lines of text, or JSON with ``--json``."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import click

from omero_pixclf.cli.interrupts import advise_on_interrupt
from omero_pixclf.runs.execution.serial import ImageOutcome
from omero_pixclf.runs.planning.plan import format_decisions, select_inputs
from omero_pixclf.runs.planning.plan_notes import format_notes
from omero_pixclf.runs.run import ContainerOutcome, Event, RunFinished, RunPlanned
from omero_pixclf.text import pluralize, to_one_line

__all__ = ["event_as_dict", "exit_code", "options_for", "show_events"]


def show_events(events: Iterator[Event], *, as_json: bool, where: str = "", resumable: bool = True) -> RunFinished:
    """Show a run's events when they happen, and return the last one.

    Parameters
    ----------
    events
        From `run_in_omero` or `run_in_folder`; closed if the command is interrupted.
    as_json
        Write JSON lines.
    where
        Options for the shown commands that resume or undo the run (`options_for`).
    resumable
        Whether to say how to resume the run if it is interrupted.
    """
    run_id = ""

    def remember_run() -> Iterator[Event]:
        nonlocal run_id
        for event in events:
            run_id = event.run_id if isinstance(event, RunPlanned) else run_id
            yield event

    def advice() -> str:
        command = f"omero-pixclf run --resume {run_id}{where}"
        if not run_id or not resumable:
            return ""
        if as_json:
            click.echo(json.dumps({"event": "interrupted", "run": run_id, "resume": command}))
        return f"completed images are kept; continue with: {command}"

    with advise_on_interrupt(advice), ExitStack() as ending:
        if isinstance(events, Generator):
            ending.callback(events.close)  # also if the interruption comes while an event is shown
        if as_json:
            return _show_all(remember_run(), lambda event: click.echo(json.dumps(event_as_dict(event))))
        return (_show_bar if sys.stderr.isatty() else _show_lines)(remember_run(), where)


def options_for(out: Path | None) -> str:
    """The options with which a command finds a run over files; "" for runs in OMERO."""
    return f" --out {shlex.quote(str(out))}" if out is not None else ""


def exit_code(finished: RunFinished) -> int:
    """The exit code: 0 if all is done, 1 if some images or containers have no results."""
    return 1 if finished.failed else 0


def event_as_dict(event: Event) -> dict[str, Any]:
    """Convert an event to plain data; the key ``event`` has its kind."""
    name, fields = _JSON[type(event)]
    return {"event": name, **fields(event)}


def _planned_fields(event: RunPlanned) -> dict[str, Any]:
    images = [
        {"image": item.image.key, "decision": item.decision, "reason": item.reason, "note": item.note}
        for item in event.items
    ]
    return {"run": event.run_id, "folder": str(event.folder), "images": images}


def _image_fields(event: ImageOutcome) -> dict[str, Any]:
    return {
        "image": event.image.key,
        "name": event.image.name,
        "well": event.image.place.well,
        "state": event.state,
        "reason": event.reason,
        "seconds": round(event.seconds, 3),
        "objects": dict(event.objects),
    }


def _container_fields(event: ContainerOutcome) -> dict[str, Any]:
    return {
        "container": event.container,
        "name": event.name,
        "written": dict(event.written),
        "pictures": [str(path) for path in event.pictures],
        "reason": event.reason,
    }


def _finished_fields(event: RunFinished) -> dict[str, Any]:
    return {"run": event.run_id, "failed": event.failed, **_counts(event)}


_JSON: dict[type, tuple[str, Callable[[Any], dict[str, Any]]]] = {
    RunPlanned: ("planned", _planned_fields),
    ImageOutcome: ("outcome", _image_fields),
    ContainerOutcome: ("containeroutcome", _container_fields),
    RunFinished: ("finished", _finished_fields),
}
"""For each kind of event its name in ``--json``, and the function that returns its fields."""


def _counts(finished: RunFinished) -> dict[str, int]:
    states = [o.state for o in finished.outcomes]
    return {state: states.count(state) for state in ("done", "skipped", "refused", "failed")}


def _show_all(events: Iterable[Event], show: Callable[[Event], None]) -> RunFinished:
    for event in events:
        show(event)
        if isinstance(event, RunFinished):
            return event
    raise AssertionError("a run ends with RunFinished")


def _show_lines(events: Iterable[Event], where: str) -> RunFinished:
    def show(event: Event) -> None:
        for line in _lines(event, where):
            click.echo(to_one_line(line), err=not isinstance(event, RunFinished))

    return _show_all(events, show)


def _lines(event: Event, where: str) -> list[str]:
    if isinstance(event, RunPlanned):
        counts = format_decisions(event.items) or "none"
        first = f"run {event.run_id}: {pluralize(len(event.items), 'image')}: {counts}"
        return [first, *format_notes(item.note for item in event.items)]
    if isinstance(event, ImageOutcome):
        found = ", ".join(f"{count} {name}" for name, count in event.objects)
        return [f"{event.image.key} {event.image.name}: {event.state} {found or event.reason}".rstrip()]
    if isinstance(event, ContainerOutcome):
        if event.reason:
            return [f"{event.container} {event.name}: not finished: {event.reason}"]
        return [f"{event.container} {event.name}: {name} in {where}" for name, where in event.written]
    counts = ", ".join(f"{n} {state}" for state, n in _counts(event).items() if n)
    undo = f"; undo it with: omero-pixclf undo {event.run_id}{where}" if _counts(event)["done"] else ""
    return [f"run {event.run_id}: {counts or 'nothing to do'}{undo}"]


def _show_bar(events: Iterable[Event], where: str) -> RunFinished:
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task("planning", total=None)

        def show(event: Event) -> None:
            if isinstance(event, RunPlanned):
                bar.update(task, total=len(select_inputs(event.items)), description="images")
            elif isinstance(event, ImageOutcome):
                bar.advance(task)
            failed = getattr(event, "state", "") in ("failed", "refused")
            if failed or isinstance(event, RunPlanned | ContainerOutcome):
                for line in _lines(event, where):
                    bar.console.print(to_one_line(line), markup=False, highlight=False, soft_wrap=True)

        finished = _show_all(events, show)
    for line in _lines(finished, where):
        click.echo(line)
    return finished
