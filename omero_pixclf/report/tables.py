"""The tables of a report: what happened to each image, which failed and why, and the means of wells."""

from __future__ import annotations

from typing import Any

import numpy as np

from omero_pixclf.report.data import Account, class_names, summary_rows
from omero_pixclf.report.heatmap import well_means
from omero_pixclf.report.markup import Cell, number, table
from omero_pixclf.report.wells import well_name
from omero_pixclf.runs.state.manifest import ManifestEntry
from omero_pixclf.table import NO_NUMBER
from omero_pixclf.text import printable

__all__ = ["failure_table", "image_table", "well_table"]

STATES = {
    "done": "done",
    "skipped": "stood already",
    "failed": "failed",
    "refused": "refused",
    "due": "not reached",
    "running": "interrupted",
}
EARLIER = "earlier run"  # the state of images that this run did not look at


def failure_table(account: Account) -> str:
    """The images without results, with their reasons; empty where there are none."""
    failed = [e for e in account.entries if e.state not in ("done", "skipped")]
    if not failed:
        return ""
    rows = [[Cell(e.name), Cell(STATES[e.state]), Cell(e.reason or "–"), Cell(e.key)] for e in failed]
    return table("Images without results of this run", ("Image", "State", "Reason", "ID"), rows)


def image_table(account: Account) -> str:
    """One row per image: those of the run in its order, then those of earlier runs."""
    known = summary_rows(account.summary)
    entries = {printable(e.key): e for e in account.entries}
    keys = [*entries, *(k for k in known if k not in entries)]
    tags = class_names(account.summary)
    heads = ["Image", "Well", "Field"] if "Well_Name" in account.summary else ["Image"]
    for name in tags.values():
        heads += [f"{name} count", f"{name} area %"]
    heads += ["Uncertainty", "State", "Seconds", "ID"]
    rows = [_image_row(key, entries.get(key), known.get(key, {}), heads, list(tags)) for key in keys]
    return table(f"Images: {len(rows)}", heads, rows, sortable=True)


def _image_row(
    key: str, entry: ManifestEntry | None, row: dict[str, Any], heads: list[str], tags: list[str]
) -> list[Cell]:
    nan = float("nan")
    cells = [Cell(str(row.get("Image_Name") or (entry.name if entry else key)))]
    if "Well" in heads:
        field = row.get("Field", NO_NUMBER)
        well = row.get("Well_Name")
        cells += [Cell(well) if well else Cell("–", ""), number(nan if field == NO_NUMBER else field)]
    for tag in tags:
        count = row.get(f"Count_{tag}", -1)
        cells += [number(count if count >= 0 else nan), number(100 * row.get(f"Area_fraction_{tag}", nan), ".1f")]
    seconds = entry.seconds if entry and entry.seconds is not None else nan
    state = STATES[entry.state] if entry else EARLIER
    return [*cells, number(row.get("Uncertainty", nan), ".3f"), Cell(state), number(seconds, ".1f"), Cell(key)]


def well_table(account: Account) -> str:
    """The numbers of the heat map in words: means over the images of each well; empty off plates."""
    heads, columns = ["Well", "Images"], []
    for tag, name in class_names(account.summary).items():
        wells = well_means(account.summary, f"Count_{tag}")
        share = well_means(account.summary, f"Area_fraction_{tag}")
        if wells is not None and share is not None:
            heads += [f"{name} per image", f"{name} area %"]
            columns += [(wells.values, ",.1f"), (100 * share.values, ".1f")]
            fields = wells.fields
    if not columns:
        return ""
    rows = []
    for r, c in np.argwhere(fields > 0).tolist():
        means = [number(float(values[r, c]), form) for values, form in columns]
        rows.append([Cell(well_name(r, c)), number(int(fields[r, c])), *means])
    return table("Means of wells", heads, rows, sortable=True)
