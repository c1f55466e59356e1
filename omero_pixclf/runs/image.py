"""One image from its pixels to its stored results."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from omero_pixclf.config import OutputSettings, Recipe
from omero_pixclf.ilastik.project import ClassLabel, Project
from omero_pixclf.image import ImageInfo, PixelArray
from omero_pixclf.objects.outline import Outline, trace_outlines
from omero_pixclf.pixels.exports import simple_segmentation
from omero_pixclf.provenance import RunRecord
from omero_pixclf.runs.analysis import ImageAnalysis, analyze_pixels, read_pixels
from omero_pixclf.runs.containers import add_image_columns, make_summary_row
from omero_pixclf.runs.drawing_errors import attempt
from omero_pixclf.runs.execution.concurrency import UNLIMITED, StageLimits
from omero_pixclf.runs.planning.channels import class_colors
from omero_pixclf.runs.protocols import ImageSource, ImageWriter, ResultImage, ResultSink
from omero_pixclf.runs.state.image_files import ImageFiles
from omero_pixclf.table import Column, Table, concatenate

__all__ = [
    "ImageResults",
    "ProcessingContext",
    "RoiKind",
    "choose_roi_kind",
    "make_image_record",
    "preview_of",
    "process_image",
    "roi_kind_of",
    "store_results",
]

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ProcessingContext:
    """What is the same for all images of a run."""

    source: ImageSource
    sink: ResultSink
    recipe: Recipe
    project: Project
    record: RunRecord
    files: ImageFiles
    now: Callable[[], datetime]
    preview: Callable[[ImageAnalysis], bytes | None] | None = None
    threads: int | None = None
    memory: int | None = None
    gates: StageLimits = UNLIMITED


@dataclass(frozen=True)
class ImageResults:
    """What is to be stored for an image; ``outlines`` for each class that is drawn."""

    found: ImageAnalysis
    kind: RoiKind
    outlines: Mapping[str, Iterable[Outline]]
    preview: bytes | None


def process_image(image: ImageInfo, work: ProcessingContext) -> dict[str, int]:
    """Take an image from its pixels to its stored results; returns the number of objects per class.

    It waits for its turn before it reads, computes and writes, so that several images may be on their way at a time.
    """
    record = make_image_record(image, work)
    with work.gates.reading(), work.source.open(image) as reader:
        pixels = read_pixels(reader)
    with work.gates.computing():
        limits: dict[str, Any] = {"threads": work.threads, "memory": work.memory}
        results = _make_results(analyze_pixels(image, pixels, work.recipe, work.project, **limits), work)
    with work.gates.writing(), work.sink.begin(image, record) as writer:
        return store_results(results, record, work, writer)


def make_image_record(image: ImageInfo, work: ProcessingContext) -> RunRecord:
    """The ledger's entry for an image whose work begins."""
    return replace(work.record, image=image.key, fingerprint=image.fingerprint, started=work.now())


def _make_results(found: ImageAnalysis, work: ProcessingContext) -> ImageResults:
    total = sum(len(table) for table in found.objects.values())
    kind = roi_kind_of(total, work.recipe.output)
    preview = preview_of(found, work)
    if kind == "none" or kind == "labels":
        return ImageResults(found, kind, {}, preview)
    output = work.recipe.output
    shown: dict[str, Any] = {"kind": kind, "simplify": output.simplify, "min_hole": output.min_hole}
    # Whoever holds the writing gate should not compute.
    drawn = {label: list(trace_outlines(np.asarray(image), **shown)) for label, image in found.labels.items()}
    return ImageResults(found, kind, drawn, preview)


def preview_of(found: ImageAnalysis, work: ProcessingContext) -> bytes | None:
    """The picture of an image for its container's contact sheet, where one is wanted and can be drawn."""
    draw = work.preview
    return None if draw is None else attempt(f"{found.image.key}: its picture", lambda: draw(found))


def store_results(
    results: ImageResults, record: RunRecord, work: ProcessingContext, writer: ImageWriter
) -> dict[str, int]:
    """Store an image's results.

    The order makes every interruption harmless: rows and picture for the container are kept on disk before the ledger
    says ``complete``, and what was written before that is debris which the next run removes.
    """
    found, key = results.found, record.image
    _warn_about_kind(results, work.recipe.output)
    rows = [_store_objects(results, label, work, writer) for label in found.labels]
    _store_maps(found, work, writer, labelled=results.kind == "labels")
    work.files.keep(key, "objects", concatenate(rows))
    work.files.keep(key, "summary", make_summary_row(found.image, found.summary, found.objects))
    picture = results.preview
    if picture is not None:
        attempt(f"{key}: its picture", lambda: work.files.picture(key).write_bytes(picture))
    counts = dict(found.summary.objects)
    uncertainty = found.summary.uncertainty
    known = uncertainty if math.isfinite(uncertainty) else None
    writer.complete(replace(record, state="complete", finished=work.now(), objects=counts, uncertainty=known))
    return counts


