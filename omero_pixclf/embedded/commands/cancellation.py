"""Cancellation of the request that the current thread executes."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from omero_pixclf.embedded.commands.request_errors import RequestError

__all__ = ["cancellable", "check_cancelled"]

_cancelled: ContextVar[threading.Event | None] = ContextVar("cancelled", default=None)


@contextmanager
def cancellable(cancelled: threading.Event) -> Iterator[None]:
    """Make `check_cancelled` raise in this context as soon as the event is set."""
    token = _cancelled.set(cancelled)
    try:
        yield
    finally:
        _cancelled.reset(token)


def check_cancelled(wait_s: float = 0.0) -> None:
    """Wait, and raise RequestError if the request has been cancelled; all changes are then rolled back."""
    event = _cancelled.get()
    if event is None:
        event = threading.Event()
    if event.wait(wait_s):
        raise RequestError("not-ready", "the request has been cancelled")
