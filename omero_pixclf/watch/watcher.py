"""One pass over all that is to be looked after. The service does one after the other, ``--once`` a single one."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Literal

from omero_pixclf.errors import LoginError, PixclfError, UnreachableError, UsageError
from omero_pixclf.text import pluralize
from omero_pixclf.watch.backoff import Failure
from omero_pixclf.watch.container_runner import Foreman, Memory, Tally
from omero_pixclf.watch.guarded_io import Abandoned
from omero_pixclf.watch.import_settling import Settling
from omero_pixclf.watch.lease_guard import Stop, Watchman
from omero_pixclf.watch.metrics import Metrics
from omero_pixclf.watch.protocols import Candidate, Facility, Order, Part, Refused
from omero_pixclf.watch.status import Board, Outlook, Passed

__all__ = ["Watcher"]

_log = logging.getLogger(__name__)

Answer = Literal["running", "done", "failed"]


class Watcher:
    """Looks after what a facility orders.

    Parameters
    ----------
    steady
        A clock that never jumps, in seconds.
    now
        Seconds since 1970.
    """

    def __init__(
        self,
        facility: Facility,
        memory: Memory,
        watchman: Watchman,
        settling: Settling,
        board: Board,
        metrics: Metrics,
        *,
        steady: Callable[[], float],
        now: Callable[[], float],
    ) -> None:
        self.facility, self.memory, self.watchman, self.settling = facility, memory, watchman, settling
        self.board, self.metrics, self._steady, self._now = board, metrics, steady, now
        self.foreman = Foreman(facility, memory, watchman, board, metrics)

    @property
    def stop(self) -> Stop:
        """How the watcher is told to stop."""
        return self.watchman.stop

    def look_after(self) -> Passed:
        """Do one pass; whatever goes wrong ends up in the result and is told on the board, never raised."""
        start = self._steady()
        tally = Tally()
        try:
            self._pass(tally)
            error = ""
        except Abandoned as reason:
            error = str(reason)
        except (UnreachableError, LoginError) as lost:
            error = str(lost)
            _log.error("the pass ends early: %s", lost)
            self.facility.drop()
        except Exception as fault:  # noqa: BLE001 - the one outermost catch per pass; the traceback is logged
            error = str(fault) if isinstance(fault, PixclfError) else f"{type(fault).__name__}: {fault}"
            _log.exception("the pass ends early: %s", error)
        states = [o.state for o in tally.outcomes]
        done, failed = states.count("done"), states.count("failed") + states.count("refused")
        settling = sum(o.settling for o in tally.outlooks) + sum(tally.waiting)
        asked = len(self.board.queue)
        result = Passed(tuple(tally.outlooks), tuple(tally.problems), done, failed, settling, asked, error)
        self.board.passed(result)
        self.metrics.passed(result, self._steady() - start)
        return result

    def _pass(self, tally: Tally) -> None:
        orders = list(self.facility.orders())
        tally.problems.extend(o for o in orders if isinstance(o, Refused))
        asked = [o for o in orders if isinstance(o, Order) and o.request is not None]
        self.board.queued(asked)
        claims: dict[tuple[str, str], str] = {}
        for order in orders:
            if isinstance(order, Order) and order.request is None:
                with self._telling(order, tally):
                    tally.outlooks.extend(self._claimed(order, claims, tally))
        for refused in [p for p in tally.problems if p.request is not None]:
            self._answered(refused, "failed", refused.reason, tally)
        for order in asked:
            with self._telling(order, tally):
                self._serve(order, claims, tally)
        for n, outlook in enumerate(tally.outlooks):
            with self._telling(outlook.order, tally):
                tally.outlooks[n] = self._attend(outlook, tally)
        self.settling.forget_others()

    @contextmanager
    def _telling(self, order: Order, tally: Tally) -> Iterator[None]:
        """One order's trouble is told, and does not keep the others waiting."""
        self.stop.check()
        self.board.moved()
        try:
            yield
        except (UnreachableError, LoginError):
            raise
        except Exception as error:  # noqa: BLE001 - the one outermost catch per order; the traceback is logged
            known = isinstance(error, PixclfError)
            _log.error("%s, %s: %s", order.target, order.origin, error, exc_info=None if known else error)
            reason = str(error) if known else f"{type(error).__name__}: {error}"
            tally.problems.append(Refused(order.target, order.origin, reason, order.request))
            self._answered(order, "failed", reason, tally)

    def _answered(self, order: Order | Refused, state: Answer, message: str, tally: Tally) -> bool:
        """Answer an order that is a request; False where that is refused, which must not end the pass."""
        if order.request is None:
            return True
        try:
            self.facility.answer(order.request, state, message)
        except (UnreachableError, LoginError):
            raise
        except PixclfError as error:
            _log.warning("%s, %s: cannot be answered: %s", order.target, order.origin, error)
            tally.problems.append(Refused(order.target, order.origin, f"cannot be answered ({error}): {message}"))
            return False
        if isinstance(order, Order):
            self.board.stands(order, message if state == "running" else "")
        return True

    def _claimed(self, order: Order, claims: dict[tuple[str, str], str], tally: Tally) -> list[Outlook]:
        """An order's parts that no earlier order has; two recipes of one name would replace each other for ever."""
        mine = []
        for part in self._look(order):
            key = (part.container, order.recipe.title)
            if key not in claims:
                claims[key] = part.recipe_hash
                mine.append(self._outlook(order, part))
            elif claims[key] != part.recipe_hash:
                reason = f"{part.container}: is watched with another recipe called {order.recipe.title}; rename one"
                tally.problems.append(Refused(order.target, order.origin, reason))
        return mine

    def _look(self, order: Order) -> Sequence[Part]:
        parts = self.facility.look(order)
        for part in parts:
            self.settling.observe(part.images, self._steady())
        return parts

    def _outlook(self, order: Order, part: Part) -> Outlook:
        known = self.memory.failures.of(part, order.recipe.title)
        sorted_out = [(image, self._verdict(image, known.get(image.key))) for image in part.images]
        counts = [verdict for _, verdict in sorted_out]
        due = tuple(image.key for image, verdict in sorted_out if verdict == "due")
        numbers = {v: counts.count(v) for v in ("standing", "settling", "resting", "aside")}
        return Outlook(order, part, due=due, **numbers)  # type: ignore[arg-type]

    def _verdict(self, image: Candidate, failure: Failure | None) -> str:
        if image.standing:
            return "standing"
        if failure is not None and failure.kind == "aside":
            return "aside"
        if failure is not None and failure.rests(self._now(), self.memory.failures.backoff.longest):
            return "resting"
        return "due" if self.settling.settled(image, self._steady()) else "settling"

    def _attend(self, outlook: Outlook, tally: Tally) -> Outlook:
        """Work on what is due in a part of a standing order, and finish what an interrupted run left."""
        order, part = outlook.order, outlook.part
        if self.memory.pauses.all() & {part.container, "*"}:
            return replace(outlook, note="paused")
        if not outlook.due and self._unfinished(order, part) is None:
            return outlook
        with self.watchman.lease(part.container) as held:
            if not held:
                return replace(outlook, note="another watcher is working on it")
            self.foreman.work(order, part, outlook.due, tally)
        return outlook

    def _unfinished(self, order: Order, part: Part) -> str | None:
        """The run of which tables are to be finished, unless that has failed a short while ago."""
        known = self.memory.failures.of(part, order.recipe.title).get(part.container)
        if known is not None and known.rests(self._now(), self.memory.failures.backoff.longest):
            return None
        return self.memory.runs.unfinished(part, order.recipe.title)

    def _serve(self, order: Order, claims: dict[tuple[str, str], str], tally: Tally) -> None:
        """Serve a request: each image once, as soon as all have settled; then answer by what stands."""
        title, parts = order.recipe.title, self._look(order)
        for part in parts:
            if claims.get((part.container, title), part.recipe_hash) != part.recipe_hash:
                raise UsageError(f"{part.container}: is watched with another recipe called {title}; rename this one")
        if self.memory.pauses.all() & {"*", *(p.container for p in parts)}:
            self.board.stands(order, "paused")
            return
        now = self._steady()
        moving = [i for p in parts for i in p.images if i.version and not i.standing]
        waiting = sum(not self.settling.settled(image, now) for image in moving)
        if waiting:
            tally.waiting.append(waiting)
            self.board.stands(order, f"waits until the import of {pluralize(waiting, 'image')} has settled")
            return  # it stays queued until the next pass
        for part in parts:
            tried = self.memory.failures.of(part, title)
            chosen = [i.key for i in part.images if not i.standing and _untried(tried.get(i.key))]
            if not chosen and self._unfinished(order, part) is None:
                continue
            with self.watchman.lease(part.container) as held:
                if not held:
                    self.board.stands(order, f"another watcher is working on {part.container}")
                    return
                message = f"working on {pluralize(len(chosen), 'image')} in {part.container}"
                if not self._answered(order, "running", message, tally):
                    return
                self.foreman.work(order, part, chosen, tally)
        self._conclude(order, tally)

    def _conclude(self, order: Order, tally: Tally) -> None:
        parts, title = self._look(order), order.recipe.title
        images = [i for part in parts for i in part.images]
        standing = sum(i.standing for i in images)
        failed = [f for part in parts for f in self.memory.failures.of(part, title).values()]
        reasons = "".join(f"; {f.image}: {f.reason}" for f in failed[:5])
        more = f"; and {len(failed) - 5} more" if len(failed) > 5 else ""
        state: Answer = "done" if standing else "failed"
        message = f"results on {standing} of {pluralize(len(images), 'image')}{reasons}{more}"
        if not self._answered(order, state, message if images else f"{order.target}: holds no images", tally):
            return
        for failure in failed:
            self.memory.failures.forget(failure.container, failure.image, title)


def _untried(failure: Failure | None) -> bool:
    return failure is None or failure.kind == "working" or failure.retry_at == 0
