"""Print the demo's results in OMERO next to the true numbers of nuclei, and download its pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from omero.gateway import BlitzGateway
from rich.console import Console
from rich.table import Table as Grid

from omero_pixclf.demo.images import DOSES_UM
from omero_pixclf.demo.readback import Attachment, attachments, download, image_results, table_rows
from omero_pixclf.demo.seed import DemoData

__all__ = ["BULK", "print_results"]

BULK = "openmicroscopy.org/omero/bulk_annotations"


def print_results(console: Console, host: str, port: int, user: tuple[str, str], data: DemoData, folder: Path) -> None:
    """Print the results in OMERO, and download pictures and reports to ``folder``; ``user`` is name and password."""
    conn = BlitzGateway(*user, host=host, port=port, secure=True)
    if not conn.connect():
        raise ConnectionError(f"BlitzGateway cannot log in to {host}:{port}: {conn.getLastError()}")
    try:
        console.rule("read back by a second client (plain BlitzGateway)")
        _print_plate(console, conn, data)
        _print_stacks(console, conn, data)
        _print_lapses(console, conn, data)
        _download_pictures(console, conn, data, folder)
    finally:
        conn.close()


def _summary(conn: BlitzGateway, kind: str, number: int) -> list[dict[str, Any]]:
    """The rows of the container's summary table; like OMERO.parade, find it by its namespace."""
    found = [a for a in attachments(conn, kind, number) if a.namespace == BULK]
    return table_rows(conn, found[0].file_id)


def _print_plate(console: Console, conn: BlitzGateway, data: DemoData) -> None:
    rows = _summary(conn, "Plate", data.plate)
    rois = sum(sum(image_results(conn, row["Image"]).rois.values()) for row in rows)
    grid = Grid("Well", "Compound", "Nuclei found", "true", title=f"Plate:{data.plate}, {rois} ROIs in OMERO")
    per_dose: dict[float, list[tuple[int, int]]] = {}
    for well, true in sorted(data.truth.wells.items()):
        dose = DOSES_UM[int(well[1:]) - 1]
        found = sum(row["Count_Nucleus"] for row in rows if row["Well_Name"] == well)
        per_dose.setdefault(dose, []).append((found, sum(true)))
        grid.add_row(well, f"{dose:g} µM", str(found), str(sum(true)))
    console.print(grid)
    console.print("Dose response (nuclei, mean of wells):")
    for dose, wells in per_dose.items():
        mean_found, mean_true = (sum(w[i] for w in wells) / len(wells) for i in (0, 1))
        console.print(f"  {dose:4g} µM  found {mean_found:6.1f} {'█' * round(mean_found / 6)}")
        console.print(f"           true {mean_true:6.1f} {'░' * round(mean_true / 6)}")


def _print_stacks(console: Console, conn: BlitzGateway, data: DemoData) -> None:
    rows = {row["Image_Name"]: row for row in _summary(conn, "Dataset", data.stacks)}
    grid = Grid("z-stack", "Nuclei found (3D)", "true", "ROIs, one per object", title=f"Dataset:{data.stacks}")
    for name, true in data.truth.stacks.items():
        results = image_results(conn, rows[name]["Image"])
        grid.add_row(name, str(rows[name]["Count_Nucleus"]), str(true), str(sum(results.rois.values())))
    console.print(grid)


def _print_lapses(console: Console, conn: BlitzGateway, data: DemoData) -> None:
    rows = {row["Image_Name"]: row for row in _summary(conn, "Dataset", data.lapses)}
    grid = Grid("Time-lapse", "Nuclei found, all frames", "true", "Run", title=f"Dataset:{data.lapses}")
    for name, true in data.truth.lapses.items():
        results = image_results(conn, rows[name]["Image"])
        grid.add_row(name, str(rows[name]["Count_Nucleus"]), str(sum(true)), results.run.get("Run ID", "?"))
    console.print(grid)


def _download_pictures(console: Console, conn: BlitzGateway, data: DemoData, folder: Path) -> None:
    """List all attachments, and download the pictures and reports among them."""
    console.print("Attached in OMERO:")
    pictures = []
    containers = (("Plate", data.plate), ("Dataset", data.stacks), ("Dataset", data.lapses))
    for kind, number in containers:
        for attachment in attachments(conn, kind, number):
            console.print(f"  {kind}:{number}  {_describe(attachment)}", soft_wrap=True)
            if attachment.name.endswith((".png", ".html")):
                target = folder / f"{kind}_{number}_{attachment.name}"
                download(conn, attachment.annotation_id, target)
                pictures.append(target)
    console.print("Pictures (outlines over the images, heat map, histograms) and reports, downloaded from OMERO:")
    for picture in pictures:
        console.print(f"  {picture.resolve()}", soft_wrap=True)


def _describe(a: Attachment) -> str:
    kind = f"table for {a.namespace}" if a.mimetype == "OMERO.tables" else a.name
    return f"FileAnnotation:{a.annotation_id} {kind} ({a.size / 1024:.0f} KiB)"
