"""A run on one image, as the ledger keeps it: what was done, with what, by whom it can be taken back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

__all__ = ["RunRecord", "State", "Undone"]

State = Literal["running", "complete"]


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
    state: State = "running"
    objects: dict[str, int] = field(default_factory=dict)
    uncertainty: float | None = None
    settings: dict[str, str] = field(default_factory=dict)

    @property
    def identity(self) -> tuple[str, str]:
        """What makes two runs the same: recipe hash and pixels."""
        return (self.recipe_hash, self.fingerprint)


@dataclass(frozen=True)
class Undone:
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
