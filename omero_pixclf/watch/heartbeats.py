"""Which watchers there are and how they are, as they say in the state database; ``--check`` reads it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from sqlalchemy import Engine, delete, insert, select, update

from omero_pixclf.provenance import is_alive
from omero_pixclf.watch.leases import EXPIRY_S
from omero_pixclf.watch.state import Holder, transaction, watchers

__all__ = ["Presence", "Seen", "seen"]


@dataclass(frozen=True)
class Seen:
    """One watcher: where it runs, whether it is there, whether it is well, and what it says."""

    place: str
    pid: int
    there: bool
    healthy: bool
    passes: int
    message: str


class Presence:
    """This process's own line."""

    def __init__(self, engine: Engine, holder: Holder, now: Callable[[], float]) -> None:
        self._engine, self._holder, self._now = engine, holder, now

    def tell(self, healthy: bool, message: str, passes: int) -> None:
        """Say how this process is."""
        me = {"place": self._holder.place, "pid": self._holder.pid}
        values = {**me, "beaten": self._now(), "passes": passes, "healthy": healthy, "message": message}
        with transaction(self._engine) as db:
            mine = watchers.c.holder == self._holder.name
            if db.execute(update(watchers).where(mine).values(**values)).rowcount == 0:
                db.execute(insert(watchers).values(holder=self._holder.name, **values))

    def leave(self) -> None:
        """This process ends."""
        with transaction(self._engine) as db:
            db.execute(delete(watchers).where(watchers.c.holder == self._holder.name))


def seen(engine: Engine, here: Holder, now: Callable[[], float], alive: Callable[[int], bool] = is_alive) -> list[Seen]:
    """All watchers that said how they are and did not leave; those gone for long are forgotten."""
    with transaction(engine) as db:
        rows = db.execute(select(watchers)).all()
    found = []
    for row in rows:
        there = abs(now() - row.beaten) < EXPIRY_S and (row.place != here.place or alive(row.pid))
        if not there:
            with transaction(engine) as db:
                db.execute(
                    delete(watchers).where((watchers.c.holder == row.holder) & (watchers.c.beaten == row.beaten))
                )
        found.append(Seen(row.place, row.pid, there, there and row.healthy, row.passes, row.message))
    return found
