"""Run a recipe on one container while holding its lease, and record the run's state."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field

from omero_pixclf.errors import LoginError, UnreachableError
from omero_pixclf.runs.execution.serial import ImageOutcome
from omero_pixclf.runs.run import ContainerOutcome, Event, RunFinished, RunPlanned
from omero_pixclf.text import pluralize
from omero_pixclf.watch.backoff import FailureKind, FailureTable
from omero_pixclf.watch.guarded_io import WorkAbandoned
from omero_pixclf.watch.lease_guard import LeaseGuard
from omero_pixclf.watch.metrics import Metrics
from omero_pixclf.watch.protocols import CandidateImage, ContainerImages, RefusedTarget, WatchBackend, WatchTarget
from omero_pixclf.watch.run_table import PauseTable, RunTable
from omero_pixclf.watch.status import ContainerStatus, WatcherStatus

__all__ = ["ContainerRunner", "PassProgress", "WatcherState"]

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class WatcherState:
    """The tables of the state database, which outlive the process."""

    failures: FailureTable
    runs: RunTable
    pauses: PauseTable


@dataclass(frozen=True)
class PassProgress:
    """Results of the current pass so far.

    Attributes
    ----------
    unsettled
        For each request that waits for an import: the number of images that wait.
    """

    containers: list[ContainerStatus] = field(default_factory=list)
    problems: list[RefusedTarget] = field(default_factory=list)
    outcomes: list[ImageOutcome] = field(default_factory=list)
    unsettled: list[int] = field(default_factory=list)


@dataclass(frozen=True)
class ContainerRunner:
    """Starts and resumes runs on containers, and records what they report."""

    backend: WatchBackend
    state: WatcherState
    lease_guard: LeaseGuard
    status: WatcherStatus
    metrics: Metrics

    def run(
        self, target: WatchTarget, container: ContainerImages, chosen: Sequence[str], progress: PassProgress
    ) -> None:
        """Process the chosen images of a container whose lease is held; resume an interrupted run if there is one."""
        title = target.recipe.title
        self.state.failures.record_crash(container.key, title)
        self.state.runs.drop_stale(container, title)
        recorder = _EventRecorder(self, target, container, progress)
        try:
            self._run_events(recorder, chosen, self.state.runs.find_unfinished(container, title))
        except (WorkAbandoned, UnreachableError, LoginError) as reason:
            self.state.failures.uncount_attempts(container.key, title)
            recorder.record_interruption(str(reason))
            if self.lease_guard.stop.may_finish and recorder.run_id and recorder.done:
                self._run_events(recorder, (), recorder.run_id)  # write at least the tables of the completed images
            raise
        except BaseException as error:
            recorder.record_interruption(f"{type(error).__name__}: {error}")
            raise

    def _run_events(self, recorder: _EventRecorder, chosen: Sequence[str], resume: str | None) -> None:
        target, container = recorder.target, recorder.container
        guard = self.lease_guard.guard_run(container.key, recorder.record_begin)
        events = self.backend.run(target, container, chosen, resume=resume, guard=guard)
        try:
            for event in events:
                recorder.record(event)
                if chosen and not isinstance(event, RunFinished):
                    self.lease_guard.stop.check()
        finally:
            events.close()  # type: ignore[attr-defined]


class _EventRecorder:
    """Records the events of a run in the state database, the status and the metrics."""

    def __init__(
        self, runner: ContainerRunner, target: WatchTarget, container: ContainerImages, progress: PassProgress
    ) -> None:
        self.target, self.container, self._progress = target, container, progress
        self._state, self._status, self._metrics = runner.state, runner.status, runner.metrics
        self._images = {i.key: i for i in container.images}
        self.run_id, self.done = "", 0

    def record_begin(self, image: str) -> None:
        self._status.report_progress(f"{image} in {self.container.key}")
        self._state.failures.record_attempt(self.container, self._image(image), self.target.recipe.title)

    def record_interruption(self, reason: str) -> None:
        if self.run_id:
            self._state.runs.record_end(self.run_id, reason)

    def record(self, event: Event) -> None:
        self._status.report_progress("")
        if isinstance(event, RunPlanned):
            self.run_id = event.run_id
            self._state.runs.record_plan(self.target, self.container, event)
            _log.info("run %s on %s: %s", event.run_id, self.container.key, pluralize(len(event.items), "image"))
        elif isinstance(event, ImageOutcome):
            self._record_image(event)
        elif isinstance(event, ContainerOutcome):
            self._record_container(event)
        else:
            self._state.runs.record_end(self.run_id, event)
            _log.info("run %s on %s: finished", event.run_id, self.container.key)

    def _record_image(self, outcome: ImageOutcome) -> None:
        image, title = self._image(outcome.image.key), self.target.recipe.title
        if outcome.state in ("done", "skipped"):
            self._state.failures.forget(self.container.key, image.key, title)
        else:
            kind: FailureKind = "refused" if outcome.state == "refused" else "failed"
            failure = self._state.failures.record_failure(self.container, image, title, kind, outcome.reason)
            ended = "set aside" if failure.kind == "aside" else failure.kind
            _log.warning("%s %s, attempt %d: %s", image.key, ended, failure.attempts, outcome.reason)
        self._state.runs.record_image(self.run_id, outcome)
        self.done += outcome.state == "done"
        self._progress.outcomes.append(outcome)
        self._metrics.count_image(outcome)

    def _record_container(self, outcome: ContainerOutcome) -> None:
        title = self.target.recipe.title
        self._state.runs.record_container(self.run_id, outcome)
        if outcome.reason:
            _log.warning("%s: tables are not finished: %s", self.container.key, outcome.reason)
            tables = CandidateImage(self.container.key, self.container.name, "tables", False)
            self._state.failures.record_failure(self.container, tables, title, "refused", outcome.reason)
        else:
            self._state.failures.forget(self.container.key, self.container.key, title)

    def _image(self, key: str) -> CandidateImage:
        return self._images.get(key) or CandidateImage(key, "", "", False)
