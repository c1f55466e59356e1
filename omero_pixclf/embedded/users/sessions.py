"""Open sessions: their users, services and clients, and when they expire."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

__all__ = ["IDLE_MS", "ClientSession", "SessionRegistry", "new_uuid"]

IDLE_MS = 600_000


@dataclass(eq=False)
class ClientSession:
    """One session; several clients may share it."""

    uuid: str
    ident: int  # row in the session table
    user_id: int
    user_name: str
    group_id: int
    idle_ms: int = IDLE_MS
    live_ms: int = 0  # 0: no limit
    sudoer_id: int | None = None
    sudoer_name: str | None = None
    groups: frozenset[int] | None = None  # groups of a session that a group owner created for another user; None: all
    event_type: str = "User"
    agent: str = ""  # name of the client program
    references: int = 0
    requests: int = 0  # number of requests
    detached: set[str] = field(default_factory=set)  # categories of clients that do not close the session
    started: float = field(default_factory=time.monotonic)
    last_used: float = field(default_factory=time.monotonic)
    inputs: dict[str, Any] = field(default_factory=dict)
    outputs: dict[str, Any] = field(default_factory=dict)
    services: dict[str, Any] = field(default_factory=dict)  # open services by the name of their identity
    categories: set[str] = field(default_factory=set)  # categories of its clients' identities
    authenticated: set[str] = field(
        default_factory=set
    )  # categories of clients that gave the password, not the uuid only
    lock: threading.RLock = field(default_factory=threading.RLock)
    closed: bool = False

    def touch(self) -> None:
        """Record that a client has made a request."""
        self.last_used = time.monotonic()
        self.requests += 1

    def is_expired(self, now: float) -> bool:
        """Whether the session was idle too long or has reached its lifetime."""
        too_idle = self.idle_ms > 0 and (now - self.last_used) * 1000 > self.idle_ms
        too_old = self.live_ms > 0 and (now - self.started) * 1000 > self.live_ms
        return too_idle or too_old


class SessionRegistry:
    """All open sessions by uuid."""

    def __init__(self, on_close: Callable[[ClientSession], None]) -> None:
        self._on_close = on_close
        self._open: dict[str, ClientSession] = {}
        self._lock = threading.Lock()

    def add(self, session: ClientSession) -> None:
        """Register a session, so that clients can join it."""
        with self._lock:
            self._open[session.uuid] = session

    def find(self, ident: str) -> ClientSession | None:
        """Return the open session with this uuid, or None."""
        with self._lock:
            return self._open.get(ident)

    def all(self) -> list[ClientSession]:
        """Return all open sessions."""
        with self._lock:
            return list(self._open.values())

    def close(self, session: ClientSession) -> None:
        """Close a session and everything it holds; does nothing if it is closed."""
        with self._lock:
            if self._open.pop(session.uuid, None) is None:
                return
            session.closed = True
        self._on_close(session)

    def join(self, session: ClientSession) -> None:
        """Count one more client of the session."""
        with self._lock:
            session.references += 1
        session.touch()

    def leave(self, session: ClientSession, category: str = "") -> int:
        """Count one client less, unless it is detached; the last one closes the session. Returns the count."""
        with self._lock:
            if not category or category not in session.detached:
                session.references = max(0, session.references - 1)
            left = session.references
        if left == 0:
            self.close(session)
        return left

    def expire(self) -> list[ClientSession]:
        """Close the expired sessions and return them."""
        now = time.monotonic()
        ended = [s for s in self.all() if s.is_expired(now)]
        for session in ended:
            self.close(session)
        return ended


def new_uuid() -> str:
    """Return a new random UUID as text."""
    return str(uuid.uuid4())
