"""The watcher's status: containers as of the last pass, current work, health."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from omero_pixclf.watch.protocols import ContainerImages, RefusedTarget, WatchTarget

__all__ = ["ContainerStatus", "PassResult", "RequestStatus", "WatcherStatus"]


@dataclass(frozen=True)
class ContainerStatus:
    """Numbers of images of a container by state, for one recipe, as the last pass found them.

    Attributes
    ----------
    complete
        Images with results.
    due
        Keys of the images to process now.
    settling
        Images whose import has not finished.
    waiting
        Images that failed and wait for their next attempt.
    set_aside
        Images that failed too often and are not tried again.
    note
        Why the container is not processed now: paused, or leased by another watcher; otherwise empty.
    """

    target: WatchTarget
    container: ContainerImages
    complete: int
    due: tuple[str, ...]
    settling: int
    waiting: int
    set_aside: int
    note: str = ""

    @property
    def counts(self) -> dict[str, int]:
        """Numbers of images by state, under the names used in the metrics and in ``watch --json``."""
        return {
            "standing": self.complete,
            "due": len(self.due),
            "settling": self.settling,
            "resting": self.waiting,
            "aside": self.set_aside,
        }

    @property
    def pending(self) -> str:
        """The images without results, as text: ``2 due, 1 waiting for a retry``; empty if there are none."""
        states = {
            "due": len(self.due),
            "being imported": self.settling,
            "waiting for a retry": self.waiting,
            "set aside": self.set_aside,
        }
        return ", ".join(f"{count} {state}" for state, count in states.items() if count)


@dataclass(frozen=True)
class RequestStatus:
    """A request that has not been answered, and its state as text."""

    target: WatchTarget
    note: str


@dataclass(frozen=True)
class PassResult:
    """Result of one pass over all targets.

    Attributes
    ----------
    done, failed
        Numbers of images; images refused by the plan count as failed.
    settling
        Number of images, of watched targets and of requests, whose import has not finished.
    open_requests
        Number of requests that are still to be served.
    error
        Why the pass ended early; empty if it did not.
    """

    containers: tuple[ContainerStatus, ...] = ()
    problems: tuple[RefusedTarget, ...] = ()
    done: int = 0
    failed: int = 0
    settling: int = 0
    open_requests: int = 0
    error: str = ""


@dataclass
class WatcherStatus:
    """Current state of the watcher, shared by the thread that works and the threads that show it.

    Attributes
    ----------
    steady
        A monotonic clock, in seconds.
    late
        Seconds without progress after which the watcher is unhealthy.
    last_pass
        Result of the last pass; None during the first one.
    current_work
        What is processed now, as text.
    passes
        Number of passes that have ended.
    """

    steady: Callable[[], float]
    late: float
    last_pass: PassResult | None = None
    current_work: str = ""
    passes: int = 0
    _last_progress: float = field(default=0.0, init=False)
    _requests: dict[int, RequestStatus] = field(default_factory=dict, init=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False)

    def __post_init__(self) -> None:
        self._last_progress = self.steady()

    def report_progress(self, current_work: str | None = None) -> None:
        """Record that there is progress, and what is processed from now on (None: as before)."""
        with self._lock:
            self._last_progress = self.steady()
            if current_work is not None:
                self.current_work = current_work

    def set_requests(self, targets: Sequence[WatchTarget]) -> None:
        """Set the requests to serve, in this order."""
        with self._lock:
            self._requests = {t.request: RequestStatus(t, "queued") for t in targets if t.request is not None}

    def set_request_status(self, target: WatchTarget, note: str) -> None:
        """Set the state of a request; an empty note removes it, since it has been answered."""
        with self._lock:
            if target.request is not None and note:
                self._requests[target.request] = RequestStatus(target, note)
            elif target.request is not None:
                self._requests.pop(target.request, None)

    @property
    def requests(self) -> tuple[RequestStatus, ...]:
        """The requests that have not been answered, in the order in which they are served."""
        with self._lock:
            return tuple(self._requests.values())

    def record_pass(self, result: PassResult) -> None:
        """Record the end of a pass."""
        with self._lock:
            self.last_pass, self.passes = result, self.passes + 1
            self.current_work, self._last_progress = "", self.steady()

    @property
    def health(self) -> tuple[bool, str]:
        """Whether the watcher is healthy, and a message."""
        with self._lock:
            quiet = self.steady() - self._last_progress
            if quiet > self.late:
                return False, f"no progress for {quiet:.0f} s{f' on {self.current_work}' if self.current_work else ''}"
            if self.last_pass is None:
                return True, "the first pass is running"
            if self.last_pass.error:
                return False, self.last_pass.error
            return True, f"passes completed: {self.passes}; the last one had no error"
