"""The service around single passes: scheduler, heartbeat, signals, orderly stop."""

from __future__ import annotations

import logging
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from types import FrameType

from apscheduler.schedulers.background import BackgroundScheduler
from sqlalchemy import Engine

from omero_pixclf.errors import OutputError
from omero_pixclf.watch.backoff import Backoff, FailureTable
from omero_pixclf.watch.container_runner import WatcherState
from omero_pixclf.watch.heartbeats import Heartbeat
from omero_pixclf.watch.import_settling import ImportSettling
from omero_pixclf.watch.lease_guard import LeaseGuard, StopRequest
from omero_pixclf.watch.leases import RENEWAL_S, Leases
from omero_pixclf.watch.metrics import Metrics
from omero_pixclf.watch.protocols import WatchBackend
from omero_pixclf.watch.run_table import PauseTable, RunTable
from omero_pixclf.watch.settings import ServiceSettings
from omero_pixclf.watch.state import WatcherProcess
from omero_pixclf.watch.status import PassResult, WatcherStatus
from omero_pixclf.watch.systemd import notify
from omero_pixclf.watch.watcher import Watcher

__all__ = ["WatchService", "create_service", "run_forever", "run_once", "stopped_by_signals"]

_log = logging.getLogger(__name__)
_CLOCK_STEP_S = 5.0
"""A difference between both clocks that grows by more than this means that the system clock was set."""
_CLEANUP_S = 5.0
"""Part of the grace period reserved for removing the incomplete results of an abandoned image."""


@dataclass(frozen=True)
class WatchService:
    """A watcher with its heartbeat and its settings."""

    watcher: Watcher
    heartbeat: Heartbeat
    settings: ServiceSettings

    def beat(self) -> None:
        """Renew the lease, write the heartbeat, and notify systemd if the watcher is healthy."""
        status = self.watcher.status
        healthy, message = status.health
        try:
            self.watcher.lease_guard.renew()
            self.heartbeat.beat(healthy, message, status.passes)
        except OutputError as error:
            _log.error("%s", error)
            healthy = False
        if healthy:
            notify(f"WATCHDOG=1\nSTATUS={message}", os.environ)


def create_service(
    backend: WatchBackend,
    engine: Engine,
    settings: ServiceSettings,
    stop: StopRequest,
    *,
    installation: str = "",
    now: Callable[[], float] = time.time,
    steady: Callable[[], float] = time.monotonic,
) -> WatchService:
    """Create a watcher with its state.

    Parameters
    ----------
    backend
        The server whose containers are watched.
    engine
        The state database (`omero_pixclf.watch.state.open_state`).
    settings
        Intervals and limits.
    stop
        Stops the watcher when it is set.
    installation
        Id of the watcher's installation, whose interrupted runs it resumes.
    now
        Seconds since 1970.
    steady
        A monotonic clock, in seconds.
    """
    process = WatcherProcess.current(installation)
    backoff = Backoff(settings.attempts, settings.backoff, settings.backoff_longest)
    runs = RunTable(engine, process, now, keep=settings.keep_runs)
    state = WatcherState(FailureTable(engine, backoff, now), runs, PauseTable(engine))
    lease_guard = LeaseGuard(Leases(engine, process, steady), stop)
    status = WatcherStatus(steady, settings.late)
    settling = ImportSettling(settings.settle)
    watcher = Watcher(backend, state, lease_guard, settling, status, Metrics(), steady=steady, now=now)
    return WatchService(watcher, Heartbeat(engine, process, now), settings)


def run_once(service: WatchService) -> PassResult:
    """Make one pass, and a second one after a while if there were images whose import may not have finished."""
    watcher, settle = service.watcher, service.settings.settle
    with _heartbeat_thread(service, lambda: None):
        first = watcher.run_pass()
        if first.settling and not first.error and not watcher.stop.requested.wait(settle):
            second = watcher.run_pass()
            return replace(second, done=first.done + second.done, failed=first.failed + second.failed)
    return first


def run_forever(service: WatchService, *, ready: Callable[[], None] = lambda: None) -> bool:
    """Make passes until a stop is requested; True if the last one ended within the grace period.

    Parameters
    ----------
    service
        The watcher; `StopRequest` of its watcher ends the passes.
    ready
        Called once, when the service has started.
    """
    stop, idle = service.watcher.stop, threading.Event()
    idle.set()

    def run_pass() -> None:
        idle.clear()
        try:
            if not stop.requested.is_set():
                service.watcher.run_pass()
        finally:
            idle.set()

    scheduler = BackgroundScheduler(timezone=timezone.utc)  # zoneinfo may not know the time zone of this host
    # A late pass is still made, and the passes missed during a long one are made as a single one.
    options = {"misfire_grace_time": None, "coalesce": True, "max_instances": 1}
    first = datetime.now(timezone.utc)
    job = scheduler.add_job(run_pass, "interval", seconds=service.settings.every, next_run_time=first, **options)
    with _heartbeat_thread(service, lambda: job.modify(next_run_time=datetime.now(timezone.utc))):
        scheduler.start()
        ready()
        notify("READY=1", os.environ)
        stop.requested.wait()
        notify("STOPPING=1", os.environ)
        scheduler.pause()
        orderly = _wait_for_pass(stop, idle, service.settings.grace)
        scheduler.shutdown(wait=orderly)
    return orderly


def _wait_for_pass(stop: StopRequest, idle: threading.Event, grace: float) -> bool:
    """Wait until the current pass has ended; near the end of the grace period (seconds), abandon the current image."""
    cleanup = min(_CLEANUP_S, grace / 2)
    end = time.monotonic() + grace
    while not idle.wait(0.1):
        left = end - time.monotonic()
        if left <= cleanup and not stop.immediate.is_set():
            _log.warning("the grace period ends: the current image is abandoned")
            stop.immediate.set()
        if left <= 0:
            _log.error("the current image did not end; its incomplete results are removed at the next start")
            return False
    return True


@contextmanager
def _heartbeat_thread(service: WatchService, on_clock_step: Callable[[], object]) -> Iterator[None]:
    """Run `WatchService.beat` in a thread, and call ``on_clock_step`` after the system clock was set.

    The thread uses the monotonic clock. The scheduler uses the system clock: if that were set back by an hour, the
    scheduler would start no pass for an hour.
    """
    ended = threading.Event()
    service.beat()

    def beat_until_end() -> None:
        offset = time.time() - time.monotonic()
        while not ended.wait(RENEWAL_S):
            service.beat()
            if abs(time.time() - time.monotonic() - offset) > _CLOCK_STEP_S:
                offset = time.time() - time.monotonic()
                _log.warning("the system clock was set; the next pass starts now")
                on_clock_step()

    thread = threading.Thread(target=beat_until_end, name="heartbeat", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
        service.heartbeat.stop()


@contextmanager
def stopped_by_signals(stop: StopRequest) -> Iterator[None]:
    """Request a stop at SIGTERM and SIGINT, and an immediate one at the second signal, until the context ends."""

    def handle(number: int, _: FrameType | None) -> None:
        # In a thread: setting an event takes its lock, which the interrupted thread may hold.
        event = stop.immediate if stop.requested.is_set() else stop.requested
        threading.Thread(target=event.set, daemon=True).start()

    before = {number: signal.signal(number, handle) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
