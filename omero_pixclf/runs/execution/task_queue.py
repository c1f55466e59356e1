"""The queue of tasks of a run with several workers: whole images, and blocks of images that are split."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from omero_pixclf.image import ImageInfo
from omero_pixclf.runs.execution.serial import TaskResult
from omero_pixclf.runs.execution.task import BlockStage, BlockTask, Task, get_task_image
from omero_pixclf.runs.state.manifest import Manifest

if TYPE_CHECKING:
    from omero_pixclf.runs.blocks.block_plan import BlockPlan

__all__ = ["ImageSplitter", "TaskQueue", "split_none"]

ImageSplitter = Callable[[list[ImageInfo], int], Mapping[str, "BlockPlan"]]
"""Which of these images so many workers shall share, and how they are split."""


def split_none(images: list[ImageInfo], workers: int) -> Mapping[str, BlockPlan]:
    """Split no image."""
    del images, workers
    return {}


@dataclass
class _SplitImage:
    """An image that is split: the stages that are left, and the number of unfinished tasks of the first one."""

    plan: BlockPlan
    stages: list[BlockStage]
    open: int = 0
    seconds: float = 0.0


class TaskQueue:
    """Tasks to execute, in the order in which they should start.

    Images that are split come first: other images fill the time in which one block waits for another. Each image ends
    once.
    """

    def __init__(
        self, images: Iterable[ImageInfo], manifest: Manifest, split_images: ImageSplitter, workers: int
    ) -> None:
        images = list(images)
        self._manifest = manifest
        self._split = {key: _SplitImage(plan, list(plan.stages)) for key, plan in split_images(images, workers).items()}
        self._due: deque[Task] = deque(image for image in images if image.key not in self._split)
        self._running: set[str] = set()
        for one in reversed(self._split.values()):
            self._begin(one)

    def __len__(self) -> int:
        return len(self._due)

    @property
    def next_task(self) -> Task | None:
        """The task that `get` returns next; None if there is none."""
        return self._due[0] if self._due else None

    def get(self) -> Task:
        """Return the next task; its image is marked as running."""
        task = self._due.popleft()
        key = get_task_image(task).key
        if key not in self._running:
            self._manifest.set_state(key, "running")
            self._running.add(key)
        return task

    def put_back(self, task: Task, *, last: bool = False) -> None:
        """Put a task that was started back, as the next one or as the ``last``."""
        key = get_task_image(task).key
        if isinstance(task, BlockTask) and key not in self._split:
            return  # its image has failed meanwhile
        if not isinstance(task, BlockTask):
            self._running.discard(key)
            self._manifest.set_state(key, "due")
        self._due.append(task) if last else self._due.appendleft(task)

    def finish(self, task: Task, result: TaskResult) -> list[TaskResult]:
        """Record that a task has ended; return the image's result if this was its last task."""
        if not isinstance(task, BlockTask):
            return [result]
        split = self._split.get(task.image.key)
        if split is None or (result.outcome.state == "done" and task.stage != split.stages[0]):
            return []  # the image has failed meanwhile; somebody else was faster with this piece
        split.seconds += result.outcome.seconds
        if result.outcome.state == "done":
            split.open -= 1
            if split.open:
                return []
            split.stages.pop(0)
            if split.stages:
                self._begin(split)
                return []
        del self._split[task.image.key]
        self._due = deque(other for other in self._due if get_task_image(other).key != task.image.key)
        return [replace(result, outcome=replace(result.outcome, seconds=split.seconds))]

    def close(self) -> None:
        """Mark images that were started as due, since the run ends early; their finished blocks are kept."""
        for key in self._split:
            if key in self._running:
                self._manifest.set_state(key, "due")

    def _begin(self, split: _SplitImage) -> None:
        """Put the tasks of the first unfinished stage at the front."""
        while not (left := split.plan.pending_tasks(split.stages[0])):
            split.stages.pop(0)
        split.open = len(left)
        self._due.extendleft(reversed(left))
