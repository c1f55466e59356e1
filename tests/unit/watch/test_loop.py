"""The service: passes end in order, in time in any case, and continue after the system clock was set."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

from omero_pixclf.watch import loop
from omero_pixclf.watch.lease_guard import StopRequest
from omero_pixclf.watch.settings import ServiceSettings
from omero_pixclf.watch.state import open_state


def test_a_pass_that_ends_in_time_is_waited_for() -> None:
    stop, resting = StopRequest(), threading.Event()
    threading.Timer(0.2, resting.set).start()
    assert loop._wait_for_pass(stop, resting, 5.0) and not stop.immediate.is_set()


def test_a_pass_that_does_not_end_is_first_abandoned_and_then_left() -> None:
    stop, resting, begin = StopRequest(), threading.Event(), time.monotonic()
    assert not loop._wait_for_pass(stop, resting, 0.6)
    assert stop.immediate.is_set() and time.monotonic() - begin < 30


def test_a_pass_that_lets_itself_be_abandoned_ends_in_order() -> None:
    stop, resting = StopRequest(), threading.Event()
    threading.Thread(target=lambda: (stop.immediate.wait(5), resting.set())).start()
    assert loop._wait_for_pass(stop, resting, 1.0)


def test_passes_go_on_at_once_when_the_clock_is_set_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "RENEWAL_S", 0.05)
    service = loop.create_service(None, open_state("sqlite://"), ServiceSettings(), StopRequest())  # type: ignore[arg-type]
    monkeypatch.setattr(loop.WatchService, "beat", lambda self: None)
    jumped, wall = threading.Event(), time.time
    with loop._heartbeat_thread(service, jumped.set):
        assert not jumped.wait(0.3)
        monkeypatch.setattr(time, "time", lambda: wall() - 3600)
        assert jumped.wait(5)


@pytest.mark.parametrize("zone", ["CET-1CEST", '"Europe/Rome"', "Nowhere/Land", ":"])
def test_the_watcher_starts_in_a_time_zone_that_python_does_not_know(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, zone: str
) -> None:
    monkeypatch.setenv("TZ", zone)
    stop = StopRequest()
    stop.requested.set()
    service = loop.create_service(None, open_state(f"sqlite:///{tmp_path}/watch.sqlite"), ServiceSettings(), stop)  # type: ignore[arg-type]
    assert loop.run_forever(service)
