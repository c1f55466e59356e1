"""The service around single passes: a scheduler, a heart that beats, signals, and an orderly end."""

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
from omero_pixclf.watch.backoff import Backoff, Failures
from omero_pixclf.watch.container_runner import Memory
from omero_pixclf.watch.heartbeats import Presence
from omero_pixclf.watch.import_settling import Settling
from omero_pixclf.watch.lease_guard import Stop, Watchman
from omero_pixclf.watch.leases import BEAT_S, Leases
from omero_pixclf.watch.metrics import Metrics
from omero_pixclf.watch.protocols import Facility
from omero_pixclf.watch.run_table import Pauses, RunLog
from omero_pixclf.watch.settings import Service
from omero_pixclf.watch.state import Holder
from omero_pixclf.watch.status import Board, Passed
from omero_pixclf.watch.systemd import notify
from omero_pixclf.watch.watcher import Watcher

__all__ = ["Desk", "assemble", "run_forever", "run_once", "stopped_by_signals"]

_log = logging.getLogger(__name__)
JUMP_S = 5.0
_TIDY_S = 5.0
"""Of the grace, kept for taking back what an abandoned image has written."""


@dataclass(frozen=True)
class Desk:
    """A watcher with all that belongs to it."""

    watcher: Watcher
    presence: Presence
    service: Service

    def beat(self) -> None:
        """Keep the lease, say how things are, and let systemd know."""
        board = self.watcher.board
        healthy, message = board.health
        try:
            self.watcher.watchman.beat()
            self.presence.tell(healthy, message, board.passes)
        except OutputError as error:
            _log.error("%s", error)
            healthy = False
        if healthy:
            notify(f"WATCHDOG=1\nSTATUS={message}", os.environ)


def assemble(
    facility: Facility,
    engine: Engine,
    service: Service,
    stop: Stop,
    *,
    site: str = "",
    now: Callable[[], float] = time.time,
    steady: Callable[[], float] = time.monotonic,
) -> Desk:
    """Put a watcher together; ``site`` is the id of its installation, whose interrupted runs it resumes."""
    holder = Holder.this_process(site)
    backoff = Backoff(service.attempts, service.backoff, service.backoff_longest)
    runs = RunLog(engine, holder, now, keep=service.keep_runs)
    memory = Memory(Failures(engine, backoff, now), runs, Pauses(engine))
    watchman = Watchman(Leases(engine, holder, steady), stop)
    board = Board(steady, service.late)
    settling = Settling(service.settle)
    watcher = Watcher(facility, memory, watchman, settling, board, Metrics(), steady=steady, now=now)
    return Desk(watcher, Presence(engine, holder, now), service)


def run_once(desk: Desk) -> Passed:
    """One pass; a second one after a while where images were found whose import may still be going on."""
    with _heart(desk, lambda: None):
        passed = desk.watcher.look_after()
        if passed.settling and not passed.error and not desk.watcher.stop.wanted.wait(desk.service.settle):
            again = desk.watcher.look_after()
            return replace(again, done=passed.done + again.done, failed=passed.failed + again.failed)
    return passed


def run_forever(desk: Desk, *, ready: Callable[[], None] = lambda: None) -> bool:
    """Pass after pass, until a stop is wanted; True where the end was orderly, within the grace."""
    stop, resting = desk.watcher.stop, threading.Event()
    resting.set()

    def one_pass() -> None:
        resting.clear()
        try:
            if not stop.wanted.is_set():
                desk.watcher.look_after()
        finally:
            resting.set()

    scheduler = BackgroundScheduler(timezone=timezone.utc)  # the machine's own need not be one that zoneinfo knows
    # A pass that is late is done all the same, and those missed during a long one become a single one.
    often = {"misfire_grace_time": None, "coalesce": True, "max_instances": 1}
    first = datetime.now(timezone.utc)
    job = scheduler.add_job(one_pass, "interval", seconds=desk.service.every, next_run_time=first, **often)
    with _heart(desk, lambda: job.modify(next_run_time=datetime.now(timezone.utc))):
        scheduler.start()
        ready()
        notify("READY=1", os.environ)
        stop.wanted.wait()
        notify("STOPPING=1", os.environ)
        scheduler.pause()
        orderly = _ended(stop, resting, desk.service.grace)
        scheduler.shutdown(wait=orderly)
    return orderly


def _ended(stop: Stop, resting: threading.Event, grace: float) -> bool:
    """Wait for the pass under way: for the image in work first, then for its being abandoned."""
    tidy = min(_TIDY_S, grace / 2)
    end = time.monotonic() + grace
    while not resting.wait(0.1):
        left = end - time.monotonic()
        if left <= tidy and not stop.at_once.is_set():
            _log.warning("the grace runs out: the image in work is abandoned")
            stop.at_once.set()
        if left <= 0:
            _log.error("the image in work does not end; what it has written is removed at the next start")
            return False
    return True


@contextmanager
def _heart(desk: Desk, jumped: Callable[[], object]) -> Iterator[None]:
    """A thread that beats. It goes by the steady clock, and calls ``jumped`` where the other one has jumped.

    The scheduler goes by the wall clock: set back by an hour, it would not do anything for an hour.
    """
    ended = threading.Event()
    desk.beat()

    def go_on() -> None:
        offset = time.time() - time.monotonic()
        while not ended.wait(BEAT_S):
            desk.beat()
            if abs(time.time() - time.monotonic() - offset) > JUMP_S:
                offset = time.time() - time.monotonic()
                _log.warning("the clock was set; passes go on at once")
                jumped()

    thread = threading.Thread(target=go_on, name="heart", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
        desk.presence.leave()


@contextmanager
def stopped_by_signals(stop: Stop) -> Iterator[None]:
    """SIGTERM and SIGINT stop the watcher; a second one does so at once."""

    def handle(number: int, _: FrameType | None) -> None:
        # In a thread: setting an event takes its lock, which this thread may hold where the signal interrupts it.
        event = stop.at_once if stop.wanted.is_set() else stop.wanted
        threading.Thread(target=event.set, daemon=True).start()

    before = {number: signal.signal(number, handle) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
