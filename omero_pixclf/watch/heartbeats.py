"""Watchers and their health in the state database, for ``--check``."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from sqlalchemy import Engine, delete, insert, select, update

from omero_pixclf.provenance import is_alive
from omero_pixclf.watch.leases import EXPIRY_S
from omero_pixclf.watch.state import WatcherProcess, transaction, watchers

__all__ = ["Heartbeat", "WatcherHealth", "list_watchers"]


@dataclass(frozen=True)
class WatcherHealth:
    """State of one watcher process.

    Attributes
    ----------
    place
        Its host and process namespace, as in `WatcherProcess`.
    is_running, is_healthy
        Whether the process runs, and whether it runs and reported to be healthy.
    passes
        Number of passes that it has made.
    message
        Its own report.
    """

    place: str
    pid: int
    is_running: bool
    is_healthy: bool
    passes: int
    message: str


class Heartbeat:
    """The row of this process in the table of watchers."""

    def __init__(self, engine: Engine, process: WatcherProcess, now: Callable[[], float]) -> None:
        self._engine, self._process, self._now = engine, process, now

    def beat(self, healthy: bool, message: str, passes: int) -> None:
        """Write the current state of this process."""
        me = {"place": self._process.place, "pid": self._process.pid}
        values = {**me, "beaten": self._now(), "passes": passes, "healthy": healthy, "message": message}
        with transaction(self._engine) as db:
            mine = watchers.c.holder == self._process.name
            if db.execute(update(watchers).where(mine).values(**values)).rowcount == 0:
                db.execute(insert(watchers).values(holder=self._process.name, **values))

    def stop(self) -> None:
        """Remove the row: this process ends."""
        with transaction(self._engine) as db:
            db.execute(delete(watchers).where(watchers.c.holder == self._process.name))


def list_watchers(
    engine: Engine, here: WatcherProcess, now: Callable[[], float], alive: Callable[[int], bool] = is_alive
) -> list[WatcherHealth]:
    """List the watchers that have started and not ended in order; rows of processes that are gone are then removed.

    Parameters
    ----------
    engine
        The state database.
    here
        The calling process; whether a watcher in the same place runs is asked by its process id.
    now
        Seconds since 1970; a watcher elsewhere counts as gone after `EXPIRY_S` seconds without a heartbeat.
    alive
        Whether a process with an id exists in this place.
    """
    with transaction(engine) as db:
        rows = db.execute(select(watchers)).all()
    found = []
    for row in rows:
        running = abs(now() - row.beaten) < EXPIRY_S and (row.place != here.place or alive(row.pid))
        if not running:
            with transaction(engine) as db:
                db.execute(
                    delete(watchers).where((watchers.c.holder == row.holder) & (watchers.c.beaten == row.beaten))
                )
        found.append(WatcherHealth(row.place, row.pid, running, running and row.healthy, row.passes, row.message))
    return found
