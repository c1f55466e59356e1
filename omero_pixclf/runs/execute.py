"""Many images, one after the other, each to its own end: a failed one is recorded and the others go on."""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

from omero_pixclf.errors import LoginError, PixclfError, UnreachableError
from omero_pixclf.image import ImageInfo
from omero_pixclf.runs.manifest import Manifest
from omero_pixclf.runs.plan import PlanItem

__all__ = ["Outcome", "execute"]


@dataclass(frozen=True)
class Outcome:
    """How one image ended.

    Attributes
    ----------
    state
        ``done``; ``skipped``: the same run stood already; ``refused`` in the plan; ``failed`` in the work.
    objects
        Number of objects per class.
    """

    image: ImageInfo
    state: Literal["done", "skipped", "refused", "failed"]
    reason: str = ""
    seconds: float = 0.0
    objects: tuple[tuple[str, int], ...] = ()


def execute(
    items: Iterable[PlanItem],
    manifest: Manifest,
    work: Callable[[ImageInfo], dict[str, int]],
    *,
    clock: Callable[[], float] = time.monotonic,
) -> Iterator[Outcome]:
    """Work on every item that is due and yield each one's outcome; the manifest knows it before the caller does.

    ``work`` takes an image from its pixels to its stored results and returns the number of objects per class.

    Raises
    ------
    UnreachableError, LoginError
        The server is gone or the session ended: going on would fail every image. `--resume` goes on later.
    """
    for item in items:
        if item.decision in ("done", "refused"):
            state: Literal["skipped", "refused"] = "skipped" if item.decision == "done" else "refused"
            # A run that was killed between the ledger and the manifest meets its own image as done: its rows are here.
            own = state == "skipped" and manifest.kept(item.image.key, "summary") is not None
            manifest.mark(item.image.key, "done" if own else state, reason="" if own else item.reason)
            yield Outcome(item.image, state, item.reason)
        else:
            yield _one(item.image, manifest, work, clock)


def _one(
    image: ImageInfo, manifest: Manifest, work: Callable[[ImageInfo], dict[str, int]], clock: Callable[[], float]
) -> Outcome:
    manifest.mark(image.key, "running")
    start = clock()
    try:
        objects = work(image)
    except (UnreachableError, LoginError, KeyboardInterrupt):
        manifest.mark(image.key, "due")
        raise
    except Exception as error:  # noqa: BLE001 - the one outermost catch per image; the traceback is kept
        reason = str(error) if isinstance(error, PixclfError) else f"{type(error).__name__}: {error}"
        seconds = clock() - start
        manifest.mark(image.key, "failed", reason=reason, traceback=traceback.format_exc(), seconds=seconds)
        return Outcome(image, "failed", reason, seconds)
    seconds = clock() - start
    manifest.mark(image.key, "done", seconds=seconds)
    return Outcome(image, "done", "", seconds, tuple(objects.items()))
