"""What a report tells of: one container after a run, its images and its numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from omero_pixclf.provenance import RunRecord
from omero_pixclf.report.overlay import Color
from omero_pixclf.runs.state.manifest import ManifestEntry
from omero_pixclf.table import Table

__all__ = ["Account", "class_names", "mean_fraction", "summary_rows", "total"]

_EMPTY = Table(())


@dataclass(frozen=True)
class Account:
    """One container after a run.

    Attributes
    ----------
    record
        The run; its ``image`` and ``objects`` are not looked at.
    container, name
        ``"Plate:3"`` and its name.
    server, user
        Where the run wrote to, and as whom; off OMERO the folder, and "".
    entries
        The container's images in this run, in the order of the plan.
    tables
        ``"summary"`` with a row per image (also of earlier runs), ``"objects"`` with a row per object; may be missing.
    colors
        Of each class that objects were looked for.
    channels
        The images' channel names, where all have the same.
    plate
        Rows and columns of the plate, where that is known.
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
        """What pictures and report are called."""
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
        """How many images ended so."""
        return sum(e.state in states for e in self.entries)


def class_names(summary: Table) -> dict[str, str]:
    """The classes of a summary table, as ``{tag in column names: name}``."""
    counts = [c for c in summary.columns if c.name.startswith("Count_")]
    described = {c.name.removeprefix("Count_"): c.description.partition("objects: ")[2] for c in counts}
    return {tag: name or tag for tag, name in described.items()}


def summary_rows(summary: Table) -> dict[str, dict[str, Any]]:
    """The rows of a summary table by their images' keys, ``"Image:51"`` or a path."""
    by_id = any(c.name == "Image" and c.kind == "image" for c in summary.columns)
    return {f"Image:{row['Image']}" if by_id else str(row["Image"]): row for row in summary.rows()}


def total(summary: Table, tag: str) -> int:
    """How many objects of a class all images have; images where it was not looked for count as none."""
    counts = _once(summary)[f"Count_{tag}"]
    return int(counts[counts > 0].sum()) if len(counts) else 0


def mean_fraction(summary: Table, tag: str) -> float:
    """The mean share of the images' area in objects of a class; NaN where nothing is known."""
    name, summary = f"Area_fraction_{tag}", _once(summary)
    known = summary[name][np.isfinite(summary[name])] if name in summary else np.empty(0)
    return float(known.mean()) if len(known) else float("nan")


def _once(summary: Table) -> Table:
    """The first row of each image: one that wells share has a row for each well."""
    if "Image" not in summary:
        return summary
    first = np.zeros(len(summary), bool)
    first[np.unique(summary["Image"], return_index=True)[1]] = True
    return summary.take(first)
