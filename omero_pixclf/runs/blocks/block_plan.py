"""Divide an image into tasks for several workers, and list those that are not done.

::

    maps     each block: read with what the filters look at around it, predict
    labels   each block: objects by themselves, as far as they lie in it        (find: all, by one worker, where a
    join     all blocks: what is one object across their seams                   recipe splits objects or fills holes)
    objects  each block: measure and outline the objects that begin in it
    store    the image: put together, and stored by one worker

A stage begins when the one before is done. Each task leaves a file of its own in the run's folder, written whole or
not at all; that file says that it is done. A worker that is lost costs its piece, and `--resume` goes on with those
that are missing.
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

__all__ = ["BlockPlan", "find_images_worth_splitting", "image_grid", "select_images_to_split", "split_images"]

MAX_IMBALANCE = 0.1  # the part of a worker's share of a run that may be lost at its end before images are cut


@dataclass(frozen=True)
class BlockPlan:
    """An image that is worked on in pieces.

    Attributes
    ----------
    home
        The image's own folder for pieces, in the run's.
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
        """Where the pieces of these very pixels lie, cut in this very way."""
        facts = repr((self.image.fingerprint, self.image.shape, self.image.dtype, self.grid, self.project.sha256))
        return self.home / hashlib.sha256(facts.encode()).hexdigest()[:12]

    @property
    def classes(self) -> dict[str, int]:
        """The classes that are looked for, and their indices."""
        return class_indices(self.recipe, self.project)

    @property
    def stages(self) -> tuple[BlockStage, ...]:
        """What is to be done, in this order."""
        objects = self.recipe.objects
        if objects.fill_holes or objects.split != "none":
            return ("maps", "find", "objects", "store")
        return ("maps", "labels", "join", "objects", "store")

    def tasks(self, stage: BlockStage) -> list[BlockTask]:
        """All pieces of a stage."""
        count = len(self.grid) if stage in ("maps", "labels", "objects") else 1
        return [BlockTask(self.image, stage, n) for n in range(count)]

    def pending_tasks(self, stage: BlockStage) -> list[BlockTask]:
        """Those that are not done yet."""
        return [task for task in self.tasks(stage) if stage == "store" or not self.result_path(task).exists()]

    def result_path(self, task: BlockTask) -> Path:
        """The file that says that a task is done."""
        if task.stage == "maps":
            return self.probabilities.path(task.number)
        return self.folder / f"{'join' if task.stage == 'find' else task.stage}-{task.number}.npz"

    @cached_property
    def pixels(self) -> BlockArray:
        """The image as read."""
        return BlockArray(self.folder, "pixels", self.grid, self.image.dtype, channels=self.image.shape[4])

    @cached_property
    def probabilities(self) -> BlockArray:
        """Of all classes of the project."""
        return BlockArray(self.folder, "probabilities", self.grid, np.float32, channels=len(self.project.classes))

    def labels(self, name: str) -> BlockArray:
        """The objects of a class; after ``labels`` each block is numbered by itself, after ``find`` all are."""
        return BlockArray(self.folder, f"labels-of-{self.classes[name]}", self.grid, np.int32)

    def measurement_parameters(self, name: str) -> MeasurementParameters:
        """What measuring has to know of a class."""
        from omero_pixclf.runs.analysis import (
            measurement_parameters,  # only who works on pieces needs the slow imports behind it
        )

        return measurement_parameters(self.image, self.recipe, name, self.classes[name])


def image_grid(image: ImageInfo, project: Project) -> BlockGrid:
    """How an image is cut, where it is."""
    return choose_grid(image.shape[:4], deep=prediction_halo(project, image.shape[1])[0] > 0)


def select_images_to_split(
    images: Sequence[ImageInfo], workers: int, project: Project, memory: int | None
) -> list[ImageInfo]:
    """The images that workers share: those worth it, and those that do not fit into a worker's memory."""
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
    """How the images are cut that several workers shall share."""
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
    """When the last worker is done, in pixels: all share what is cut; then whoever is free takes the next image."""
    ends = [sum(size for key, size in sizes.items() if key in cut) / workers] * workers
    for key, size in sizes.items():
        if key not in cut:
            heapreplace(ends, ends[0] + size)
    return max(ends)
