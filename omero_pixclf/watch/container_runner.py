"""Runs on one container whose lease is held, written down as they go, and put in order where they are cut off."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field

from omero_pixclf.errors import LoginError, UnreachableError
from omero_pixclf.runs.execution.serial import ImageOutcome
from omero_pixclf.runs.run import ContainerOutcome, Event, RunFinished, RunPlanned
from omero_pixclf.text import pluralize
from omero_pixclf.watch.backoff import Failures, Kind
from omero_pixclf.watch.guarded_io import Abandoned
from omero_pixclf.watch.lease_guard import Watchman
from omero_pixclf.watch.metrics import Metrics
from omero_pixclf.watch.protocols import Candidate, Facility, Order, Part, Refused
from omero_pixclf.watch.run_table import Pauses, RunLog
from omero_pixclf.watch.status import Board, Outlook

__all__ = ["Foreman", "Memory", "Tally"]

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Memory:
    """What outlives the process."""

    failures: Failures
    runs: RunLog
    pauses: Pauses


@dataclass(frozen=True)
class Tally:
    """What a pass comes to, while it goes on.

    Attributes
    ----------
    waiting
        For each request that waits, how many of its images have not settled.
    """

    outlooks: list[Outlook] = field(default_factory=list)
    problems: list[Refused] = field(default_factory=list)
    outcomes: list[ImageOutcome] = field(default_factory=list)
    waiting: list[int] = field(default_factory=list)


@dataclass(frozen=True)
class Foreman:
    """Has runs done."""

    facility: Facility
    memory: Memory
    watchman: Watchman
    board: Board
    metrics: Metrics

    def work(self, order: Order, part: Part, chosen: Sequence[str], tally: Tally) -> None:
        """Run on the chosen images of a part whose lease is held, going on with a run that was cut off."""
        title = order.recipe.title
        self.memory.failures.crashed(part.container, title)
        self.memory.runs.drop_stale(part, title)
        recorder = _Recorder(self, order, part, tally)
        try:
            self._drive(recorder, chosen, self.memory.runs.unfinished(part, title))
        except (Abandoned, UnreachableError, LoginError) as reason:
            self.memory.failures.interrupted(part.container, title)
            recorder.interrupted(str(reason))
            if self.watchman.stop.may_finish and recorder.run_id and recorder.done:
                self._drive(recorder, (), recorder.run_id)  # at least the tables of what is done
            raise
        except BaseException as error:
            recorder.interrupted(f"{type(error).__name__}: {error}")
            raise

    def _drive(self, recorder: _Recorder, chosen: Sequence[str], resume: str | None) -> None:
        order, part = recorder.order, recorder.part
        guard = self.watchman.guard(part.container, recorder.begin)
        events = self.facility.run(order, part, chosen, resume=resume, guard=guard)
        try:
            for event in events:
                recorder.record(event)
                if chosen and not isinstance(event, RunFinished):
                    self.watchman.stop.check()
        finally:
            events.close()  # type: ignore[attr-defined]


class _Recorder:
    """Writes down what a run tells."""

    def __init__(self, foreman: Foreman, order: Order, part: Part, tally: Tally) -> None:
        self.order, self.part, self._tally = order, part, tally
        self._memory, self._board, self._metrics = foreman.memory, foreman.board, foreman.metrics
        self._images = {i.key: i for i in part.images}
        self.run_id, self.done = "", 0

    def begin(self, image: str) -> None:
        self._board.moved(f"{image} in {self.part.container}")
        self._memory.failures.begin(self.part, self._image(image), self.order.recipe.title)

    def interrupted(self, reason: str) -> None:
        if self.run_id:
            self._memory.runs.ended(self.run_id, reason)

    def record(self, event: Event) -> None:
        self._board.moved("")
        if isinstance(event, RunPlanned):
            self.run_id = event.run_id
            self._memory.runs.planned(self.order, self.part, event)
            _log.info("run %s on %s: %s", event.run_id, self.part.container, pluralize(len(event.items), "image"))
        elif isinstance(event, ImageOutcome):
            self._outcome(event)
        elif isinstance(event, ContainerOutcome):
            self._container(event)
        else:
            self._memory.runs.ended(self.run_id, event)
            _log.info("run %s on %s: finished", event.run_id, self.part.container)

    def _outcome(self, outcome: ImageOutcome) -> None:
        image, title = self._image(outcome.image.key), self.order.recipe.title
        if outcome.state in ("done", "skipped"):
            self._memory.failures.forget(self.part.container, image.key, title)
        else:
            kind: Kind = "refused" if outcome.state == "refused" else "failed"
            ended = self._memory.failures.fail(self.part, image, title, kind, outcome.reason)
            _log.warning("%s %s, attempt %d: %s", image.key, ended.kind, ended.attempts, outcome.reason)
        self._memory.runs.outcome(self.run_id, outcome)
        self.done += outcome.state == "done"
        self._tally.outcomes.append(outcome)
        self._metrics.image(outcome)

    def _container(self, outcome: ContainerOutcome) -> None:
        title, tables = self.order.recipe.title, Candidate(self.part.container, self.part.name, "tables", False)
        self._memory.runs.container(self.run_id, outcome)
        if outcome.reason:
            _log.warning("%s: tables are not finished: %s", self.part.container, outcome.reason)
            self._memory.failures.fail(self.part, tables, title, "refused", outcome.reason)
        else:
            self._memory.failures.forget(self.part.container, self.part.container, title)

    def _image(self, key: str) -> Candidate:
        return self._images.get(key) or Candidate(key, "", "", False)
