"""What the doctor says about one thing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

__all__ = ["CheckResult"]


@dataclass(frozen=True)
class CheckResult:
    """One line of the doctor's.

    Attributes
    ----------
    check
        What was looked at, in one word.
    state
        ``warning``: it works, but not well or not all of it; ``fail``: it does not work.
    found
        What was found.
    advice
        What to do about it.
    """

    check: str
    state: Literal["ok", "warning", "fail"]
    found: str
    advice: str = ""
