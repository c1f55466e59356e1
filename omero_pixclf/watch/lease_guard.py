"""Renew a container's lease during a run, and stop the run if the lease is lost."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from omero_pixclf.watch.guarded_io import WorkAbandoned
from omero_pixclf.watch.leases import Leases

__all__ = ["LeaseGuard", "StopRequest"]


@dataclass(frozen=True)
class StopRequest:
    """Request to stop a watcher.

    Attributes
    ----------
    requested
        Stop after the current image.
    immediate
        Abandon the current image, too; its incomplete results are removed.
    """

    requested: threading.Event = field(default_factory=threading.Event)
    immediate: threading.Event = field(default_factory=threading.Event)

    def check(self) -> None:
        """Raise `WorkAbandoned` if a stop was requested."""
        if self.requested.is_set():
            raise WorkAbandoned("the watcher was told to stop")

    @property
    def may_finish(self) -> bool:
        """Whether a stop was requested, and there is still time to write the tables."""
        return self.requested.is_set() and not self.immediate.is_set()

    def wait(self, seconds: float) -> None:
        """Wait; raise `WorkAbandoned` as soon as a stop is requested."""
        if self.requested.wait(seconds):
            self.check()


class LeaseGuard:
    """Holds at most one lease at a time.

    Parameters
    ----------
    stop
        The watcher's stop request; an immediate stop ends the work on the container.
    """

    def __init__(self, leases: Leases, stop: StopRequest) -> None:
        self._leases, self.stop = leases, stop
        self._held: str | None = None
        self._lost = False
        self._lock = threading.Lock()

    @contextmanager
    def hold(self, container: str) -> Iterator[bool]:
        """Hold the lease of a container until the context ends; yields False if another watcher holds it."""
        if not self._leases.acquire(container):
            yield False
            return
        with self._lock:
            self._held, self._lost = container, False
        try:
            yield True
        finally:
            with self._lock:
                self._held = None
            self._leases.release(container)

    def renew(self) -> None:
        """Renew the lease, if one is held; called every few seconds from another thread."""
        with self._lock:
            if self._held is not None and not self._leases.renew(self._held):
                self._lost = True

    def guard_run(self, container: str, on_begin: Callable[[str], None]) -> _RunGuard:
        """Return the guard of a run; it calls ``on_begin`` with the key of each image that is begun."""
        return _RunGuard(self, container, on_begin)

    def check(self, container: str) -> None:
        """Raise `WorkAbandoned` if work on a container must end: immediate stop, or lease lost."""
        if self.stop.immediate.is_set():
            raise WorkAbandoned("the watcher was told to stop, and the grace period has ended")
        if self._lost:
            raise WorkAbandoned(f"{container}: another watcher has taken over the lease")


@dataclass(frozen=True)
class _RunGuard:
    lease_guard: LeaseGuard
    container: str
    on_begin: Callable[[str], None]

    def begin(self, image: str) -> None:
        self.check()
        self.on_begin(image)

    def check(self) -> None:
        self.lease_guard.check(self.container)
