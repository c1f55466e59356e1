"""One run at a time on a container, among all watchers that share a state database.

A lease is alive as long as its beat goes on. Whether it does is seen by looking twice, so no clock is compared with
another: a lease is given up for dead where its process is gone from this very place, or where its beat has stood
still for `EXPIRY_S` seconds of the observer's own steady clock.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sqlalchemy import Engine, delete, insert, select, update
from sqlalchemy.exc import IntegrityError

from omero_pixclf.provenance import is_alive
from omero_pixclf.watch.state import Holder, leases, transaction

__all__ = ["BEAT_S", "EXPIRY_S", "Leases"]

BEAT_S = 10.0
EXPIRY_S = 90.0


class Leases:
    """The leases as one process sees them.

    Parameters
    ----------
    steady
        A clock that never jumps, in seconds.
    alive
        Whether a process of this place lives.
    """

    def __init__(
        self, engine: Engine, holder: Holder, steady: Callable[[], float], alive: Callable[[int], bool] = is_alive
    ) -> None:
        self._engine, self._holder, self._steady, self._alive = engine, holder, steady, alive
        self._seen: dict[str, tuple[str, int, float]] = {}

    def take(self, container: str) -> bool:
        """Take a container's lease where it is free or its holder is gone."""
        mine = {"holder": self._holder.name, "place": self._holder.place, "pid": self._holder.pid, "beat": 0}
        try:
            # A transaction of its own: PostgreSQL ends one that met an existing row.
            with self._engine.begin() as db:
                db.execute(insert(leases).values(container=container, **mine))
        except IntegrityError:
            return self._take_over(container, mine)
        return True

    def _take_over(self, container: str, mine: dict[str, Any]) -> bool:
        with transaction(self._engine) as db:
            row = db.execute(select(leases).where(leases.c.container == container)).one_or_none()
            if row is None or not self._gone(row):
                return False
            same = (leases.c.container == container) & (leases.c.holder == row.holder) & (leases.c.beat == row.beat)
            return bool(db.execute(update(leases).where(same).values(**mine)).rowcount == 1)

    def _gone(self, row: Any) -> bool:
        me = self._holder
        neighbour = row.place == me.place and row.holder != me.name
        if neighbour and (row.pid == me.pid or not self._alive(row.pid)):  # my own number in an earlier life, or none
            return True
        now = self._steady()
        holder, beat, since = self._seen.get(row.container, ("", -1, now))
        if (holder, beat) != (row.holder, row.beat):
            since = now
        self._seen[row.container] = (row.holder, row.beat, since)
        return now - since >= EXPIRY_S

    def beat(self, container: str) -> bool:
        """Show that this process is still at it; False where somebody else has taken the lease."""
        mine = (leases.c.container == container) & (leases.c.holder == self._holder.name)
        with transaction(self._engine) as db:
            return bool(db.execute(update(leases).where(mine).values(beat=leases.c.beat + 1)).rowcount == 1)

    def release(self, container: str) -> None:
        """Give a lease back; nothing happens where it is not held any more."""
        mine = (leases.c.container == container) & (leases.c.holder == self._holder.name)
        with transaction(self._engine) as db:
            db.execute(delete(leases).where(mine))
