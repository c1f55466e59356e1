"""Handle Ctrl-C, SIGTERM and SIGHUP: stop cleanly and say how to continue."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

__all__ = ["TERMINATION_SIGNALS", "Interrupted", "advise_on_interrupt", "termination_as_interrupt"]

TERMINATION_SIGNALS = tuple(getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name))


class Interrupted(KeyboardInterrupt):
    """The command was interrupted; the text says how to continue."""


@contextmanager
def termination_as_interrupt() -> Iterator[None]:
    """Raise KeyboardInterrupt for SIGTERM (scancel, docker stop) and SIGHUP (closed terminal) until the context ends.

    Only the first signal counts, so that a second one does not interrupt the cleanup. Ignored signals stay ignored
    (nohup).
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    received: list[int] = []

    def interrupt(number: int, _: object) -> None:
        if not received:
            received.append(number)
            raise KeyboardInterrupt

    before = {number: signal.getsignal(number) for number in TERMINATION_SIGNALS}
    for number, handler in before.items():
        if handler is signal.SIG_DFL:
            signal.signal(number, interrupt)
    try:
        yield
    finally:
        for number, handler in before.items():
            if signal.getsignal(number) is interrupt:
                signal.signal(number, handler)


@contextmanager
def advise_on_interrupt(advice: Callable[[], str]) -> Iterator[None]:
    """Add advice on how to continue to a KeyboardInterrupt; ``advice`` is only called then, and may return ""."""
    try:
        yield
    except KeyboardInterrupt as stop:
        text = advice()
        if text and not isinstance(stop, Interrupted):
            raise Interrupted(text) from stop
        raise
