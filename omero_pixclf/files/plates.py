"""Plates as files describe them: wells, fields and acquisitions, and where each image lies."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Plate", "Spot"]


@dataclass(frozen=True)
class Spot:
    """Where an image of a plate was taken: row, column and field from 0, and the number of the run, if any."""

    series: int
    row: int
    column: int
    field: int
    run: int | None = 0


@dataclass(frozen=True)
class Plate:
    """A plate whose fields are images of the same content.

    Attributes
    ----------
    name
        What the files call it; empty where it has no name.
    rows, columns
        Its size.
    runs
        Names of its acquisitions.
    spots
        Where its images lie.
    screen
        The name of the screen that the files put it into, if they do.
    wells
        Rows and columns of wells that the files describe, beside those of the spots.
    naming
        How rows and columns are called: ``"letter"`` or ``"number"``.
    """

    name: str
    rows: int
    columns: int
    runs: tuple[str, ...]
    spots: tuple[Spot, ...]
    screen: str | None = None
    wells: tuple[tuple[int, int], ...] = ()
    naming: tuple[str, str] = ("letter", "number")
