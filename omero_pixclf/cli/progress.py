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

from omero_pixclf.cli.interrupts import advising
from omero_pixclf.runs.execution.serial import Outcome
from omero_pixclf.runs.planning.plan import count_decisions, inputs_of
from omero_pixclf.runs.planning.plan_notes import notes_of
from omero_pixclf.runs.run import ContainerOutcome, Event, Finished, Planned
from omero_pixclf.text import one_line, pluralize

__all__ = ["as_json", "exit_code", "options_for", "show_events"]


def show_events(events: Iterator[Event], *, machine: bool, where: str = "", resumable: bool = True) -> Finished:
    """Show a run's events as they come; returns the last one.

    ``where`` ends the commands that are named to go on with the run or to take it back (`options_for`). An interruption
    ends the run cleanly, and says how to go on with it, where it is ``resumable``.
    """
    run_id = ""

    def noted() -> Iterator[Event]:
        nonlocal run_id
        for event in events:
            run_id = event.run_id if isinstance(event, Planned) else run_id
            yield event

    def advice() -> str:
        command = f"omero-pixclf run --resume {run_id}{where}"
        if not run_id or not resumable:
            return ""
        if machine:
            click.echo(json.dumps({"event": "interrupted", "run": run_id, "resume": command}))
        return f"what is done stays; go on with: {command}"

    with advising(advice), ExitStack() as ending:
        if isinstance(events, Generator):
            ending.callback(events.close)  # also where the interruption meets us while we show something
        if machine:
            return _drain(noted(), lambda event: click.echo(json.dumps(as_json(event))))
        return (_with_bar if sys.stderr.isatty() else _in_lines)(noted(), where)


def options_for(out: Path | None) -> str:
    """What a command needs to find a run over files again, to be put behind it."""
    return f" --out {shlex.quote(str(out))}" if out is not None else ""


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
        "images": [{"image": i.image.key, "decision": i.decision, "reason": i.reason, "note": i.note} for i in e.items],
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


def _in_lines(events: Iterable[Event], where: str) -> Finished:
    def plain(event: Event) -> None:
        for line in _lines(event, where):
            click.echo(one_line(line), err=not isinstance(event, Finished))

    return _drain(events, plain)


def _lines(event: Event, where: str) -> list[str]:
    if isinstance(event, Planned):
        counts = count_decisions(event.items) or "none"
        first = f"run {event.run_id}: {pluralize(len(event.items), 'image')}: {counts}"
        return [first, *notes_of(item.note for item in event.items)]
    if isinstance(event, Outcome):
        found = ", ".join(f"{count} {name}" for name, count in event.objects)
        return [f"{event.image.key} {event.image.name}: {event.state} {found or event.reason}".rstrip()]
    if isinstance(event, ContainerOutcome):
        if event.reason:
            return [f"{event.container} {event.name}: not finished: {event.reason}"]
        return [f"{event.container} {event.name}: {name} in {where}" for name, where in event.written]
    counts = ", ".join(f"{n} {state}" for state, n in _counts(event).items() if n)
    undo = f"; take it back with: omero-pixclf undo {event.run_id}{where}" if _counts(event)["done"] else ""
    return [f"run {event.run_id}: {counts or 'nothing to do'}{undo}"]


def _with_bar(events: Iterable[Event], where: str) -> Finished:
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
                for line in _lines(event, where):
                    bar.console.print(one_line(line), markup=False, highlight=False, soft_wrap=True)

        finished = _drain(events, show)
    for line in _lines(finished, where):
        click.echo(line)
    return finished
