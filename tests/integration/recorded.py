"""A server in this process whose calls are seen: which service, which operation, in which context, by which session."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from omero_pixclf.embedded import service as services
from omero_pixclf.embedded.server import start
from tests.integration.conftest import ROOT_PASSWORD, Endpoint


@dataclass(frozen=True)
class Seen:
    """One call."""

    service: str
    operation: str
    context: dict[str, str]
    stateful: bool
    session: str

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


@contextmanager
def recording(folder: Path) -> Iterator[Recorded]:
    """An embedded OMERO in this process that tells of each call."""
    with pytest.MonkeyPatch.context() as patch, start(folder, password=ROOT_PASSWORD) as server:
        made = Recorded(Endpoint(server.host, server.port, ROOT_PASSWORD))
        carry_out = services._run

        def run(service: Any, method: Any, operation: str, arguments: tuple[Any, ...], current: Any) -> Any:
            kind = type(service).__name__
            seen = Seen(kind, operation, dict(current.ctx), bool(service.stateful), str(service.session.uuid))
            made.add(seen, arguments)
            return carry_out(service, method, operation, arguments, current)

        patch.setattr(services, "_run", run)
        yield made
