"""An image cut into pieces of work that several workers share: which there are, and which are done.

::

    maps     each block: read with what the filters look at around it, predict
    labels   each block: objects by themselves, as far as they lie in it        (find: all, by one worker, where a
    join     all blocks: what is one object across their seams                   recipe splits objects or fills holes)
    objects  each block: measure and outline the objects that begin in it
    store    the image: put together, and stored by one worker

A stage begins when the one before is done. Each piece leaves a file of its own in the run's folder, written whole or
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
from omero_pixclf.pixels.predict import reach
from omero_pixclf.runs.blocks.array import Grid, Tiled, grid_of
from omero_pixclf.runs.execution.task import Piece, Stage
from omero_pixclf.runs.planning.channels import class_indices
from omero_pixclf.runs.planning.resources import needs_blocks
from omero_pixclf.runs.state.image_files import ImageFiles

if TYPE_CHECKING:
    from omero_pixclf.objects.blockwise import Facts

__all__ = ["Cutting", "blocks_of", "in_pieces", "shared", "worth_cutting"]

UNEVEN = 0.1  # the part of a worker's share of a run that may be lost at its end before images are cut


@dataclass(frozen=True)
class Cutting:
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
    def grid(self) -> Grid:
        """The blocks."""
        return blocks_of(self.image, self.project)

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
    def stages(self) -> tuple[Stage, ...]:
        """What is to be done, in this order."""
        objects = self.recipe.objects
        if objects.fill_holes or objects.split != "none":
            return ("maps", "find", "objects", "store")
        return ("maps", "labels", "join", "objects", "store")

    def pieces(self, stage: Stage) -> list[Piece]:
        """All pieces of a stage."""
        count = len(self.grid) if stage in ("maps", "labels", "objects") else 1
        return [Piece(self.image, stage, n) for n in range(count)]

    def left(self, stage: Stage) -> list[Piece]:
        """Those that are not done yet."""
        return [piece for piece in self.pieces(stage) if stage == "store" or not self.mark(piece).exists()]

    def mark(self, piece: Piece) -> Path:
        """The file that says that a piece is done."""
        if piece.stage == "maps":
            return self.probabilities.path(piece.number)
        return self.folder / f"{'join' if piece.stage == 'find' else piece.stage}-{piece.number}.npz"

    @cached_property
    def pixels(self) -> Tiled:
        """The image as read."""
        return Tiled(self.folder, "pixels", self.grid, self.image.dtype, channels=self.image.shape[4])

    @cached_property
    def probabilities(self) -> Tiled:
        """Of all classes of the project."""
        return Tiled(self.folder, "probabilities", self.grid, np.float32, channels=len(self.project.classes))

    def labels(self, name: str) -> Tiled:
        """The objects of a class; after ``labels`` each block is numbered by itself, after ``find`` all are."""
        return Tiled(self.folder, f"labels-of-{self.classes[name]}", self.grid, np.int32)

    def facts(self, name: str) -> Facts:
        """What measuring has to know of a class."""
        from omero_pixclf.runs.analysis import facts_of  # only who works on pieces needs the slow imports behind it

        return facts_of(self.image, self.recipe, name, self.classes[name])


def blocks_of(image: ImageInfo, project: Project) -> Grid:
    """How an image is cut, where it is."""
    return grid_of(image.shape[:4], deep=reach(project, image.shape[1])[0] > 0)


def in_pieces(images: Sequence[ImageInfo], workers: int, project: Project, memory: int | None) -> list[ImageInfo]:
    """The images that workers share: those worth it, and those that do not fit into a worker's memory."""
    wanted = worth_cutting(images, workers)
    chosen = [image for image in images if image.key in wanted or needs_blocks(image, project, memory)]
    return [image for image in chosen if len(blocks_of(image, project)) > 1]


def shared(
    images: Sequence[ImageInfo],
    workers: int,
    *,
    recipe: Recipe,
    project: Project,
    files: ImageFiles,
    memory: int | None,
) -> dict[str, Cutting]:
    """How the images are cut that several workers shall share."""
    chosen = in_pieces(images, workers, project, memory)
    return {image.key: Cutting(image, recipe, project, files.pieces(image.key)) for image in chosen}


def worth_cutting(images: Sequence[ImageInfo], workers: int) -> set[str]:
    """The keys of images that would keep one worker busy while the others have nothing left to do.

    The largest, until the others, taken in turn, end no later than the part `UNEVEN` of a worker's share after it.
    """
    sizes = {image.key: prod(image.shape) for image in images}
    ascending, cut = sorted(sizes, key=lambda key: sizes[key]), set[str]()
    share = sum(sizes.values()) / max(1, workers)
    while workers > 1 and _last_end(sizes, cut, workers) > (1 + UNEVEN) * share:
        cut.add(ascending.pop())
    return cut


def _last_end(sizes: Mapping[str, int], cut: Container[str], workers: int) -> float:
    """When the last worker is done, in pixels: all share what is cut; then whoever is free takes the next image."""
    ends = [sum(size for key, size in sizes.items() if key in cut) / workers] * workers
    for key, size in sizes.items():
        if key not in cut:
            heapreplace(ends, ends[0] + size)
    return max(ends)
