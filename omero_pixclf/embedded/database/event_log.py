"""The event log: rows that say which object was inserted, updated or deleted in which event."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from omero_pixclf.embedded.server.request_context import RequestContext

__all__ = ["log_event", "log_events"]

_UNLOGGED = ("ome.model.meta.Event", "ome.model.meta.EventLog")


def log_event(call: RequestContext, action: str, qualified: str, ids: Iterable[int]) -> None:
    """Log an action on objects of one class (``ome.model.core.Image``) in the request's event.

    Actions are ``INSERT``, ``UPDATE``, ``DELETE``, ``PASSWORD``, and ``CHMOD(rw----)`` with a group's new permissions.
    """
    if qualified in _UNLOGGED:
        return
    entities = list(ids)
    if not entities:
        return
    event, first = call.event_id, call.tx.new_ids("eventlog", len(entities))
    call.tx.executemany(
        "INSERT INTO eventlog (id, entityId, entityType, action, event) VALUES (?, ?, ?, ?, ?)",
        [(first + place, ident, qualified, action, event) for place, ident in enumerate(entities)],
    )


def log_events(call: RequestContext, action: str, by_class: Mapping[str, Iterable[int]]) -> None:
    """Log an action on objects of several classes."""
    for qualified, ids in by_class.items():
        log_event(call, action, qualified, ids)
