"""How a run is shown: a progress bar on a terminal, plain lines elsewhere, JSON lines for machines."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable
from typing import Any

import click

from omero_pixclf.runs.execute import Outcome
from omero_pixclf.runs.job import ContainerOutcome, Event, Finished, Planned
from omero_pixclf.runs.plan import count_decisions, inputs_of
from omero_pixclf.wording import counted, one_line

__all__ = ["as_json", "exit_code", "show_events"]


def show_events(events: Iterable[Event], *, machine: bool) -> Finished:
    """Show a run's events as they come; returns the last one."""
    if machine:
        return _drain(events, lambda event: click.echo(json.dumps(as_json(event))))
    if sys.stderr.isatty():
        return _with_bar(events)
    return _drain(events, _plain)


def exit_code(finished: Finished) -> int:
    """0: all done; 1: some images or containers are without their results."""
    return 1 if finished.failed else 0


def as_json(event: Event) -> dict[str, Any]:
    """An event as plain data; ``event`` names its kind."""
    return {"event": type(event).__name__.lower(), **_FIELDS[type(event)](event)}


_FIELDS: dict[type, Callable[[Any], dict[str, Any]]] = {
    Planned: lambda e: {
        "run": e.run_id,
        "folder": str(e.folder),
        "images": [{"image": i.image.key, "decision": i.decision, "reason": i.reason} for i in e.items],
    },
    Outcome: lambda e: {
        "image": e.image.key,
        "name": e.image.name,
        "well": e.image.place.well,
        "state": e.state,
        "reason": e.reason,
        "seconds": round(e.seconds, 3),
        "objects": dict(e.objects),
    },
    ContainerOutcome: lambda e: {
        "container": e.container,
        "name": e.name,
        "written": dict(e.written),
        "pictures": [str(p) for p in e.pictures],
        "reason": e.reason,
    },
    Finished: lambda e: {"run": e.run_id, "failed": e.failed, **_counts(e)},
}


def _counts(finished: Finished) -> dict[str, int]:
    states = [o.state for o in finished.outcomes]
    return {state: states.count(state) for state in ("done", "skipped", "refused", "failed")}


def _drain(events: Iterable[Event], show: Callable[[Event], None]) -> Finished:
    for event in events:
        show(event)
        if isinstance(event, Finished):
            return event
    raise AssertionError("a run ends with Finished")


def _plain(event: Event) -> None:
    for line in _lines(event):
        click.echo(one_line(line), err=not isinstance(event, Finished))


def _lines(event: Event) -> list[str]:
    if isinstance(event, Planned):
        return [f"run {event.run_id}: {counted(len(event.items), 'image')}: {count_decisions(event.items) or 'none'}"]
    if isinstance(event, Outcome):
        found = ", ".join(f"{count} {name}" for name, count in event.objects)
        return [f"{event.image.key} {event.image.name}: {event.state} {found or event.reason}".rstrip()]
    if isinstance(event, ContainerOutcome):
        if event.reason:
            return [f"{event.container} {event.name}: not finished: {event.reason}"]
        return [f"{event.container} {event.name}: {name} in {where}" for name, where in event.written]
    counts = ", ".join(f"{n} {state}" for state, n in _counts(event).items() if n)
    undo = f"; take it back with: omero-pixclf undo {event.run_id}" if _counts(event)["done"] else ""
    return [f"run {event.run_id}: {counts or 'nothing to do'}{undo}"]


def _with_bar(events: Iterable[Event]) -> Finished:
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
            if isinstance(event, Planned):
                bar.update(task, total=len(inputs_of(event.items)), description="images")
            elif isinstance(event, Outcome):
                bar.advance(task)
            loud = isinstance(event, Planned | ContainerOutcome) or getattr(event, "state", "") in ("failed", "refused")
            if loud:
                for line in _lines(event):
                    bar.console.print(one_line(line), markup=False, highlight=False, soft_wrap=True)

        finished = _drain(events, show)
    for line in _lines(finished):
        click.echo(line)
    return finished
