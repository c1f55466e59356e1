"""One image from its pixels to its stored results."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from omero_pixclf.config import Output, Recipe
from omero_pixclf.ilastik.project import Project
from omero_pixclf.image import ArrayReader, ChannelReader, ImageInfo, PixelReader, Region
from omero_pixclf.objects.find import dimensions, find
from omero_pixclf.objects.label import Labels
from omero_pixclf.objects.measure import measure
from omero_pixclf.objects.outline import outlines
from omero_pixclf.objects.summary import ImageSummary, summarise
from omero_pixclf.pixels.maps import segmentation
from omero_pixclf.pixels.predict import predict_blocks
from omero_pixclf.record import RunRecord
from omero_pixclf.runs.channels import applied_channels, class_indices
from omero_pixclf.runs.containers import locate, summary_row
from omero_pixclf.runs.edges import ImageSource, ImageWriter, ResultSink
from omero_pixclf.runs.manifest import Manifest
from omero_pixclf.table import Column, Table, concatenate

__all__ = ["Found", "Work", "find_in", "roi_kind", "run_image"]

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Found:
    """What was found in one image, before anything is stored.

    Attributes
    ----------
    pixels, probabilities
        ``(t, z, y, x, c)``: the image as read, and float32 with one channel per class of the project.
    labels
        ``(t, z, y, x)`` int32 for each class that is looked for.
    objects
        One measurement table for each of these classes, rows in the order of `outlines`.
    """

    image: ImageInfo
    pixels: NDArray[Any]
    probabilities: NDArray[Any]
    labels: Mapping[str, Labels]
    objects: Mapping[str, Table]
    summary: ImageSummary


@dataclass(frozen=True)
class Work:
    """What is the same for all images of a run."""

    source: ImageSource
    sink: ResultSink
    recipe: Recipe
    project: Project
    record: RunRecord
    manifest: Manifest
    now: Callable[[], datetime]
    preview: Callable[[Found], bytes] | None = None
    threads: int | None = None
    memory: int | None = None


def run_image(image: ImageInfo, work: Work) -> dict[str, int]:
    """Take an image from its pixels to its stored results; returns the number of objects per class.

    The order makes every interruption harmless: rows and picture for the container are kept on disk before the ledger
    says ``complete``, and what was written before that is debris which the next run removes.
    """
    record = replace(work.record, image=image.key, fingerprint=image.fingerprint, started=work.now())
    with work.sink.begin(image, record) as writer:
        with work.source.open(image) as reader:
            found = find_in(reader, work.recipe, work.project, threads=work.threads, memory=work.memory)
        kind = _roi_kind(found, work.recipe.output)
        rows = [_store_objects(found, label, kind, work, writer) for label in found.labels]
        _store_maps(found, work.recipe.output, work.project, writer, labelled=kind == "labels")
        work.manifest.keep(image.key, "objects", concatenate(rows))
        work.manifest.keep(image.key, "summary", summary_row(image, found.summary, found.objects))
        if work.preview is not None:
            work.manifest.picture(image.key).write_bytes(work.preview(found))
        counts = dict(found.summary.objects)
        uncertainty = found.summary.uncertainty
        done = replace(record, state="complete", finished=work.now(), objects=counts, uncertainty=uncertainty)
        writer.complete(done)
    return counts


def find_in(
    reader: PixelReader, recipe: Recipe, project: Project, *, threads: int | None = None, memory: int | None = None
) -> Found:
    """Predict, find and measure, without storing anything."""
    image = reader.info
    pixels = reader.read(Region.whole(image.shape))
    chosen: PixelReader = ArrayReader(image, pixels)
    channels = applied_channels(recipe, project, image)
    if channels != tuple(range(image.shape[4])):
        chosen = ChannelReader(chosen, channels)
    probabilities = np.empty((*image.shape[:4], len(project.classes)), np.float32)
    for region, block in predict_blocks(project, chosen, memory=memory, threads=threads):
        probabilities[region.slices[:4]] = block
    dims = dimensions(recipe.objects, image.shape[1])
    labels, tables = {}, {}
    for name, index in class_indices(recipe, project).items():
        labels[name] = find(probabilities, index, recipe.objects, pixel_size_um=image.pixel_size_um)
        tables[name] = measure(
            labels[name],
            pixels,
            probabilities,
            class_name=name,
            class_index=index,
            dims=dims,
            pixel_size_um=image.pixel_size_um,
            channels=image.channels,
        )
    return Found(image, pixels, probabilities, labels, tables, summarise(pixels, probabilities, labels))


def roi_kind(wanted: str, count: int, budget: int) -> str:
    """``polygon``, ``mask``, ``labels`` or ``none`` for so many objects: viewers page ROIs and stall on thousands.

    >>> [roi_kind("auto", n, 2000) for n in (100, 5000, 50_000)]
    ['polygon', 'mask', 'labels']
    """
    if wanted != "auto":
        return wanted
    if count <= budget:
        return "polygon"
    return "mask" if count <= 10 * budget else "labels"


def _roi_kind(found: Found, output: Output) -> str:
    total = sum(len(table) for table in found.objects.values())
    kind = roi_kind(output.rois, total, output.roi_budget)
    if output.rois == "auto" and kind != "polygon":
        _log.warning("%s: %d objects, more than %d: shown as %s", found.image.key, total, output.roi_budget, kind)
    return kind


def _store_objects(found: Found, label: str, kind: str, work: Work, writer: ImageWriter) -> Table:
    """Save one class's outlines; its rows with their Roi ids, where there are ROIs."""
    table = locate(found.objects[label], found.image)
    if kind in ("none", "labels"):
        return table
    shapes = outlines(found.labels[label], kind=kind, simplify=work.recipe.output.simplify)  # type: ignore[arg-type]
    color = next(c.color for c in work.project.classes if c.name == label)
    return table.with_column(Column("Roi", "roi", writer.rois(shapes, name=label, color=color)))


_FORMS = {"attachment": "attachment-h5", "ome-tiff": "attachment-tiff", "image": "image", "zarr": "zarr"}


def _store_maps(found: Found, output: Output, project: Project, writer: ImageWriter, *, labelled: bool) -> None:
    """Save the maps that the recipe asks for; ``labelled``: the objects as a label image, in place of ROIs."""
    names = [c.name for c in project.classes]
    if output.probabilities != "none":
        form = _FORMS[output.probabilities]
        writer.map("probabilities", found.probabilities, channels=names, form=form)
    if output.segmentation != "none":
        form = _FORMS[output.segmentation]
        writer.map("segmentation", segmentation(found.probabilities), channels=["Segmentation"], form=form)
    labels = "image" if labelled and output.labels == "none" else output.labels
    if labels != "none":
        stacked = np.stack(list(found.labels.values()), axis=-1)
        writer.map("labels", stacked, channels=list(found.labels), form=_FORMS[labels])
