"""The record of a run on one image, as stored in the ledger, and whether a recorded process is still alive."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Literal

from omero_pixclf.errors import UsageError

__all__ = [
    "RunRecord",
    "RunState",
    "UndoResult",
    "is_alive",
    "is_run_id",
    "new_run_id",
    "parse_run_id",
    "run_folder",
    "utc_now",
]

RunState = Literal["running", "complete"]

_MOST_PID = 2**31  # what the system call takes
_RUN_ID = re.compile(r"[0-9]{8}T[0-9]{6}-[0-9a-f]{6}")


def utc_now() -> datetime:
    """Return the current time with the time zone UTC."""
    return datetime.now(timezone.utc)


def new_run_id(now: datetime, salt: bytes) -> str:
    """``20261121T053012-ab12cd``: sorts by time, and is unique by its random salt (3 bytes are used)."""
    return f"{now:%Y%m%dT%H%M%S}-{salt[:3].hex()}"


def is_run_id(text: str) -> bool:
    """Whether a text has the form that `new_run_id` makes.

    >>> is_run_id("20261121T053012-ab12cd"), is_run_id("../20261121T053012-ab12cd")
    (True, False)
    """
    return _RUN_ID.fullmatch(text) is not None


def parse_run_id(text: str) -> str:
    """A run id as somebody has given it: on the command line, in an annotation, in a database.

    Folders are found, and removed, by run ids: what is none must never become part of a path.

    Raises
    ------
    UsageError
        Where it is something else.

    >>> parse_run_id("20261121T053012-ab12cd")
    '20261121T053012-ab12cd'
    """
    if not is_run_id(text):
        raise UsageError(
            f"{text!r} is not a run id; expected one such as 20261121T053012-ab12cd "
            "(list them with: omero-pixclf runs list)"
        )
    return text


def run_folder(state: Path, run_id: str) -> Path:
    """The folder of a run's state, below the folder that all of them are in.

    Raises
    ------
    UsageError
        Where the id is none (`parse_run_id`).
    """
    return state / parse_run_id(run_id)


@dataclass(frozen=True)
class RunRecord:
    """One recipe applied to one image in one run.

    Attributes
    ----------
    run_id
        The run that this belongs to, shared by all its images: sortable by time, unique, ``20261121T053012-ab12cd``.
    image
        The image's key, ``"Image:51"``.
    recipe, recipe_hash
        The recipe's name, and the SHA-256 over everything that changes results.
    fingerprint
        Which pixels these were (`ImageInfo.fingerprint`).
    project, project_sha256
        The ``.ilp``'s file name and the SHA-256 of its bytes.
    version
        omero_pixclf's version.
    started, finished
        Aware UTC times; ``finished`` is None while the state is ``running``.
    objects
        Number of objects per class name.
    uncertainty
        Mean over the image of 1 - (highest - second highest probability), None before it is known.
    settings
        The recipe's other settings, flat, as text, for people to read.
    planned
        How many images the run was to do; 0 where that is not known.
    """

    run_id: str
    image: str
    recipe: str
    recipe_hash: str
    fingerprint: str
    project: str
    project_sha256: str
    version: str
    started: datetime
    finished: datetime | None = None
    state: RunState = "running"
    objects: dict[str, int] = field(default_factory=dict)
    uncertainty: float | None = None
    settings: dict[str, str] = field(default_factory=dict)
    planned: int = 0

    @property
    def identity(self) -> tuple[str, str]:
        """What makes two runs the same: recipe hash and pixels."""
        return (self.recipe_hash, self.fingerprint)


@dataclass(frozen=True)
class UndoResult:
    """What came of taking a run back.

    Attributes
    ----------
    removed
        Number of objects that went, by kind.
    kept
        What had to stay, each with the reason.
    """

    removed: Mapping[str, int]
    kept: tuple[str, ...] = ()


def is_alive(pid: int) -> bool:
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
