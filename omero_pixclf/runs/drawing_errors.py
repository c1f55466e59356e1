"""Catch errors while a picture is drawn, so that results and tables are not lost."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TypeVar

__all__ = ["T", "try_drawing"]

_log = logging.getLogger(__name__)
T = TypeVar("T")


def try_drawing(what: str, draw: Callable[[], T], failures: list[str] | None = None) -> T | None:
    """Return what ``draw`` returns, or None if it fails; the log, and a line added to ``failures``, say why."""
    try:
        return draw()
    except Exception as error:  # noqa: BLE001 - names, numbers, fonts and disks fail in ways that nobody foresees
        reason = f"{what}: left out: {type(error).__name__}: {error}".strip(": ")
        _log.warning("%s; results and tables are not affected", reason)
        _log.debug("%s", what, exc_info=True)
        if failures is not None:
            failures.append(reason)
        return None
