"""Fault injection for tests of clients: late, shuffled and forgetful servers.

A real OMERO.server sometimes does the same: under load it commits a request long after its client has died, it returns
unordered collections in another order at every call, and it loses connections and sessions. A server injects no faults
unless it is started with ``start(folder, faults=FaultInjection.parse("late=2,shuffled"))`` or the environment variable
`FAULTS_VARIABLE` is set.
"""

from __future__ import annotations

import os
import random
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar

from omero_pixclf.errors import UsageError

__all__ = ["FAULTS_VARIABLE", "FaultInjection"]

FAULTS_VARIABLE = "OMERO_EMBEDDED_FAULTS"
_SPARED_REQUESTS = 12  # first requests of a session, including its login
_T = TypeVar("_T")
_OPTIONS = "late=SECONDS, late_share=0..1, shuffled, forgetful=0..1, agent=NAME, seed=NUMBER"


@dataclass(frozen=True)
class FaultInjection:
    """The faults that a server injects.

    Attributes
    ----------
    late
        Maximum delay, in seconds, of a request that writes. It is executed even if its client has died; other requests
        are not delayed.
    late_share
        Share of those requests (0 to 1) that are delayed.
    shuffled
        Whether unordered collections, and the rows of queries without ``order by``, are returned in random order.
    forgetful
        Share of requests (0 to 1) at which the server loses the session and its connection: half of them before the
        request is executed, half of them after it, before the client gets the result. The first requests of a session
        are not affected.
    agent
        Only sessions of clients with this agent name (`omero.client.setAgent`) are lost; "": all sessions.
    seed
        Seed of the random numbers.
    """

    late: float = 0.0
    late_share: float = 1.0
    shuffled: bool = False
    forgetful: float = 0.0
    agent: str = ""
    seed: int = 0
    _random: random.Random = field(init=False, repr=False, compare=False)
    _lock: Any = field(init=False, repr=False, compare=False, default_factory=threading.Lock)

    def __post_init__(self) -> None:
        if self.late < 0 or not 0 <= self.late_share <= 1 or not 0 <= self.forgetful <= 1:
            raise UsageError(f"faults of an embedded server: {self} is out of range; the options are {_OPTIONS}")
        object.__setattr__(self, "_random", random.Random(self.seed))

    @classmethod
    def parse(cls, text: str) -> FaultInjection:
        """Return the faults in a text such as ``late=2,late_share=0.1,shuffled,forgetful=0.01``.

        Raises
        ------
        UsageError
            The text contains an unknown option or an invalid value.
        """
        given: dict[str, Any] = {}
        for part in filter(None, (p.strip() for p in text.split(","))):
            name, _, value = part.partition("=")
            kind = {"late": float, "late_share": float, "forgetful": float, "agent": str, "seed": int}.get(name)
            try:
                given[name] = True if part == "shuffled" else kind(value)  # type: ignore[misc]
            except (TypeError, ValueError) as error:
                raise UsageError(
                    f"{text!r}: {part!r} is not a fault of an embedded server; expected {_OPTIONS}"
                ) from error
        return cls(**given)

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] | None = None) -> FaultInjection:
        """Return the faults in the environment variable `FAULTS_VARIABLE`; none if it is not set."""
        return cls.parse((os.environ if environ is None else environ).get(FAULTS_VARIABLE, ""))

    def delay(self) -> None:
        """Delay a request that writes."""
        if self.late and self._draw() < self.late_share:
            time.sleep(self._draw() * self.late)

    def shuffle(self, items: Sequence[_T]) -> list[_T]:
        """Return the items, in random order if the server shuffles."""
        found = list(items)
        if self.shuffled and len(found) > 1:
            with self._lock:
                self._random.shuffle(found)
        return found

    def session_loss(self, agent: str, requests: int) -> Literal["", "before", "after"]:
        """Decide whether the session of a client is lost before or after this request.

        Returns "" if it is not lost.
        """
        if not self.forgetful or requests <= _SPARED_REQUESTS or (self.agent and self.agent != agent):
            return ""
        if self._draw() >= self.forgetful:
            return ""
        return "before" if self._draw() < 0.5 else "after"

    def _draw(self) -> float:
        with self._lock:
            return self._random.random()
