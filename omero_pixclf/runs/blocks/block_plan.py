"""Divide an image into tasks for several workers, and list those that are not done.

::

    maps     each block: read it with the surrounding that filters need, predict
    labels   each block: the objects within it                              (find: all blocks, by one worker, if a
    join     all blocks: merge objects across seams                          recipe splits objects or fills holes)
    objects  each block: measure and outline the objects that begin in it
    store    the image: merged, and stored by one worker

A stage starts when the one before is done. Each task leaves a file of its own in the run's folder, written completely
or not at all; the file shows that the task is done. A worker that is lost costs its task, and `--resume` continues
with the missing ones.
"""

from __future__ import annotations

import hashlib
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from heapq import heapreplace
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from omero_pixclf.config import Recipe
from omero_pixclf.ilastik.project import Project
from omero_pixclf.image import ImageInfo
from omero_pixclf.pixels.predict import prediction_halo
from omero_pixclf.runs.blocks.array import BlockArray, BlockGrid, choose_grid
from omero_pixclf.runs.execution.task import BlockStage, BlockTask
from omero_pixclf.runs.planning.channels import class_indices
from omero_pixclf.runs.planning.resources import needs_blocks
from omero_pixclf.runs.state.image_files import ImageFiles

if TYPE_CHECKING:
    from omero_pixclf.objects.blockwise import MeasurementParameters

__all__ = [
    "MAX_IMBALANCE",
    "BlockPlan",
    "find_images_worth_splitting",
    "image_grid",
    "select_images_to_split",
    "split_images",
]

MAX_IMBALANCE = 0.1  # the part of a worker's share of a run that may be lost at its end before images are cut


@dataclass(frozen=True)
class BlockPlan:
    """An image that is processed in blocks.

    Attributes
    ----------
    home
        The image's own folder for blocks, in the run's.
    """

    image: ImageInfo
    recipe: Recipe
    project: Project
    home: Path

    @cached_property
    def grid(self) -> BlockGrid:
        """The blocks."""
        return image_grid(self.image, self.project)

    @cached_property
    def folder(self) -> Path:
        """The folder for blocks of exactly these pixels, divided in exactly this way."""
        facts = repr((self.image.fingerprint, self.image.shape, self.image.dtype, self.grid, self.project.sha256))
        return self.home / hashlib.sha256(facts.encode()).hexdigest()[:12]

    @property
    def classes(self) -> dict[str, int]:
        """The classes whose objects are segmented, and their indices."""
        return class_indices(self.recipe, self.project)

    @property
    def stages(self) -> tuple[BlockStage, ...]:
        """The stages, in order."""
        objects = self.recipe.objects
        if objects.fill_holes or objects.split != "none":
            return ("maps", "find", "objects", "store")
        return ("maps", "labels", "join", "objects", "store")

    def tasks(self, stage: BlockStage) -> list[BlockTask]:
        """Return all tasks of a stage."""
        count = len(self.grid) if stage in ("maps", "labels", "objects") else 1
        return [BlockTask(self.image, stage, n) for n in range(count)]

    def pending_tasks(self, stage: BlockStage) -> list[BlockTask]:
        """Return the tasks of a stage that are not done."""
        return [task for task in self.tasks(stage) if stage == "store" or not self.result_path(task).exists()]

    def result_path(self, task: BlockTask) -> Path:
        """Return the file that shows that a task is done."""
        if task.stage == "maps":
            return self.probabilities.path(task.number)
        return self.folder / f"{'join' if task.stage == 'find' else task.stage}-{task.number}.npz"

    @cached_property
    def pixels(self) -> BlockArray:
        """The image as read."""
        return BlockArray(self.folder, "pixels", self.grid, self.image.dtype, channels=self.image.shape[4])

    @cached_property
    def probabilities(self) -> BlockArray:
        """The probabilities of all classes of the project."""
        return BlockArray(self.folder, "probabilities", self.grid, np.float32, channels=len(self.project.classes))

    def labels(self, name: str) -> BlockArray:
        """Return the label image of a class: numbers of each block after ``labels``, global ones after ``find``."""
        return BlockArray(self.folder, f"labels-of-{self.classes[name]}", self.grid, np.int32)

    def measurement_parameters(self, name: str) -> MeasurementParameters:
        """Return the parameters for measuring a class."""
        from omero_pixclf.runs.analysis import (
            measurement_parameters,  # only who works on pieces needs the slow imports behind it
        )

        return measurement_parameters(self.image, self.recipe, name, self.classes[name])


def image_grid(image: ImageInfo, project: Project) -> BlockGrid:
    """Return how an image is divided if it is processed in blocks."""
    return choose_grid(image.shape[:4], deep=prediction_halo(project, image.shape[1])[0] > 0)


def select_images_to_split(
    images: Sequence[ImageInfo], workers: int, project: Project, memory: int | None
) -> list[ImageInfo]:
    """Return the images that workers share: those worth it, and those that do not fit into a worker's memory."""
    wanted = find_images_worth_splitting(images, workers)
    chosen = [image for image in images if image.key in wanted or needs_blocks(image, project, memory)]
    return [image for image in chosen if len(image_grid(image, project)) > 1]


def split_images(
    images: Sequence[ImageInfo],
    workers: int,
    *,
    recipe: Recipe,
    project: Project,
    files: ImageFiles,
    memory: int | None,
) -> dict[str, BlockPlan]:
    """Return the block plans of the images that several workers share, by the images' keys."""
    chosen = select_images_to_split(images, workers, project, memory)
    return {image.key: BlockPlan(image, recipe, project, files.blocks_folder(image.key)) for image in chosen}


def find_images_worth_splitting(images: Sequence[ImageInfo], workers: int) -> set[str]:
    """Keys of the images that would keep one worker busy while the other workers are idle.

    The largest images are taken until the last worker finishes at most `MAX_IMBALANCE` of a worker's share later than
    with an even distribution.
    """
    sizes = {image.key: prod(image.shape) for image in images}
    ascending, cut = sorted(sizes, key=lambda key: sizes[key]), set[str]()
    share = sum(sizes.values()) / max(1, workers)
    while workers > 1 and _finish_time(sizes, cut, workers) > (1 + MAX_IMBALANCE) * share:
        cut.add(ascending.pop())
    return cut


def _finish_time(sizes: Mapping[str, int], cut: Container[str], workers: int) -> float:
    """Return when the last worker is done, in pixels: all share split images, then a free one takes the next."""
    ends = [sum(size for key, size in sizes.items() if key in cut) / workers] * workers
    for key, size in sizes.items():
        if key not in cut:
            heapreplace(ends, ends[0] + size)
    return max(ends)
