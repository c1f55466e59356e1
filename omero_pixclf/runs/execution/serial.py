"""Process images one after the other; a failure is recorded and the others continue."""

from __future__ import annotations

import threading
import time
import traceback
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import Literal

from omero_pixclf.errors import LoginError, PixclfError, UnreachableError
from omero_pixclf.image import ImageInfo
from omero_pixclf.runs.execution.concurrency import RunStopped
from omero_pixclf.runs.execution.task import Task, get_task_image
from omero_pixclf.runs.planning.plan import PlanItem
from omero_pixclf.runs.state.manifest import Manifest

__all__ = [
    "Executor",
    "ImageOutcome",
    "TaskFunction",
    "TaskResult",
    "execute_in_process",
    "execute_task",
    "make_failed_result",
    "skip_decided",
]

TaskFunction = Callable[[Task], dict[str, int]]
"""Takes an image from its pixels to its stored results, or does a piece of that; returns the objects per class."""

Executor = Callable[[Iterable[PlanItem], Manifest], Iterator["ImageOutcome"]]
"""Works on every item that is due and yields each one's outcome once; the manifest knows it before the caller does."""


@dataclass(frozen=True)
class ImageOutcome:
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


@dataclass(frozen=True)
class TaskResult:
    """An outcome of the work, with the traceback where it failed."""

    outcome: ImageOutcome
    traceback: str = ""

    def record(self, manifest: Manifest) -> ImageOutcome:
        """Put it into the manifest."""
        done = self.outcome
        state: Literal["done", "failed"] = "done" if done.state == "done" else "failed"
        trace = self.traceback
        manifest.set_state(done.image.key, state, reason=done.reason, traceback=trace, seconds=done.seconds)
        if state == "done":
            manifest.remove_blocks(done.image.key)
        return done


def execute_in_process(
    items: Iterable[PlanItem],
    manifest: Manifest,
    function: TaskFunction,
    *,
    concurrency: int = 1,
    stopping: threading.Event | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> Iterator[ImageOutcome]:
    """Work on the items in this process, up to ``concurrency`` of them on their way at a time (`concurrency`).

    ``stopping`` is set when the run ends early; what has not had its turn by then is left as due.

    Raises
    ------
    UnreachableError, LoginError
        The server is gone or the session result: going on would fail every image. `--resume` goes on later.
    """
    todo, stopping = iter(items), stopping or threading.Event()
    under_way: dict[Future[TaskResult], ImageInfo] = {}
    with ThreadPoolExecutor(concurrency) as pool:
        try:
            while True:
                for item in todo:
                    if settled := skip_decided(item, manifest):
                        yield settled
                        continue
                    manifest.set_state(item.image.key, "running")
                    under_way[pool.submit(execute_task, item.image, function, clock)] = item.image
                    if len(under_way) >= concurrency:
                        break
                if not under_way:
                    return
                for future in wait(under_way, return_when=FIRST_COMPLETED).done:
                    result = future.result()
                    del under_way[future]
                    yield result.record(manifest)
        finally:
            stopping.set()
            _give_back(under_way, manifest)


def _give_back(under_way: dict[Future[TaskResult], ImageInfo], manifest: Manifest) -> None:
    """Wait for what cannot be stopped; the rest is due again."""
    for future, image in under_way.items():
        if future.cancel() or future.exception() is not None:
            manifest.set_state(image.key, "due")
        else:
            future.result().record(manifest)


def skip_decided(item: PlanItem, manifest: Manifest) -> ImageOutcome | None:
    """The outcome of an item that the plan has decided already; None where there is work to do."""
    if item.decision not in ("done", "refused"):
        return None
    state: Literal["skipped", "refused"] = "skipped" if item.decision == "done" else "refused"
    # A run that was killed between the ledger and the manifest meets its own image as done: its rows are here.
    own = state == "skipped" and manifest.load_table(item.image.key, "summary") is not None
    if own:
        manifest.remove_blocks(item.image.key)
    manifest.set_state(item.image.key, "done" if own else state, reason="" if own else item.reason)
    return ImageOutcome(item.image, state, item.reason)


def execute_task(task: Task, function: TaskFunction, clock: Callable[[], float] = time.monotonic) -> TaskResult:
    """Work on one image, or on a piece of it; a failure is an outcome, too.

    Raises
    ------
    UnreachableError, LoginError, Stopped
        What is not the image's fault.
    """
    start, image = clock(), get_task_image(task)
    try:
        objects = function(task)
    except (UnreachableError, LoginError, RunStopped):
        raise
    except Exception as error:  # noqa: BLE001 - the one outermost catch per image; the traceback is kept
        reason = str(error) if isinstance(error, PixclfError) else f"{type(error).__name__}: {error}"
        return make_failed_result(image, reason, traceback.format_exc(), clock() - start)
    return TaskResult(ImageOutcome(image, "done", "", clock() - start, tuple(objects.items())))


def make_failed_result(image: ImageInfo, reason: str, trace: str = "", seconds: float = 0.0) -> TaskResult:
    """The end of an image that failed."""
    return TaskResult(ImageOutcome(image, "failed", reason, seconds), trace)
