"""Logins: passwords, the group of a new session, and sessions made for other users (sudo)."""

from __future__ import annotations

from typing import Any

import omero

from omero_pixclf.embedded.database.sqlite import Transaction, now_ms
from omero_pixclf.embedded.server.exceptions import security_violation
from omero_pixclf.embedded.server.request_context import load_memberships
from omero_pixclf.embedded.users.access_rights import USER_GROUP
from omero_pixclf.embedded.users.passwords import ANY_PASSWORD, verify_password
from omero_pixclf.embedded.users.sessions import IDLE_MS, ClientSession, SessionRegistry, new_uuid

__all__ = ["DEFAULT_AGENT", "choose_group", "find_user_id", "is_correct_password", "open_session", "store_session_end"]

DEFAULT_AGENT = "OMERO.py"


def find_user_id(tx: Transaction, name: str) -> int | None:
    """Return the id of a login name, or None."""
    row = tx.one("SELECT id FROM experimenter WHERE omeName = ?", (name,))
    return row[0] if row else None


def is_correct_password(tx: Transaction, user: int, password: str) -> bool:
    """Whether this is the user's password; an empty one never is, and guest's is any other."""
    row = tx.one("SELECT hash FROM password WHERE experimenter_id = ?", (user,))
    return bool(row and password and (row[0] == ANY_PASSWORD or verify_password(password, row[0])))


def choose_group(tx: Transaction, user: int, wanted: str = "") -> int:
    """Return the group a session starts in: the requested one (name or id), else the user's default group.

    As on a real server, the membership is not checked here but at the session's first request.
    """
    members, _ = load_memberships(tx, user)
    if wanted:
        column = "id" if wanted.lstrip("-").isdigit() else "name"
        row = tx.one(f"SELECT id FROM experimentergroup WHERE {column} = ?", (wanted,))
        if row is None:
            raise omero.AuthenticationException(f"Cannot find group: {wanted}")
        return int(row[0])
    own = [g for g in members if g != USER_GROUP] or members
    if not own:
        raise security_violation(f"User {user} is in no group")
    return own[0]


def open_session(
    sessions: SessionRegistry,
    tx: Transaction,
    user: int,
    group: int,
    *,
    agent: str = DEFAULT_AGENT,
    address: str | None = None,
    idle_ms: int = IDLE_MS,
    live_ms: int = 0,
    sudoer: tuple[int, str] | None = None,
    event_type: str = "User",
) -> ClientSession:
    """Create a session in the database and register it when the transaction commits."""
    ident = max(1, tx.new_id("session"))
    name = tx.one("SELECT omeName FROM experimenter WHERE id = ?", (user,))[0]
    made = ClientSession(new_uuid(), ident, user, name, group, idle_ms, live_ms, event_type=event_type, agent=agent)
    if sudoer:
        made.sudoer_id, made.sudoer_name = sudoer
    columns = (
        "id, kind, uuid, owner, sudoer, node, timeToIdle, timeToLive, started, defaultEventType, userAgent, userIP"
    )
    values: tuple[Any, ...] = (
        ident,
        "Session",
        made.uuid,
        user,
        made.sudoer_id,
        0,
        idle_ms,
        live_ms,
        now_ms(),
        event_type,
    )
    tx.execute(
        f"INSERT INTO session ({columns}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", (*values, agent, address)
    )
    tx.after_commit.append(lambda: sessions.add(made))
    return made


def store_session_end(tx: Transaction, session: ClientSession) -> None:
    """Store in the database that a session has ended."""
    tx.execute("UPDATE session SET closed = ? WHERE id = ? AND closed IS NULL", (now_ms(), session.ident))
