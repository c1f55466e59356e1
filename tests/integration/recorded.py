"""A server in this process whose calls are seen: which service, which operation, in which context, by which session."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import omero
import omero.clients
import omero.grid
import omero.model
import pytest

from omero_pixclf.embedded.server import servant as services
from omero_pixclf.embedded.server.fault_injection import FaultInjection
from omero_pixclf.embedded.server.server import start
from tests.integration.conftest import ROOT_PASSWORD, Endpoint


@dataclass(frozen=True)
class Seen:
    """One call."""

    service: str
    operation: str
    context: dict[str, str]
    stateful: bool
    session: str
    size: int = 0
    current: Any = field(default=None, repr=False, compare=False)
    servant: Any = field(default=None, repr=False, compare=False)

    @property
    def group(self) -> str | None:
        return self.context.get("omero.group")

    def __str__(self) -> str:
        return f"{self.service}.{self.operation} in {self.group}"


Before = Callable[[Seen, "tuple[Any, ...]"], None]


@dataclass
class Recorded:
    """The calls so far; ``before`` is asked before each is carried out and may wait or raise."""

    endpoint: Endpoint
    calls: list[Seen] = field(default_factory=list)
    before: list[Before] = field(default_factory=list)
    largest_answer: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, seen: Seen, arguments: tuple[Any, ...]) -> None:
        with self._lock:
            self.calls.append(seen)
        for act in list(self.before):
            act(seen, arguments)

    def counts(self) -> Counter[str]:
        """How often which operation of which service was called."""
        return Counter(f"{c.service}.{c.operation}" for c in self.calls)

    @contextmanager
    def watched_by(self, act: Before) -> Iterator[None]:
        self.before.append(act)
        try:
            yield
        finally:
            self.before.remove(act)


def size_of(value: Any) -> int:
    """About how many bytes a value takes in a message, as far as that is much: raw bytes, text, numbers, shapes."""
    if isinstance(value, bytes | str):
        return len(value)
    if isinstance(value, list | tuple):
        if value and isinstance(value[0], bool | int | float):
            return 8 * len(value)
        return sum(map(size_of, value))
    if isinstance(value, omero.model.IObject) and not value.isLoaded():
        return 0
    if isinstance(value, omero.model.Roi):
        return sum(map(size_of, value._shapesSeq if value._shapesLoaded else ()))
    if isinstance(value, omero.model.Mask):
        return 100 + len(value.bytes or b"")
    if isinstance(value, omero.model.Polygon):
        return 100 + len(value.points.val)
    if isinstance(value, omero.grid.Column):
        return size_of(value.values or [])
    return size_of(value.columns) if isinstance(value, omero.grid.Data) else 0


@contextmanager
def recording(folder: Path) -> Iterator[Recorded]:
    """An embedded OMERO in this process that tells of each call."""
    with (
        pytest.MonkeyPatch.context() as patch,
        start(folder, password=ROOT_PASSWORD, faults=FaultInjection(shuffled=True)) as server,
    ):
        made = Recorded(Endpoint(server.host, server.port, ROOT_PASSWORD))
        carry_out = services._run

        def run(service: Any, method: Any, operation: str, arguments: tuple[Any, ...], current: Any) -> Any:
            kind = type(service).__name__.removesuffix("Service")
            key, size = str(service.session.uuid), sum(map(size_of, arguments))
            stateful = bool(service.stateful)
            made.add(Seen(kind, operation, dict(current.ctx), stateful, key, size, current, service), arguments)
            result = carry_out(service, method, operation, arguments, current)
            made.largest_answer = max(made.largest_answer, size_of(result))
            return result

        patch.setattr(services, "_run", run)
        yield made
