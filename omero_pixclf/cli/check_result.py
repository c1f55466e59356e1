"""The result of one check of `omero-pixclf doctor`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

__all__ = ["CheckResult"]


@dataclass(frozen=True)
class CheckResult:
    """One check with its result.

    Attributes
    ----------
    check
        Name of the check, one word.
    state
        ``ok``; ``warning``: works with limitations; ``fail``: does not work.
    found
        The observation.
    advice
        What to do about it; "" if nothing.
    """

    check: str
    state: Literal["ok", "warning", "fail"]
    found: str
    advice: str = ""
