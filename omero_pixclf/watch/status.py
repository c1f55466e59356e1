"""What the watcher shows of itself: containers as the last pass saw them, what is in work, whether all is well."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from omero_pixclf.watch.protocols import Order, Part, Refused

__all__ = ["Asked", "Board", "Outlook", "Passed"]


@dataclass(frozen=True)
class Outlook:
    """One container under one recipe, as the last pass saw it; numbers of images.

    Attributes
    ----------
    standing, due, settling, resting, aside
        Done already; to be worked on now; whose import is still going on; that failed and wait for their next
        attempt; that are not tried any more.
    note
        Why it is not worked on now, if so: paused, or another watcher is at it.
    """

    order: Order
    part: Part
    standing: int
    due: tuple[str, ...]
    settling: int
    resting: int
    aside: int
    note: str = ""


@dataclass(frozen=True)
class Asked:
    """A request that is not answered yet, and how it stands."""

    order: Order
    note: str


@dataclass(frozen=True)
class Passed:
    """What one pass over everything came to.

    Attributes
    ----------
    done, failed
        How many images ended so; refused ones count as failed.
    settling
        How many images of standing orders and of requests have not been left alone for long enough yet.
    asked
        How many requests are still to be served.
    error
        Why the pass could not be finished; empty where it was.
    """

    outlooks: tuple[Outlook, ...] = ()
    problems: tuple[Refused, ...] = ()
    done: int = 0
    failed: int = 0
    settling: int = 0
    asked: int = 0
    error: str = ""


@dataclass
class Board:
    """Shared between the thread that works and those that show.

    Attributes
    ----------
    steady
        A clock that never jumps, in seconds.
    late
        A pass that shows no progress for so many seconds is no longer healthy.
    """

    steady: Callable[[], float]
    late: float
    last: Passed | None = None
    in_work: str = ""
    passes: int = 0
    _moved: float = field(default=0.0, init=False)
    _queue: dict[int, Asked] = field(default_factory=dict, init=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False)

    def __post_init__(self) -> None:
        self._moved = self.steady()

    def moved(self, in_work: str | None = None) -> None:
        """There is progress; ``in_work`` says what is worked on from now."""
        with self._lock:
            self._moved = self.steady()
            if in_work is not None:
                self.in_work = in_work

    def queued(self, orders: Sequence[Order]) -> None:
        """These requests are to be served, in this order."""
        with self._lock:
            self._queue = {o.request: Asked(o, "waits for its turn") for o in orders if o.request is not None}

    def stands(self, order: Order, note: str) -> None:
        """How a request stands; with an empty note it is answered, and not in the queue any more."""
        with self._lock:
            if order.request is not None and note:
                self._queue[order.request] = Asked(order, note)
            elif order.request is not None:
                self._queue.pop(order.request, None)

    @property
    def queue(self) -> tuple[Asked, ...]:
        """The requests that are not answered yet, in the order in which they are served."""
        with self._lock:
            return tuple(self._queue.values())

    def passed(self, result: Passed) -> None:
        """A pass has ended."""
        with self._lock:
            self.last, self.passes, self.in_work, self._moved = result, self.passes + 1, "", self.steady()

    @property
    def health(self) -> tuple[bool, str]:
        """Whether all is well, and what to say about it."""
        with self._lock:
            quiet = self.steady() - self._moved
            if quiet > self.late:
                return False, f"no progress for {quiet:.0f} s{f' on {self.in_work}' if self.in_work else ''}"
            if self.last is None:
                return True, "the first pass is under way"
            return (
                not self.last.error,
                self.last.error or f"passes so far: {self.passes}, the last one without an error",
            )
