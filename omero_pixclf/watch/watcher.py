"""One pass over all containers and requests; the service repeats it, ``--once`` does one."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

from omero_pixclf.errors import LoginError, PixclfError, UnreachableError, UsageError
from omero_pixclf.text import pluralize
from omero_pixclf.watch.backoff import FailureRecord
from omero_pixclf.watch.container_runner import ContainerRunner, PassProgress, WatcherState
from omero_pixclf.watch.guarded_io import WorkAbandoned
from omero_pixclf.watch.import_settling import ImportSettling
from omero_pixclf.watch.lease_guard import LeaseGuard, StopRequest
from omero_pixclf.watch.metrics import Metrics
from omero_pixclf.watch.protocols import (
    CandidateImage,
    ContainerImages,
    RefusedTarget,
    RequestState,
    WatchBackend,
    WatchTarget,
)
from omero_pixclf.watch.status import ContainerStatus, PassResult, WatcherStatus

__all__ = ["Watcher"]

_log = logging.getLogger(__name__)

_Claims = dict[tuple[str, str], str]
"""Recipe hash by container and name of the recipe, of the targets seen so far in a pass."""


class Watcher:
    """Applies recipes to the images in a backend's targets.

    Parameters
    ----------
    steady
        A monotonic clock, in seconds.
    now
        Seconds since 1970.
    """

    def __init__(
        self,
        backend: WatchBackend,
        state: WatcherState,
        lease_guard: LeaseGuard,
        settling: ImportSettling,
        status: WatcherStatus,
        metrics: Metrics,
        *,
        steady: Callable[[], float],
        now: Callable[[], float],
    ) -> None:
        self.backend, self.state, self.lease_guard, self.settling = backend, state, lease_guard, settling
        self.status, self.metrics, self._steady, self._now = status, metrics, steady, now
        self.runner = ContainerRunner(backend, state, lease_guard, status, metrics)

    @property
    def stop(self) -> StopRequest:
        """The request to stop this watcher."""
        return self.lease_guard.stop

    def run_pass(self) -> PassResult:
        """Make one pass. Never raises: an error is returned in the result and shown in the status."""
        start = self._steady()
        progress = PassProgress()
        try:
            self._process_targets(progress)
            error = ""
        except WorkAbandoned as reason:
            error = str(reason)
        except (UnreachableError, LoginError) as lost:
            error = str(lost)
            _log.error("the pass ended early: %s", lost)
            self.backend.disconnect()
        except Exception as fault:  # noqa: BLE001 - the one outermost catch per pass; the traceback is logged
            error = str(fault) if isinstance(fault, PixclfError) else f"{type(fault).__name__}: {fault}"
            _log.exception("the pass ended early: %s", error)
        states = [o.state for o in progress.outcomes]
        done, failed = states.count("done"), states.count("failed") + states.count("refused")
        settling = sum(c.settling for c in progress.containers) + sum(progress.unsettled)
        requests = len(self.status.requests)
        containers, problems = tuple(progress.containers), tuple(progress.problems)
        result = PassResult(containers, problems, done, failed, settling, requests, error)
        self.status.record_pass(result)
        self.metrics.record_pass(result, self._steady() - start)
        return result

    def _process_targets(self, progress: PassProgress) -> None:
        targets = list(self.backend.list_targets())
        progress.problems.extend(t for t in targets if isinstance(t, RefusedTarget))
        requests = [t for t in targets if isinstance(t, WatchTarget) and t.request is not None]
        self.status.set_requests(requests)
        claims: _Claims = {}
        for target in targets:
            if isinstance(target, WatchTarget) and target.request is None:
                with self._report_errors(target, progress):
                    progress.containers.extend(self._claim_containers(target, claims, progress))
        for refused in [p for p in progress.problems if p.request is not None]:
            self._answer(refused, "failed", refused.reason, progress)
        for target in requests:
            with self._report_errors(target, progress):
                self._serve_request(target, claims, progress)
        for n, container in enumerate(progress.containers):
            with self._report_errors(container.target, progress):
                progress.containers[n] = self._process_container(container, progress)
        self.settling.forget_unobserved()

    @contextmanager
    def _report_errors(self, target: WatchTarget, progress: PassProgress) -> Iterator[None]:
        """Report an error of one target, and continue with the others."""
        self.stop.check()
        self.status.report_progress()
        try:
            yield
        except (UnreachableError, LoginError):
            raise
        except Exception as error:  # noqa: BLE001 - the one outermost catch per target; the traceback is logged
            known = isinstance(error, PixclfError)
            _log.error("%s, %s: %s", target.key, target.origin, error, exc_info=None if known else error)
            reason = str(error) if known else f"{type(error).__name__}: {error}"
            progress.problems.append(RefusedTarget(target.key, target.origin, reason, target.request))
            self._answer(target, "failed", reason, progress)

    def _answer(
        self, target: WatchTarget | RefusedTarget, state: RequestState, message: str, progress: PassProgress
    ) -> bool:
        """Answer a target that is a request; False if the server refuses the answer, which does not end the pass."""
        if target.request is None:
            return True
        try:
            self.backend.answer_request(target.request, state, message)
        except (UnreachableError, LoginError):
            raise
        except PixclfError as error:
            _log.warning("%s, %s: the request cannot be answered: %s", target.key, target.origin, error)
            reason = f"the request cannot be answered ({error}): {message}"
            progress.problems.append(RefusedTarget(target.key, target.origin, reason))
            return False
        if isinstance(target, WatchTarget):
            self.status.set_request_status(target, message if state == "running" else "")
        return True

    def _claim_containers(self, target: WatchTarget, claims: _Claims, progress: PassProgress) -> list[ContainerStatus]:
        """Return the containers of a target that no earlier target has claimed.

        Two recipes with the same name on one container would replace each other's results in every pass, so the second
        one is refused.
        """
        claimed = []
        for container in self._list_containers(target):
            key = (container.key, target.recipe.title)
            if key not in claims:
                claims[key] = container.recipe_hash
                claimed.append(self._container_status(target, container))
            elif claims[key] != container.recipe_hash:
                reason = _name_conflict(container, target)
                progress.problems.append(RefusedTarget(target.key, target.origin, reason))
        return claimed

    def _list_containers(self, target: WatchTarget) -> Sequence[ContainerImages]:
        containers = self.backend.list_containers(target)
        for container in containers:
            self.settling.observe(container.images, self._steady())
        return containers

    def _container_status(self, target: WatchTarget, container: ContainerImages) -> ContainerStatus:
        failures = self.state.failures.find(container, target.recipe.title)
        states = {image.key: self._image_state(image, failures.get(image.key)) for image in container.images}
        due = tuple(key for key, state in states.items() if state == "due")
        found = list(states.values())
        return ContainerStatus(
            target,
            container,
            complete=found.count("complete"),
            due=due,
            settling=found.count("settling"),
            waiting=found.count("waiting"),
            set_aside=found.count("set_aside"),
        )

    def _image_state(self, image: CandidateImage, failure: FailureRecord | None) -> str:
        if image.has_results:
            return "complete"
        if failure is not None and failure.kind == "aside":
            return "set_aside"
        if failure is not None and failure.must_wait(self._now(), self.state.failures.backoff.longest):
            return "waiting"
        return "due" if self.settling.is_settled(image, self._steady()) else "settling"

    def _process_container(self, container_status: ContainerStatus, progress: PassProgress) -> ContainerStatus:
        """Process the due images of a watched container, and finish an interrupted run."""
        target, container = container_status.target, container_status.container
        if self.state.pauses.list_all() & {container.key, "*"}:
            return replace(container_status, note="paused")
        if not container_status.due and self._find_unfinished(target, container) is None:
            return container_status
        with self.lease_guard.hold(container.key) as held:
            if not held:
                return replace(container_status, note="another watcher is processing it")
            self.runner.run(target, container, container_status.due, progress)
        return container_status

    def _find_unfinished(self, target: WatchTarget, container: ContainerImages) -> str | None:
        """Return the run whose tables are to be finished, unless that failed a short time ago."""
        failure = self.state.failures.find(container, target.recipe.title).get(container.key)
        if failure is not None and failure.must_wait(self._now(), self.state.failures.backoff.longest):
            return None
        return self.state.runs.find_unfinished(container, target.recipe.title)

    def _serve_request(self, target: WatchTarget, claims: _Claims, progress: PassProgress) -> None:
        """Process each image of a request once, after the imports of all have finished; then answer the request."""
        containers = self._list_containers(target)
        for container in containers:
            if claims.get((container.key, target.recipe.title), container.recipe_hash) != container.recipe_hash:
                raise UsageError(_name_conflict(container, target))
        if self.state.pauses.list_all() & {"*", *(c.key for c in containers)}:
            self.status.set_request_status(target, "paused")
            return
        now = self._steady()
        pending = [i for c in containers for i in c.images if i.version and not i.has_results]
        unsettled = sum(not self.settling.is_settled(image, now) for image in pending)
        if unsettled:
            progress.unsettled.append(unsettled)
            self.status.set_request_status(target, f"waiting for the import of {pluralize(unsettled, 'image')}")
            return  # the request stays queued until the next pass
        for container in containers:
            if not self._serve_container(target, container, progress):
                return
        self._complete_request(target, progress)

    def _serve_container(self, target: WatchTarget, container: ContainerImages, progress: PassProgress) -> bool:
        """Process a container of a request; False if the request must wait for the next pass."""
        tried = self.state.failures.find(container, target.recipe.title)
        chosen = [i.key for i in container.images if not i.has_results and _is_untried(tried.get(i.key))]
        if not chosen and self._find_unfinished(target, container) is None:
            return True
        with self.lease_guard.hold(container.key) as held:
            if not held:
                self.status.set_request_status(target, f"another watcher is processing {container.key}")
                return False
            message = f"processing {pluralize(len(chosen), 'image')} in {container.key}"
            if not self._answer(target, "running", message, progress):
                return False
            self.runner.run(target, container, chosen, progress)
        return True

    def _complete_request(self, target: WatchTarget, progress: PassProgress) -> None:
        containers, title = self._list_containers(target), target.recipe.title
        images = [i for container in containers for i in container.images]
        complete = sum(i.has_results for i in images)
        failed = [f for container in containers for f in self.state.failures.find(container, title).values()]
        reasons = "".join(f"; {f.image}: {f.reason}" for f in failed[:5])
        more = f"; and {len(failed) - 5} more" if len(failed) > 5 else ""
        message = f"results on {complete} of {pluralize(len(images), 'image')}{reasons}{more}"
        if not images:
            message = f"{target.key}: contains no images"
        if not self._answer(target, "done" if complete else "failed", message, progress):
            return
        for failure in failed:
            self.state.failures.forget(failure.container, failure.image, title)


def _is_untried(failure: FailureRecord | None) -> bool:
    return failure is None or failure.kind == "working" or failure.retry_at == 0


def _name_conflict(container: ContainerImages, target: WatchTarget) -> str:
    title = target.recipe.title
    return f"{container.key}: is watched with another recipe called {title}; give this recipe another name"
