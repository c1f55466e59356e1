"""A worker's task: a whole image, or one block of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from omero_pixclf.image import ImageInfo

__all__ = ["BlockStage", "BlockTask", "Task", "get_task_image"]

BlockStage = Literal["maps", "labels", "join", "find", "objects", "store"]


@dataclass(frozen=True)
class BlockTask:
    """One stage of one block of an image."""

    image: ImageInfo
    stage: BlockStage
    number: int

    @property
    def key(self) -> str:
        """The task's name, unique in a run: ``Image:51 maps 3``."""
        return f"{self.image.key} {self.stage} {self.number}"


Task = ImageInfo | BlockTask
"""What a worker is given: a whole image, or a piece of one."""


def get_task_image(task: Task) -> ImageInfo:
    """Return the image of a task."""
    return task.image if isinstance(task, BlockTask) else task
