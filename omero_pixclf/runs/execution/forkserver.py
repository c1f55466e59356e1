"""Start worker processes from a fork server that has imported the package.

On Linux workers are forked from a process that has imported the modules and has done nothing else: it has no threads
and no connections to inherit. It ends with this process. On other systems each worker is spawned and imports the
modules by itself. Workers see the environment variables that were set when the first one was prepared.
"""

from __future__ import annotations

import multiprocessing
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from multiprocessing import forkserver, resource_tracker
from multiprocessing.context import BaseContext

__all__ = ["METHOD", "block_interrupts", "make_process_context", "start_forkserver"]

METHOD = "forkserver" if sys.platform == "linux" else "spawn"


def make_process_context(modules: Sequence[str]) -> BaseContext:
    """What starts workers; ``modules`` are imported before the first one, if none has been prepared before."""
    context = multiprocessing.get_context(METHOD)
    if METHOD == "forkserver":
        context.set_forkserver_preload(list(modules))
    return context


def start_forkserver(modules: Sequence[str]) -> None:
    """Begin to import what workers will need, and return at once."""
    make_process_context(modules)
    if METHOD == "forkserver":
        with block_interrupts():
            forkserver.ensure_running()


@contextmanager
def block_interrupts() -> Iterator[None]:
    """Processes that are started within never get SIGINT and SIGTERM: this one decides what an interruption means.

    A terminal sends Ctrl-C, and a batch system its SIGTERM, to all of them. Here the signals wait until the end.
    """
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    resource_tracker.ensure_running()  # which starts a process, too, and then lets the signals through
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM, signal.SIGHUP})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
