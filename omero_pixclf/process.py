"""Whether the process that a ledger or a lease names is still there."""

from __future__ import annotations

import os

__all__ = ["lives"]

_MOST_PID = 2**31  # what the system call takes


def lives(pid: int) -> bool:
    """Whether a process of this host is there; numbers that no process can have are not."""
    if not 0 < pid < _MOST_PID:
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
