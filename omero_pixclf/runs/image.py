"""Process one image from its pixels to its stored results."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
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
from omero_pixclf.runs.drawing_errors import try_drawing
from omero_pixclf.runs.execution.concurrency import UNLIMITED, StageLimits
from omero_pixclf.runs.planning.channels import class_colors
from omero_pixclf.runs.protocols import ImageSource, ImageWriter, PictureDrawer, ResultImage, ResultSink
from omero_pixclf.runs.state.image_files import ImageFiles
from omero_pixclf.table import Column, Table, concatenate

__all__ = [
    "ImageResults",
    "ProcessingContext",
    "RoiKind",
    "choose_output_roi_kind",
    "choose_roi_kind",
    "draw_preview",
    "make_image_record",
    "process_image",
    "store_results",
]

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ProcessingContext:
    """What is the same for all images that a worker processes.

    Attributes
    ----------
    files
        Tables and previews in the run's folder.
    now
        The clock.
    drawer
        Draws previews; None: there are none.
    threads, memory
        Number of threads and memory limit in bytes.
    limits
        How many images may be read, computed and written at a time.
    """

    source: ImageSource
    sink: ResultSink
    recipe: Recipe
    project: Project
    record: RunRecord
    files: ImageFiles
    now: Callable[[], datetime]
    drawer: PictureDrawer | None = None
    threads: int | None = None
    memory: int | None = None
    limits: StageLimits = UNLIMITED


@dataclass(frozen=True)
class ImageResults:
    """The results to store for an image; ``outlines`` for each class that is drawn."""

    analysis: ImageAnalysis
    kind: RoiKind
    outlines: Mapping[str, Iterable[Outline]]
    preview: bytes | None


def process_image(image: ImageInfo, context: ProcessingContext) -> dict[str, int]:
    """Process an image from its pixels to its stored results; return the number of objects per class.

    It waits for its turn before it reads, computes and writes, so that several images can be processed at a time.
    """
    record = make_image_record(image, context)
    with context.limits.reading(), context.source.open(image) as reader:
        pixels = read_pixels(reader)
    with context.limits.computing():
        limits: dict[str, Any] = {"threads": context.threads, "memory": context.memory}
        results = _make_results(analyze_pixels(image, pixels, context.recipe, context.project, **limits), context)
    with context.limits.writing(), context.sink.begin(image, record) as writer:
        return store_results(results, record, context, writer)


def make_image_record(image: ImageInfo, context: ProcessingContext) -> RunRecord:
    """Return the ledger's entry for an image whose processing starts."""
    return replace(context.record, image=image.key, fingerprint=image.fingerprint, started=context.now())


def _make_results(analysis: ImageAnalysis, context: ProcessingContext) -> ImageResults:
    total = sum(len(table) for table in analysis.objects.values())
    kind = choose_output_roi_kind(total, context.recipe.output)
    preview = draw_preview(analysis, context)
    if kind == "none" or kind == "labels":
        return ImageResults(analysis, kind, {}, preview)
    output = context.recipe.output
    shown: dict[str, Any] = {"kind": kind, "simplify": output.simplify, "min_hole": output.min_hole}
    # Whoever holds the writing gate should not compute.
    drawn = {label: list(trace_outlines(np.asarray(image), **shown)) for label, image in analysis.labels.items()}
    return ImageResults(analysis, kind, drawn, preview)


def draw_preview(analysis: ImageAnalysis, context: ProcessingContext) -> bytes | None:
    """Draw the preview of an image for its container's contact sheet; None if there is none, or drawing fails."""
    if context.drawer is None:
        return None
    return try_drawing(f"{analysis.image.key}: its picture", partial(context.drawer.draw_preview, analysis))


def store_results(
    results: ImageResults, record: RunRecord, context: ProcessingContext, writer: ImageWriter
) -> dict[str, int]:
    """Store an image's results; return the number of objects per class.

    The order makes every interruption harmless: table rows and preview are on disk before the ledger says
    ``complete``, and what was written without a ``complete`` entry is removed by the next run.
    """
    analysis, key = results.analysis, record.image
    _warn_about_kind(results, context.recipe.output)
    rows = [_store_objects(results, label, context, writer) for label in analysis.labels]
    _store_maps(analysis, context, writer, labelled=results.kind == "labels")
    context.files.save_table(key, "objects", concatenate(rows))
    context.files.save_table(key, "summary", make_summary_row(analysis.image, analysis.summary, analysis.objects))
    picture = results.preview
    if picture is not None:
        try_drawing(f"{key}: its picture", lambda: context.files.preview_path(key).write_bytes(picture))
    counts = dict(analysis.summary.objects)
    uncertainty = analysis.summary.uncertainty
    known = uncertainty if math.isfinite(uncertainty) else None
    writer.complete(replace(record, state="complete", finished=context.now(), objects=counts, uncertainty=known))
    return counts


