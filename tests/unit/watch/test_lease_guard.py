"""Stop requests and the guard of runs."""

from __future__ import annotations

import threading
import time

import pytest

from omero_pixclf.watch.guarded_io import WorkAbandoned
from omero_pixclf.watch.lease_guard import StopRequest


def test_waiting_for_a_server_is_ended_by_a_stop() -> None:
    stop = StopRequest()
    threading.Timer(0.2, stop.requested.set).start()
    begin = time.monotonic()
    with pytest.raises(WorkAbandoned):
        stop.wait(60)
    assert time.monotonic() - begin < 30
