"""The guard of the watcher's runs: holds the container's lease, beats, and says when work must end."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from omero_pixclf.watch.guarded_io import Abandoned
from omero_pixclf.watch.leases import Leases

__all__ = ["Stop", "Watchman"]


@dataclass(frozen=True)
class Stop:
    """How a watcher is stopped: first kindly, after the image in work; then at once, leaving nothing half-written."""

    wanted: threading.Event = field(default_factory=threading.Event)
    at_once: threading.Event = field(default_factory=threading.Event)

    def check(self) -> None:
        """Raise `Abandoned` where a stop is wanted."""
        if self.wanted.is_set():
            raise Abandoned("the watcher was told to stop")

    @property
    def may_finish(self) -> bool:
        """A stop is wanted, and there is still time to put things in order."""
        return self.wanted.is_set() and not self.at_once.is_set()

    def pause(self, seconds: float) -> None:
        """Wait; a stop ends it."""
        if self.wanted.wait(seconds):
            self.check()


class Watchman:
    """Holds at most one lease at a time."""

    def __init__(self, leases: Leases, stop: Stop) -> None:
        self._leases, self.stop = leases, stop
        self._held: str | None = None
        self._lost = False
        self._lock = threading.Lock()

    @contextmanager
    def lease(self, container: str) -> Iterator[bool]:
        """A container's lease while the context lasts; False where another watcher has it."""
        if not self._leases.take(container):
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

    def beat(self) -> None:
        """Keep the lease alive; called every few seconds from another thread."""
        with self._lock:
            if self._held is not None and not self._leases.beat(self._held):
                self._lost = True

    def guard(self, container: str, begun: Callable[[str], None]) -> _Guard:
        """A run's guard; ``begun`` is told each image whose work begins."""
        return _Guard(self, container, begun)

    def check(self, container: str) -> None:
        """Raise `Abandoned` where work on a container must not go on."""
        if self.stop.at_once.is_set():
            raise Abandoned("the watcher was told to stop, and its grace has run out")
        if self._lost:
            raise Abandoned(f"{container}: another watcher has taken over")


@dataclass(frozen=True)
class _Guard:
    watchman: Watchman
    container: str
    begun: Callable[[str], None]

    def begin(self, image: str) -> None:
        self.check()
        self.begun(image)

    def check(self) -> None:
        self.watchman.check(self.container)
