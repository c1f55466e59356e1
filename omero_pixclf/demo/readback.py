"""Read a run's results from OMERO with nothing but BlitzGateway, as any user's script would.

It uses nothing of omero_pixclf, so that the demo shows what other programs see.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omero.gateway import BlitzGateway

__all__ = ["LEDGER", "Attachment", "StoredResults", "attachments", "download", "image_results", "table_rows"]

LEDGER = "omero_pixclf/run"


@dataclass(frozen=True)
class StoredResults:
    """One image's results: number of ROIs by name, and the run's key-value pairs."""

    image_id: int
    name: str
    rois: dict[str, int]
    run: dict[str, str]


@dataclass(frozen=True)
class Attachment:
    """A file attached to a container; ``size`` is in bytes."""

    annotation_id: int
    file_id: int
    name: str
    namespace: str
    size: int
    mimetype: str


def image_results(conn: BlitzGateway, image_id: int) -> StoredResults:
    """Read the ROIs and the ledger entry of an image."""
    image = conn.getObject("Image", image_id)
    found = conn.getRoiService().findByImage(image_id, None, conn.SERVICE_OPTS)
    names = Counter(roi.name.val if roi.name is not None else "" for roi in found.rois)
    run: dict[str, str] = {}
    for annotation in image.listAnnotations(ns=LEDGER):
        run.update(dict(annotation.getValue()))
    return StoredResults(image_id, image.getName(), dict(names), run)


def attachments(conn: BlitzGateway, kind: str, number: int) -> list[Attachment]:
    """List all files attached to a container (``"Plate"``, 3), including tables."""
    container = conn.getObject(kind, number)
    found = []
    for annotation in container.listAnnotations():
        if annotation.OMERO_TYPE.__name__ != "FileAnnotationI":
            continue
        file = annotation.getFile()
        found.append(
            Attachment(
                annotation.getId(),
                file.getId(),
                file.getName(),
                annotation.getNs() or "",
                file.getSize(),
                file.getMimetype() or "",
            )
        )
    return found


def table_rows(conn: BlitzGateway, file_id: int) -> list[dict[str, Any]]:
    """Read all rows of an OMERO table."""
    table = conn.c.sf.sharedResources().openTable(_file(file_id), conn.SERVICE_OPTS)
    try:
        headers = [c.name for c in table.getHeaders(conn.SERVICE_OPTS)]
        count = table.getNumberOfRows(conn.SERVICE_OPTS)
        if count == 0:
            return []
        columns = table.read(list(range(len(headers))), 0, count, conn.SERVICE_OPTS).columns
        return [dict(zip(headers, row, strict=True)) for row in zip(*(c.values for c in columns), strict=True)]
    finally:
        table.close(conn.SERVICE_OPTS)


def _file(file_id: int) -> Any:
    from omero.model import OriginalFileI

    return OriginalFileI(file_id, False)


def download(conn: BlitzGateway, annotation_id: int, target: Path) -> None:
    """Save an attachment to a file."""
    annotation = conn.getObject("FileAnnotation", annotation_id)
    with target.open("wb") as out:
        for chunk in annotation.getFileInChunks(buf=2**20):
            out.write(chunk)
