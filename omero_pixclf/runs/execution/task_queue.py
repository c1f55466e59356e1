"""What a run with several workers has left to do: whole images, and the pieces of those that are cut."""

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
"""Which of these images so many workers shall share, and how they are cut."""


def split_none(images: list[ImageInfo], workers: int) -> Mapping[str, BlockPlan]:
    """No image is cut."""
    del images, workers
    return {}


@dataclass
class _SplitImage:
    """An image in pieces: the stages that are left, and how many pieces of the first of them are not done."""

    cutting: BlockPlan
    stages: list[BlockStage]
    open: int = 0
    seconds: float = 0.0


class TaskQueue:
    """Tasks that are due, in the order in which they should be begun.

    Images that are cut come first: others fill the time in which one piece waits for another. Each image ends once.
    """

    def __init__(self, images: Iterable[ImageInfo], manifest: Manifest, cut: ImageSplitter, workers: int) -> None:
        images = list(images)
        self._manifest = manifest
        self._cut = {key: _SplitImage(cutting, list(cutting.stages)) for key, cutting in cut(images, workers).items()}
        self._due: deque[Task] = deque(image for image in images if image.key not in self._cut)
        self._running: set[str] = set()
        for one in reversed(self._cut.values()):
            self._begin(one)

    def __len__(self) -> int:
        return len(self._due)

    @property
    def first(self) -> Task | None:
        """The next task."""
        return self._due[0] if self._due else None

    def take(self) -> Task:
        """The next task, which is in somebody's hands from now on; its image is marked as running."""
        task = self._due.popleft()
        key = get_task_image(task).key
        if key not in self._running:
            self._manifest.mark(key, "running")
            self._running.add(key)
        return task

    def give_back(self, task: Task, *, last: bool = False) -> None:
        """A task that was begun is due again, as the next one or as the ``last``."""
        key = get_task_image(task).key
        if isinstance(task, BlockTask) and key not in self._cut:
            return  # its image has failed meanwhile
        if not isinstance(task, BlockTask):
            self._running.discard(key)
            self._manifest.mark(key, "due")
        self._due.append(task) if last else self._due.appendleft(task)

    def end(self, task: Task, ended: TaskResult) -> list[TaskResult]:
        """A task has ended, well or not; returns the image's end, where this was the last of it."""
        if not isinstance(task, BlockTask):
            return [ended]
        cut = self._cut.get(task.image.key)
        if cut is None or (ended.outcome.state == "done" and task.stage != cut.stages[0]):
            return []  # the image has failed meanwhile; somebody else was faster with this piece
        cut.seconds += ended.outcome.seconds
        if ended.outcome.state == "done":
            cut.open -= 1
            if cut.open:
                return []
            cut.stages.pop(0)
            if cut.stages:
                self._begin(cut)
                return []
        del self._cut[task.image.key]
        self._due = deque(other for other in self._due if get_task_image(other).key != task.image.key)
        return [replace(ended, outcome=replace(ended.outcome, seconds=cut.seconds))]

    def leave(self) -> None:
        """The run ends early: images that were begun are due again; the pieces of them that are done stay."""
        for key in self._cut:
            if key in self._running:
                self._manifest.mark(key, "due")

    def _begin(self, cut: _SplitImage) -> None:
        """Put the pieces of the first stage that has some left in front."""
        while not (left := cut.cutting.left(cut.stages[0])):
            cut.stages.pop(0)
        cut.open = len(left)
        self._due.extendleft(reversed(left))
