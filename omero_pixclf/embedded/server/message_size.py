"""Size limit of messages between client and server; a larger message closes the connection.

Ice refuses larger incoming messages. On a real server Glacier2 refuses larger outgoing messages too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

__all__ = ["MESSAGE_MAX_KB", "is_too_large"]

MESSAGE_MAX_KB = 65_536
_MAX = MESSAGE_MAX_KB * 1024
_NUMBER = 8


def is_too_large(result: Any) -> bool:
    """Whether an operation's result (bytes, or objects that contain bytes, such as columns) is too large to send."""
    return _size(result) > _MAX


def _size(value: Any) -> int:
    """Return a lower bound of the bytes of a value in a message."""
    if isinstance(value, (bytes, bytearray, memoryview)):
        return len(value)
    if isinstance(value, str):
        return len(value.encode())
    if isinstance(value, Mapping):
        return sum(map(_size, value.values()))
    if isinstance(value, Sequence):
        numbers = bool(value) and isinstance(value[0], (int, float))
        return len(value) * (1 if isinstance(value[0], bool) else _NUMBER) if numbers else sum(map(_size, value))
    columns = getattr(value, "columns", None)
    if isinstance(columns, Sequence):
        return sum(_size(getattr(column, "values", None)) for column in columns)
    return 0
