"""Where worker processes come from: what they import is imported once, and while the run is still being planned.

On Linux they are forked from a process that has imported the modules and has done nothing else: it has no threads and
no connections that could be inherited. It ends with this process. Elsewhere each worker is spawned, and imports all by
itself. Either way a worker sees the environment variables that stood when the first one was prepared.
"""

from __future__ import annotations

import multiprocessing
import sys
from collections.abc import Sequence
from multiprocessing import forkserver
from multiprocessing.context import BaseContext

__all__ = ["prepare", "worker_context"]

METHOD = "forkserver" if sys.platform == "linux" else "spawn"


def worker_context(modules: Sequence[str]) -> BaseContext:
    """What starts workers; ``modules`` are imported before the first one, if none has been prepared before."""
    context = multiprocessing.get_context(METHOD)
    if METHOD == "forkserver":
        context.set_forkserver_preload(list(modules))
    return context


def prepare(modules: Sequence[str]) -> None:
    """Begin to import what workers will need, and return at once."""
    worker_context(modules)
    if METHOD == "forkserver":
        forkserver.ensure_running()
