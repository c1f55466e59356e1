"""Plates described by image files: wells, fields, acquisitions, and the position of each image."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Plate", "WellSample"]


@dataclass(frozen=True)
class WellSample:
    """The position of an image on a plate: row, column and field from 0, and the number of the acquisition, if any."""

    series: int
    row: int
    column: int
    field: int
    acquisition: int | None = 0


@dataclass(frozen=True)
class Plate:
    """A plate whose fields are images of one file or store.

    Attributes
    ----------
    name
        Its name in the files; empty if it has none.
    rows, columns
        Its size.
    acquisitions
        Names of its acquisitions.
    well_samples
        The positions of its images.
    screen
        The name of its screen; None if the files name none.
    wells
        Rows and columns of all described wells, also of those without images.
    naming_conventions
        How rows and columns are named: ``"letter"`` or ``"number"``.
    """

    name: str
    rows: int
    columns: int
    acquisitions: tuple[str, ...]
    well_samples: tuple[WellSample, ...]
    screen: str | None = None
    wells: tuple[tuple[int, int], ...] = ()
    naming_conventions: tuple[str, str] = ("letter", "number")
