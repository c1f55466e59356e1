"""Process images in this process, several at a time; a failure is recorded and the others continue."""

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
    """How the processing of one image ended.

    Attributes
    ----------
    state
        ``done``; ``skipped``: the same run has results already; ``refused`` by the plan; ``failed`` while processed.
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
    """The outcome of a task, with the traceback if it failed."""

    outcome: ImageOutcome
    traceback: str = ""

    def record(self, manifest: Manifest) -> ImageOutcome:
        """Write the outcome to the manifest."""
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
    """Process the items in this process, ``concurrency`` of them at a time.

    ``stopping`` is set when the run ends early; images that were not started then stay due.

    Raises
    ------
    UnreachableError, LoginError
        The server is gone or the session ended: every other image would fail. `--resume` continues later.
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
    """Wait for tasks that cannot be cancelled; the others are due again."""
    for future, image in under_way.items():
        if future.cancel() or future.exception() is not None:
            manifest.set_state(image.key, "due")
        else:
            future.result().record(manifest)


def skip_decided(item: PlanItem, manifest: Manifest) -> ImageOutcome | None:
    """Return the outcome of an item that the plan has decided; None if the image must be processed."""
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
    """Execute a task; a failure is a result, too.

    Raises
    ------
    UnreachableError, LoginError, RunStopped
        The image is not at fault.
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
    """Return the result of an image that failed."""
    return TaskResult(ImageOutcome(image, "failed", reason, seconds), trace)
