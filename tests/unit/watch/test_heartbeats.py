"""Heartbeats of watchers, until they end or are gone."""

from __future__ import annotations

from omero_pixclf.watch.heartbeats import Heartbeat, list_watchers
from omero_pixclf.watch.state import WatcherProcess, open_state


def test_watchers_say_how_they_are_until_they_leave_or_are_gone() -> None:
    engine, here = open_state("sqlite://"), WatcherProcess("a", "here", 1)
    heartbeat = Heartbeat(engine, here, lambda: 1000.0)
    heartbeat.beat(False, "no connection", 3)
    (found,) = list_watchers(engine, here, lambda: 1010.0, lambda pid: True)
    assert found.is_running and not found.is_healthy and found.message == "no connection"
    heartbeat.beat(True, "", 4)
    assert list_watchers(engine, here, lambda: 1010.0, lambda pid: True)[0].is_healthy
    assert not list_watchers(engine, here, lambda: 2000.0, lambda pid: True)[0].is_running
    assert list_watchers(engine, here, lambda: 1010.0, lambda pid: True) == []
    heartbeat.beat(True, "", 5)
    heartbeat.stop()
    assert list_watchers(engine, here, lambda: 1010.0) == []
