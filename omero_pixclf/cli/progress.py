"""How a run is shown: a progress bar on a terminal, plain lines elsewhere, JSON lines for machines."""

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

__all__ = ["as_json", "exit_code", "options_for", "show_events"]


def show_events(events: Iterator[Event], *, machine: bool, where: str = "", resumable: bool = True) -> RunFinished:
    """Show a run's events as they come; returns the last one.

    ``where`` ends the commands that are named to go on with the run or to take it back (`options_for`). An interruption
    ends the run cleanly, and says how to go on with it, where it is ``resumable``.
    """
    run_id = ""

    def noted() -> Iterator[Event]:
        nonlocal run_id
        for event in events:
            run_id = event.run_id if isinstance(event, RunPlanned) else run_id
            yield event

    def advice() -> str:
        command = f"omero-pixclf run --resume {run_id}{where}"
        if not run_id or not resumable:
            return ""
        if machine:
            click.echo(json.dumps({"event": "interrupted", "run": run_id, "resume": command}))
        return f"what is done stays; go on with: {command}"

    with advise_on_interrupt(advice), ExitStack() as ending:
        if isinstance(events, Generator):
            ending.callback(events.close)  # also where the interruption meets us while we show something
        if machine:
            return _drain(noted(), lambda event: click.echo(json.dumps(as_json(event))))
        return (_with_bar if sys.stderr.isatty() else _in_lines)(noted(), where)


def options_for(out: Path | None) -> str:
    """What a command needs to find a run over files again, to be put behind it."""
    return f" --out {shlex.quote(str(out))}" if out is not None else ""


def exit_code(finished: RunFinished) -> int:
    """0: all done; 1: some images or containers are without their results."""
    return 1 if finished.failed else 0


def as_json(event: Event) -> dict[str, Any]:
    """An event as plain data; ``event`` names its kind."""
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
"""For each kind of event its name in ``--json``, and what gives its fields."""


def _counts(finished: RunFinished) -> dict[str, int]:
    states = [o.state for o in finished.outcomes]
    return {state: states.count(state) for state in ("done", "skipped", "refused", "failed")}


def _drain(events: Iterable[Event], show: Callable[[Event], None]) -> RunFinished:
    for event in events:
        show(event)
        if isinstance(event, RunFinished):
            return event
    raise AssertionError("a run ends with RunFinished")


def _in_lines(events: Iterable[Event], where: str) -> RunFinished:
    def plain(event: Event) -> None:
        for line in _lines(event, where):
            click.echo(to_one_line(line), err=not isinstance(event, RunFinished))

    return _drain(events, plain)


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
    undo = f"; take it back with: omero-pixclf undo {event.run_id}{where}" if _counts(event)["done"] else ""
    return [f"run {event.run_id}: {counts or 'nothing to do'}{undo}"]


def _with_bar(events: Iterable[Event], where: str) -> RunFinished:
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
            loud = isinstance(event, RunPlanned | ContainerOutcome) or getattr(event, "state", "") in (
                "failed",
                "refused",
            )
            if loud:
                for line in _lines(event, where):
                    bar.console.print(to_one_line(line), markup=False, highlight=False, soft_wrap=True)

        finished = _drain(events, show)
    for line in _lines(finished, where):
        click.echo(line)
    return finished
