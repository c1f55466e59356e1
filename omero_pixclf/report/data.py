"""Data of one container that its report shows: the run, its images' states, and the result tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from omero_pixclf.provenance import RunRecord
from omero_pixclf.report.overlay import Color
from omero_pixclf.runs.state.manifest import ManifestEntry
from omero_pixclf.table import Table

__all__ = ["ReportData", "class_names", "mean_area_fraction", "summary_rows", "total_count"]

_EMPTY = Table(())


@dataclass(frozen=True)
class ReportData:
    """One container after a run.

    Attributes
    ----------
    record
        The run; its ``image`` and ``objects`` are not used.
    container, name
        ``"Plate:3"`` and its name.
    server, user
        Host and user of the results; without OMERO the results folder and "".
    entries
        The container's images in this run, in the order of the plan.
    tables
        ``"summary"`` with a row per image (also of earlier runs), ``"objects"`` with a row per object; may be missing.
    colors
        Red, green, blue (0 to 255) of each class whose objects were segmented.
    channels
        The images' channel names, if all images have the same.
    plate
        Rows and columns of the plate, if known.
    """

    record: RunRecord
    container: str
    name: str
    server: str
    user: str
    entries: Sequence[ManifestEntry]
    tables: Mapping[str, Table]
    colors: Mapping[str, Color]
    channels: tuple[str, ...] = ()
    plate: tuple[int, int] | None = None

    @property
    def title(self) -> str:
        """Title of the pictures and the report."""
        return f"{self.name or self.container}: {self.record.recipe}"

    @property
    def summary(self) -> Table:
        """One row per image."""
        return self.tables.get("summary", _EMPTY)

    @property
    def objects(self) -> Table:
        """One row per object."""
        return self.tables.get("objects", _EMPTY)

    def count(self, *states: str) -> int:
        """Count the images in any of these states."""
        return sum(e.state in states for e in self.entries)


def class_names(summary: Table) -> dict[str, str]:
    """Find the classes of a summary table, as ``{tag in column names: name}``."""
    counts = [c for c in summary.columns if c.name.startswith("Count_")]
    described = {c.name.removeprefix("Count_"): c.description.partition("objects: ")[2] for c in counts}
    return {tag: name or tag for tag, name in described.items()}


def summary_rows(summary: Table) -> dict[str, dict[str, Any]]:
    """Map the images' keys, ``"Image:51"`` or a path, to the rows of a summary table."""
    by_id = any(c.name == "Image" and c.kind == "image" for c in summary.columns)
    return {f"Image:{row['Image']}" if by_id else str(row["Image"]): row for row in summary.rows()}


def total_count(summary: Table, tag: str) -> int:
    """Sum the objects of a class over all images; images in which it was not segmented count as 0."""
    counts = _one_row_per_image(summary)[f"Count_{tag}"]
    return int(counts[counts > 0].sum()) if len(counts) else 0


def mean_area_fraction(summary: Table, tag: str) -> float:
    """Mean fraction (0 to 1) of the images' area in objects of a class; NaN if no image has a value."""
    name, summary = f"Area_fraction_{tag}", _one_row_per_image(summary)
    known = summary[name][np.isfinite(summary[name])] if name in summary else np.empty(0)
    return float(known.mean()) if len(known) else float("nan")


def _one_row_per_image(summary: Table) -> Table:
    """Keep the first row of each image: an image that several wells share has a row for each well."""
    if "Image" not in summary:
        return summary
    is_first = np.zeros(len(summary), bool)
    is_first[np.unique(summary["Image"], return_index=True)[1]] = True
    return summary.take(is_first)
