"""How long a run will take and how much it will find, from a few of its images."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import prod

from omero_pixclf.errors import PixclfError
from omero_pixclf.image import ImageInfo
from omero_pixclf.runs.plan import PlanItem

__all__ = ["Estimate", "estimate"]


@dataclass(frozen=True)
class Estimate:
    """What is to be expected, scaled by the pixels of the images that are to be worked on.

    Attributes
    ----------
    sampled
        The images that were looked at.
    seconds
        Reading, predicting and measuring, by all workers together; writing is not in it.
    objects
        Number of objects per class.
    """

    sampled: tuple[str, ...]
    seconds: float
    objects: dict[str, int]


def estimate(
    items: Sequence[PlanItem],
    look: Callable[[ImageInfo], dict[str, int]],
    *,
    samples: int = 2,
    workers: int = 1,
    clock: Callable[[], float] = time.monotonic,
) -> Estimate | None:
    """Look at evenly spaced images of those that are due, without storing anything; None where none is due.

    ``look`` gives the number of objects per class in an image, with as many threads as one of the ``workers`` has. One
    that fails counts for nothing: the run says why.
    """
    due = [item.image for item in items if item.decision in ("due", "replace")]
    if not due:
        return None
    chosen = [due[round(i * (len(due) - 1) / max(samples - 1, 1))] for i in range(min(samples, len(due)))]
    found: Counter[str] = Counter()
    start = clock()
    for image in chosen:
        try:
            found.update(look(image))
        except PixclfError:
            continue
    scale = sum(prod(i.shape) for i in due) / sum(prod(i.shape) for i in chosen)
    seconds = (clock() - start) * scale / min(workers, len(due))
    return Estimate(tuple(i.key for i in chosen), seconds, {name: round(n * scale) for name, n in found.items()})
