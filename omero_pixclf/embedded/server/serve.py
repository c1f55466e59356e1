"""Run the server in the foreground, for ``omero-pixclf embedded start``."""

from __future__ import annotations

import gc
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from omero_pixclf.embedded.server.server import Server, start

__all__ = ["StopSignals", "serve"]

_POLL_S = 0.1


class StopSignals:
    """Records SIGINT and SIGTERM from its creation on, in place of the default handlers."""

    def __init__(self) -> None:
        self._received: list[int] = []  # no Event: a second signal while its lock is held would deadlock
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda received, _: self._received.append(received))

    def wait(self) -> None:
        """Return as soon as one of the signals has been received."""
        while not self._received:
            time.sleep(_POLL_S)


@contextmanager
def serve(folder: Path, *, port: int, host: str, password: str | None) -> Iterator[Server]:
    """Run a server until the context ends; the parameters are those of `omero_pixclf.embedded.server.server.start`.

    The garbage collector is set to run rarely: a large result consists of tens of thousands of objects.
    """
    with start(folder, port=port, host=host, password=password) as server:
        gc.freeze()
        gc.set_threshold(50_000, 20, 20)
        yield server
