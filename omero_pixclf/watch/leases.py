"""Leases: one run at a time on a container, among all watchers with one state database.

A lease is valid as long as its holder renews it. To find that out, an observer looks at it twice, so clocks of
different hosts are never compared. A lease is free if its process is gone from the observer's own place (host and
process namespace), or if it has not been renewed for `EXPIRY_S` seconds of the observer's monotonic clock.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sqlalchemy import Engine, delete, insert, select, update
from sqlalchemy.exc import IntegrityError

from omero_pixclf.provenance import is_alive
from omero_pixclf.watch.state import WatcherProcess, leases, transaction

__all__ = ["EXPIRY_S", "RENEWAL_S", "Leases"]

RENEWAL_S = 10.0
"""Seconds between two renewals."""
EXPIRY_S = 90.0
"""Seconds without a renewal after which a lease is free."""


class Leases:
    """The leases, as seen by one process.

    Parameters
    ----------
    steady
        A monotonic clock, in seconds.
    alive
        Whether a process with an id exists in this place.
    """

    def __init__(
        self,
        engine: Engine,
        process: WatcherProcess,
        steady: Callable[[], float],
        alive: Callable[[int], bool] = is_alive,
    ) -> None:
        self._engine, self._process, self._steady, self._alive = engine, process, steady, alive
        self._seen: dict[str, tuple[str, int, float]] = {}

    def acquire(self, container: str) -> bool:
        """Take the lease of a container if it is free or its holder is gone; False if not."""
        mine = {"holder": self._process.name, "place": self._process.place, "pid": self._process.pid, "beat": 0}
        try:
            # In a transaction of its own: PostgreSQL aborts one that violates a key.
            with self._engine.begin() as db:
                db.execute(insert(leases).values(container=container, **mine))
        except IntegrityError:
            return self._take_over(container, mine)
        return True

    def _take_over(self, container: str, mine: dict[str, Any]) -> bool:
        with transaction(self._engine) as db:
            row = db.execute(select(leases).where(leases.c.container == container)).one_or_none()
            if row is None or not self._is_expired(row):
                return False
            same = (leases.c.container == container) & (leases.c.holder == row.holder) & (leases.c.beat == row.beat)
            return bool(db.execute(update(leases).where(same).values(**mine)).rowcount == 1)

    def _is_expired(self, row: Any) -> bool:
        me = self._process
        same_place = row.place == me.place and row.holder != me.name
        if same_place and (row.pid == me.pid or not self._alive(row.pid)):  # my id in an earlier process, or none
            return True
        now = self._steady()
        holder, beat, since = self._seen.get(row.container, ("", -1, now))
        if (holder, beat) != (row.holder, row.beat):
            since = now
        self._seen[row.container] = (row.holder, row.beat, since)
        return now - since >= EXPIRY_S

    def renew(self, container: str) -> bool:
        """Renew a lease that this process holds; False if another one has taken it over."""
        mine = (leases.c.container == container) & (leases.c.holder == self._process.name)
        with transaction(self._engine) as db:
            return bool(db.execute(update(leases).where(mine).values(beat=leases.c.beat + 1)).rowcount == 1)

    def release(self, container: str) -> None:
        """Release a lease; without effect if this process does not hold it any more."""
        mine = (leases.c.container == container) & (leases.c.holder == self._process.name)
        with transaction(self._engine) as db:
            db.execute(delete(leases).where(mine))
