"""Ctrl-C and polite kills: the work is abandoned cleanly, and people are told how to go on."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

__all__ = ["Interrupted", "advise_on_interrupt", "termination_as_interrupt"]

TERMINATION_SIGNALS = tuple(getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name))


class Interrupted(KeyboardInterrupt):
    """The work was interrupted; the text says how to go on."""


@contextmanager
def termination_as_interrupt() -> Iterator[None]:
    """SIGTERM (scancel, docker stop) and a closed terminal are interruptions until the context ends.

    Only the first counts: what follows it must not break off the cleaning up. What is ignored stays so (nohup).
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    told: list[int] = []

    def interrupt(number: int, _: object) -> None:
        if not told:
            told.append(number)
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
    """Say how to go on where the work within is interrupted; ``advice`` is asked then, and may be empty."""
    try:
        yield
    except KeyboardInterrupt as stop:
        said = advice()
        if said and not isinstance(stop, Interrupted):
            raise Interrupted(said) from stop
        raise
