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
    """What to expect, scaled by the pixels of the images to process.

    Attributes
    ----------
    sampled
        The images that were analyzed.
    seconds
        Time to read, predict and measure with all workers, also where they share images; writing is not included.
    objects
        Number of objects per class.
    """

    sampled: tuple[str, ...]
    seconds: float
    objects: dict[str, int]


@dataclass(frozen=True)
class SampleResult:
    """The number of pixels of a sample (all channels), and of its objects per class."""

    pixels: int
    objects: dict[str, int]


def crop_middle_block(reader: PixelReader) -> PixelReader:
    """Return an image, or the block in the middle of a large one as an image of its own."""
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
    """Analyze evenly spaced images of those to process, without storing anything; None if there are none.

    Parameters
    ----------
    items
        The plan.
    analyze
        Analyzes an image, or a part of it, with the number of threads that one worker has (`SampleAnalyzer`). An
        image that fails counts with its pixels and no objects: the run will report it.
    samples
        Number of images to analyze.
    workers
        Number of workers that the run will have.
    clock
        Seconds.
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
