"""Plates as files describe them: wells, fields and acquisitions, and where each image lies."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Plate", "WellSample"]


@dataclass(frozen=True)
class WellSample:
    """Where an image of a plate was taken: row, column and field from 0, and the number of the acquisition, if any."""

    series: int
    row: int
    column: int
    field: int
    acquisition: int | None = 0


@dataclass(frozen=True)
class Plate:
    """A plate whose fields are images of the same content.

    Attributes
    ----------
    name
        What the files call it; empty where it has no name.
    rows, columns
        Its size.
    acquisitions
        Names of its acquisitions.
    well_samples
        Where its images lie.
    screen
        The name of the screen that the files put it into, if they do.
    wells
        Rows and columns of wells that the files describe, beside those of the well_samples.
    naming_conventions
        How rows and columns are called: ``"letter"`` or ``"number"``.
    """

    name: str
    rows: int
    columns: int
    acquisitions: tuple[str, ...]
    well_samples: tuple[WellSample, ...]
    screen: str | None = None
    wells: tuple[tuple[int, int], ...] = ()
    naming_conventions: tuple[str, str] = ("letter", "number")
