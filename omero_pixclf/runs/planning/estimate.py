"""Estimate the duration and the number of objects of a run from a few images."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from math import prod

from omero_pixclf.config import Recipe
from omero_pixclf.errors import PixclfError
from omero_pixclf.ilastik.project import Project
from omero_pixclf.image import ArrayReader, ImageInfo, PixelReader
from omero_pixclf.runs.blocks.array import choose_grid, make_region
from omero_pixclf.runs.planning.plan import PlanItem
from omero_pixclf.runs.protocols import ImageSource

__all__ = ["Estimate", "SampleAnalyzer", "SampleResult", "crop_middle_block", "estimate_run"]


@dataclass(frozen=True)
class Estimate:
    """What is to be expected, scaled by the pixels of the images that are to be worked on.

    Attributes
    ----------
    sampled
        The images that were looked at.
    seconds
        Reading, predicting and measuring, by all workers together, also where they share images; writing is not in it.
    objects
        Number of objects per class.
    """

    sampled: tuple[str, ...]
    seconds: float
    objects: dict[str, int]


@dataclass(frozen=True)
class SampleResult:
    """What was seen of an image: so many pixels (all channels), with so many objects per class."""

    pixels: int
    objects: dict[str, int]


def crop_middle_block(reader: PixelReader) -> PixelReader:
    """An image, or of a large one the block in its middle, as an image of its own."""
    image = reader.info
    grid = choose_grid(image.shape[:4], deep=True)
    if len(grid) == 1:
        return reader
    box = make_region(grid.slices(grid.block_at([n // 2 for n in image.shape[:4]])), image.shape[4])
    return ArrayReader(replace(image, shape=box.shape), reader.read(box))


@dataclass(frozen=True)
class SampleAnalyzer:
    """Analyzes an image, or the block in the middle of a large one, without storing anything."""

    source: ImageSource
    recipe: Recipe
    project: Project
    threads: int | None = None
    memory: int | None = None

    def __call__(self, image: ImageInfo) -> SampleResult:
        """Read an image and count its objects."""
        from omero_pixclf.runs.analysis import analyze_image  # slow to import; most plans have no estimate

        with self.source.open(image) as reader:
            part = crop_middle_block(reader)
            analysis = analyze_image(part, self.recipe, self.project, threads=self.threads, memory=self.memory)
            return SampleResult(prod(part.info.shape), dict(analysis.summary.objects))


def estimate_run(
    items: Sequence[PlanItem],
    analyze: Callable[[ImageInfo], SampleResult],
    *,
    samples: int = 2,
    workers: int = 1,
    clock: Callable[[], float] = time.monotonic,
) -> Estimate | None:
    """Look at evenly spaced images of those that are due, without storing anything; None where none is due.

    ``look`` works on an image, or on a part of it, with as many threads as one of the ``workers`` has. An image that
    fails counts for nothing: the run says why.
    """
    due = [item.image for item in items if item.decision in ("due", "replace")]
    if not due:
        return None
    chosen = [due[round(i * (len(due) - 1) / max(samples - 1, 1))] for i in range(min(samples, len(due)))]
    found: Counter[str] = Counter()
    seen, start = 0, clock()
    for image in chosen:
        try:
            result = analyze(image)
        except PixclfError:
            seen += prod(image.shape)
            continue
        seen += result.pixels
        found.update(result.objects)
    scale = sum(prod(i.shape) for i in due) / max(1, seen)
    hands = sum(
        len(choose_grid(i.shape[:4], deep=False)) for i in due
    )  # what there is to share: images, or their blocks
    seconds = (clock() - start) * scale / min(workers, hands)
    return Estimate(tuple(i.key for i in chosen), seconds, {name: round(n * scale) for name, n in found.items()})