RoiKind = Literal["polygon", "mask", "labels", "none"]


def choose_roi_kind(wanted: Literal["auto", "polygon", "mask", "labels", "none"], count: int, budget: int) -> RoiKind:
    """``polygon``, ``mask``, ``labels`` or ``none`` for so many objects: viewers page ROIs and stall on thousands.

    >>> [choose_roi_kind("auto", n, 2000) for n in (100, 5000, 50_000)]
    ['polygon', 'mask', 'labels']
    """
    if wanted != "auto":
        return wanted
    if count <= budget:
        return "polygon"
    return "mask" if count <= 10 * budget else "labels"


def roi_kind_of(total: int, output: OutputSettings) -> RoiKind:
    """How so many objects of an image are shown."""
    return choose_roi_kind(output.rois, total, output.roi_budget)


def _warn_about_kind(results: ImageResults, output: OutputSettings) -> None:
    if output.rois == "auto" and results.kind != "polygon":
        found, total = results.found, sum(len(table) for table in results.found.objects.values())
        said = "%s: %d objects, more than %d: shown as %s"
        _log.warning(said, found.image.key, total, output.roi_budget, results.kind)


def _store_objects(results: ImageResults, label: str, work: ProcessingContext, writer: ImageWriter) -> Table:
    """Save one class's outlines; its rows with their Roi ids, where there are ROIs."""
    table = add_image_columns(results.found.objects[label], results.found.image)
    if label not in results.outlines:
        return table
    color = class_colors(work.recipe, work.project)[label]
    return table.with_column(Column("Roi", "roi", writer.save_rois(results.outlines[label], name=label, color=color)))


_WHITE = (255, 255, 255)
_FORMS = {"attachment": "attachment-h5", "ome-tiff": "attachment-tiff", "image": "image", "zarr": "zarr"}


def _store_maps(found: ImageAnalysis, work: ProcessingContext, writer: ImageWriter, *, labelled: bool) -> None:
    """Save the maps that the recipe asks for; ``labelled``: the objects as a label image, in place of ROIs."""
    output, classes = work.recipe.output, work.project.classes
    names = [c.name for c in classes]
    if output.probabilities != "none":
        form = _FORMS[output.probabilities]
        writer.save_image(ResultImage("probabilities", found.probabilities, channels=names, form=form, classes=classes))
    if output.segmentation != "none":
        form = _FORMS[output.segmentation]
        writer.save_image(
            ResultImage(
                "segmentation", _lazy_segmentation(found), channels=["Segmentation"], form=form, classes=classes
            )
        )
    labels = "image" if labelled and output.labels == "none" else output.labels
    if labels != "none":
        of = [next((c for c in classes if c.name == name), ClassLabel(name, _WHITE)) for name in found.labels]
        writer.save_image(
            ResultImage("labels", _stack_labels(found), channels=list(found.labels), form=_FORMS[labels], classes=of)
        )


@dataclass(frozen=True)
class _ComputedArray:
    """Pixels ``(t, z, y, x, c)`` that are made of an image's arrays where they are read."""

    shape: tuple[int, ...]
    dtype: Any
    make: Callable[[tuple[Any, ...]], NDArray[Any]]

    def __getitem__(self, place: Any, /) -> NDArray[Any]:
        return self.make(place[:4])[..., place[4]]


def _lazy_segmentation(found: ImageAnalysis) -> PixelArray:
    """The simple segmentation."""

    def make(place: tuple[Any, ...]) -> NDArray[Any]:
        return simple_segmentation(np.asarray(found.probabilities[place]))

    return _ComputedArray((*found.image.shape[:4], 1), np.dtype(np.uint8), make)


def _stack_labels(found: ImageAnalysis) -> PixelArray:
    """The labels of all classes, a channel for each."""

    def make(place: tuple[Any, ...]) -> NDArray[Any]:
        return np.stack([image[place] for image in found.labels.values()], axis=-1)

    return _ComputedArray((*found.image.shape[:4], len(found.labels)), np.dtype(np.int32), make)