RoiKind = Literal["polygon", "mask", "labels", "none"]


def choose_roi_kind(wanted: Literal["auto", "polygon", "mask", "labels", "none"], count: int, budget: int) -> RoiKind:
    """Return ``polygon``, ``mask``, ``labels`` or ``none`` for a number of objects.

    Viewers page ROIs and become slow with thousands of them.

    >>> [choose_roi_kind("auto", n, 2000) for n in (100, 5000, 50_000)]
    ['polygon', 'mask', 'labels']
    """
    if wanted != "auto":
        return wanted
    if count <= budget:
        return "polygon"
    return "mask" if count <= 10 * budget else "labels"


def choose_output_roi_kind(total: int, output: OutputSettings) -> RoiKind:
    """Return how the objects of an image are shown, by their number and the recipe."""
    return choose_roi_kind(output.rois, total, output.roi_budget)


def _warn_about_kind(results: ImageResults, output: OutputSettings) -> None:
    if output.rois == "auto" and results.kind != "polygon":
        analysis, total = results.analysis, sum(len(table) for table in results.analysis.objects.values())
        said = "%s: %d objects, more than %d: shown as %s"
        _log.warning(said, analysis.image.key, total, output.roi_budget, results.kind)


def _store_objects(results: ImageResults, label: str, context: ProcessingContext, writer: ImageWriter) -> Table:
    """Save one class's outlines; return its rows, with Roi ids if there are ROIs."""
    table = add_image_columns(results.analysis.objects[label], results.analysis.image)
    if label not in results.outlines:
        return table
    color = class_colors(context.recipe, context.project)[label]
    return table.with_column(Column("Roi", "roi", writer.save_rois(results.outlines[label], name=label, color=color)))


_WHITE = (255, 255, 255)
_FORMS = {"attachment": "attachment-h5", "ome-tiff": "attachment-tiff", "image": "image", "zarr": "zarr"}


def _store_maps(analysis: ImageAnalysis, context: ProcessingContext, writer: ImageWriter, *, labelled: bool) -> None:
    """Save the result images that the recipe asks for; ``labelled``: the objects as a label image instead of ROIs."""
    output, classes = context.recipe.output, context.project.classes
    names = [c.name for c in classes]
    if output.probabilities != "none":
        form = _FORMS[output.probabilities]
        writer.save_image(
            ResultImage("probabilities", analysis.probabilities, channels=names, form=form, classes=classes)
        )
    if output.segmentation != "none":
        form = _FORMS[output.segmentation]
        writer.save_image(
            ResultImage(
                "segmentation", _lazy_segmentation(analysis), channels=["Segmentation"], form=form, classes=classes
            )
        )
    labels = "image" if labelled and output.labels == "none" else output.labels
    if labels != "none":
        of = [next((c for c in classes if c.name == name), ClassLabel(name, _WHITE)) for name in analysis.labels]
        writer.save_image(
            ResultImage(
                "labels", _stack_labels(analysis), channels=list(analysis.labels), form=_FORMS[labels], classes=of
            )
        )


@dataclass(frozen=True)
class _ComputedArray:
    """Pixels ``(t, z, y, x, c)`` that are computed from an image's arrays when they are read."""

    shape: tuple[int, ...]
    dtype: Any
    make: Callable[[tuple[Any, ...]], NDArray[Any]]

    def __getitem__(self, place: Any, /) -> NDArray[Any]:
        return self.make(place[:4])[..., place[4]]


def _lazy_segmentation(analysis: ImageAnalysis) -> PixelArray:
    """Return the simple segmentation, uint8."""

    def make(place: tuple[Any, ...]) -> NDArray[Any]:
        return simple_segmentation(np.asarray(analysis.probabilities[place]))

    return _ComputedArray((*analysis.image.shape[:4], 1), np.dtype(np.uint8), make)


def _stack_labels(analysis: ImageAnalysis) -> PixelArray:
    """Return the labels of all classes, one channel for each."""

    def make(place: tuple[Any, ...]) -> NDArray[Any]:
        return np.stack([image[place] for image in analysis.labels.values()], axis=-1)

    return _ComputedArray((*analysis.image.shape[:4], len(analysis.labels)), np.dtype(np.int32), make)
