"""Contents of the report's tables: failed images with reasons, all images with their numbers, means of wells."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from omero_pixclf.report.data import ReportData, class_names, summary_rows
from omero_pixclf.report.heatmap import well_means
from omero_pixclf.report.wells import well_name
from omero_pixclf.runs.state.manifest import ManifestEntry
from omero_pixclf.table import NO_NUMBER
from omero_pixclf.text import printable

__all__ = [
    "EARLIER_RUN",
    "LONG_TEXT",
    "STATES",
    "ReportTable",
    "TableCell",
    "failure_table",
    "image_table",
    "well_table",
]

STATES = {
    "done": "done",
    "skipped": "already had results",
    "failed": "failed",
    "refused": "refused",
    "due": "not reached",
    "running": "interrupted",
}
EARLIER_RUN = "earlier run"  # state of images that this run did not process
LONG_TEXT = 40  # characters: cells with longer texts get a wider column


@dataclass(frozen=True)
class TableCell:
    """One cell of a report's table.

    Attributes
    ----------
    text
        The displayed text.
    sort_key
        Sort the column by this value; None sorts by the text. ``""`` is sorted last.
    is_number
        Whether to align it to the right.
    """

    text: str
    sort_key: float | str | None = None
    is_number: bool = False

    @property
    def css_class(self) -> str:
        """The class of its HTML element."""
        return "n" if self.is_number else "long" if len(self.text) > LONG_TEXT else ""


@dataclass(frozen=True)
class ReportTable:
    """A table of the report's page; the first cell of a row is the row's heading."""

    caption: str
    headings: Sequence[str]
    rows: Sequence[Sequence[TableCell]]
    is_sortable: bool = False

    @property
    def number_columns(self) -> list[bool]:
        """Whether each column has numbers, as its first row says."""
        return [cell.is_number for cell in self.rows[0]] if self.rows else [False] * len(self.headings)


def failure_table(data: ReportData) -> ReportTable | None:
    """List the images without results and the reasons; None if there are none."""
    failed = [e for e in data.entries if e.state not in ("done", "skipped")]
    if not failed:
        return None
    rows = [
        [TableCell(e.name), TableCell(STATES[e.state]), TableCell(e.reason or "–"), TableCell(e.key)] for e in failed
    ]
    return ReportTable("Images without results of this run", ("Image", "State", "Reason", "ID"), rows)


def image_table(data: ReportData) -> ReportTable:
    """List all images: those of this run in its order, then those of earlier runs."""
    known = summary_rows(data.summary)
    entries = {printable(e.key): e for e in data.entries}
    keys = [*entries, *(k for k in known if k not in entries)]
    tags = class_names(data.summary)
    headings = ["Image", "Well", "Field"] if "Well_Name" in data.summary else ["Image"]
    for name in tags.values():
        headings += [f"{name} count", f"{name} area %"]
    headings += ["Uncertainty", "State", "Seconds", "ID"]
    rows = [_image_row(key, entries.get(key), known.get(key, {}), headings, list(tags)) for key in keys]
    return ReportTable(f"Images: {len(rows)}", headings, rows, is_sortable=True)


def _image_row(
    key: str, entry: ManifestEntry | None, row: dict[str, Any], headings: list[str], tags: list[str]
) -> list[TableCell]:
    nan = float("nan")
    cells = [TableCell(str(row.get("Image_Name") or (entry.name if entry else key)))]
    if "Well" in headings:
        field = row.get("Field", NO_NUMBER)
        well = row.get("Well_Name")
        cells += [TableCell(well) if well else TableCell("–", ""), _number_cell(nan if field == NO_NUMBER else field)]
    for tag in tags:
        count = row.get(f"Count_{tag}", -1)
        cells += [
            _number_cell(count if count >= 0 else nan),
            _number_cell(100 * row.get(f"Area_fraction_{tag}", nan), ".1f"),
        ]
    seconds = entry.seconds if entry and entry.seconds is not None else nan
    state = STATES[entry.state] if entry else EARLIER_RUN
    uncertainty = _number_cell(row.get("Uncertainty", nan), ".3f")
    return [*cells, uncertainty, TableCell(state), _number_cell(seconds, ".1f"), TableCell(key)]


def well_table(data: ReportData) -> ReportTable | None:
    """List the means over the images of each well, the heat map's numbers; None if the images are not of a plate."""
    headings, columns = ["Well", "Images"], []
    for tag, name in class_names(data.summary).items():
        counts = well_means(data.summary, f"Count_{tag}")
        fractions = well_means(data.summary, f"Area_fraction_{tag}")
        if counts is not None and fractions is not None:
            headings += [f"{name} per image", f"{name} area %"]
            columns += [(counts.values, ",.1f"), (100 * fractions.values, ".1f")]
            images = counts.fields
    if not columns:
        return None
    rows = []
    for r, c in np.argwhere(images > 0).tolist():
        means = [_number_cell(float(values[r, c]), form) for values, form in columns]
        rows.append([TableCell(well_name(r, c)), _number_cell(int(images[r, c])), *means])
    return ReportTable("Means of wells", headings, rows, is_sortable=True)


def _number_cell(value: float, form: str = ",.0f") -> TableCell:
    """A number's cell; NaN is shown as a dash and sorted last."""
    if not np.isfinite(value):
        return TableCell("–", "", is_number=True)
    return TableCell(format(value, form), value, is_number=True)
