"""From an open image to what is in it: maps, labels, measurements. Nothing is stored here.

An image whose arrays fit into the memory allowed is worked on whole; a larger one block by block over arrays in files,
with the same results.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import prod
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from omero_pixclf.config import Recipe
from omero_pixclf.ilastik.project import Project
from omero_pixclf.image import ArrayReader, ChannelReader, ImageInfo, PixelReader, Region, Shape5
from omero_pixclf.objects.find import dimensions, find
from omero_pixclf.objects.label import Labels
from omero_pixclf.objects.large import find_blocks, measure_blocks, outline_blocks
from omero_pixclf.objects.measure import measure
from omero_pixclf.objects.outline import Outline, outlines
from omero_pixclf.objects.summary import ImageSummary, summarise
from omero_pixclf.pixels.predict import predict_blocks
from omero_pixclf.runs.channels import applied_channels, class_indices
from omero_pixclf.runs.scratch import Make
from omero_pixclf.table import Table

__all__ = ["DEFAULT_MEMORY", "Found", "array_bytes", "find_in", "find_in_pixels", "needs_blocks", "read_pixels"]

DEFAULT_MEMORY = 4 * 2**30
"""Bytes that one image's arrays may take where nothing else is said."""

BLOCK = (32, 1024, 1024)  # z, y, x of what is worked on at a time in a large image
BAND = 2**26  # bytes of a large image that are read at a time


@dataclass(frozen=True)
class Found:
    """What was found in one image, before anything is stored.

    Attributes
    ----------
    pixels, probabilities
        ``(t, z, y, x, c)``: the image as read, and float32 with one channel per class of the project.
    labels
        ``(t, z, y, x)`` int32 for each class that is looked for.
    objects
        One measurement table for each of these classes, rows in the order of `outlines`.
    large
        Whether the arrays lie in files, to be read block by block.
    """

    image: ImageInfo
    pixels: NDArray[Any]
    probabilities: NDArray[Any]
    labels: Mapping[str, Labels]
    objects: Mapping[str, Table]
    summary: ImageSummary
    large: bool = False

    def outlines(self, name: str, *, kind: Literal["polygon", "mask"], simplify: float) -> Iterator[Outline]:
        """The outlines of one class, in the order of its table's rows."""
        if self.large:
            return outline_blocks(self.labels[name], block=BLOCK, kind=kind, simplify=simplify)
        return outlines(self.labels[name], kind=kind, simplify=simplify)


def array_bytes(image: ImageInfo, project: Project) -> int:
    """What an image's pixels, probabilities, labels and masks take together."""
    per_pixel = image.shape[4] * np.dtype(image.dtype).itemsize + 4 * len(project.classes) + 16  # 16: labels, masks
    return prod(image.shape[:4]) * per_pixel


def needs_blocks(image: ImageInfo, project: Project, memory: int | None) -> bool:
    """Whether an image's arrays would not fit into the memory allowed."""
    return array_bytes(image, project) > (memory or DEFAULT_MEMORY)


def find_in(
    reader: PixelReader,
    recipe: Recipe,
    project: Project,
    make: Make,
    *,
    large: bool = False,
    threads: int | None = None,
    memory: int | None = None,
) -> Found:
    """Read, predict, find and measure; ``make`` makes the arrays, in files where ``large``."""
    pixels = read_pixels(reader, make)
    limits: dict[str, Any] = {"large": large, "threads": threads, "memory": memory}
    return find_in_pixels(reader.info, pixels, recipe, project, make, **limits)


def read_pixels(reader: PixelReader, make: Make) -> NDArray[Any]:
    """All pixels of an image, ``(t, z, y, x, c)``."""
    image = reader.info
    pixels = make(image.shape, image.dtype)
    for region in _bands(image.shape, np.dtype(image.dtype).itemsize):
        pixels[region.slices] = reader.read(region)
    return pixels


def find_in_pixels(
    image: ImageInfo,
    pixels: NDArray[Any],
    recipe: Recipe,
    project: Project,
    make: Make,
    *,
    large: bool = False,
    threads: int | None = None,
    memory: int | None = None,
) -> Found:
    """Predict, find and measure in pixels that `read_pixels` has read."""
    chosen: PixelReader = ArrayReader(image, pixels)
    channels = applied_channels(recipe, project, image)
    if channels != tuple(range(image.shape[4])):
        chosen = ChannelReader(chosen, channels)
    probabilities = make((*image.shape[:4], len(project.classes)), np.float32)
    for region, block in predict_blocks(project, chosen, memory=memory, threads=threads):
        probabilities[region.slices[:4]] = block
    labels, tables = {}, {}
    for name, index in class_indices(recipe, project).items():
        labels[name] = _labels(probabilities, index, recipe, image, make, large)
        tables[name] = _measured(labels[name], pixels, probabilities, name, index, recipe, image, large)
    return Found(image, pixels, probabilities, labels, tables, summarise(pixels, probabilities, labels), large)


def _bands(shape: Shape5, itemsize: int) -> Iterator[Region]:
    """Boxes that tile an image, each of some rows of some planes, or whole where it is small."""
    t, z, y, x, c = shape
    if prod(shape) * itemsize <= BAND:
        yield Region.whole(shape)
        return
    rows = max(1, min(y, BAND // max(1, x * c * itemsize)))
    for n in range(t):
        for plane in range(z):
            for row in range(0, y, rows):
                yield Region((n, plane, row, 0, 0), (n + 1, plane + 1, min(row + rows, y), x, c))


def _labels(
    probabilities: NDArray[Any], index: int, recipe: Recipe, image: ImageInfo, make: Make, large: bool
) -> Labels:
    size = image.pixel_size_um
    if not large:
        return find(probabilities, index, recipe.objects, pixel_size_um=size)

    def empty() -> NDArray[Any]:
        return make(image.shape[:4], np.int32)

    labels = empty()
    find_blocks(probabilities, index, recipe.objects, out=labels, scratch=empty, block=BLOCK, pixel_size_um=size)
    return labels


def _measured(
    labels: Labels,
    pixels: NDArray[Any],
    probabilities: NDArray[Any],
    name: str,
    index: int,
    recipe: Recipe,
    image: ImageInfo,
    large: bool,
) -> Table:
    facts: dict[str, Any] = {
        "class_name": name,
        "class_index": index,
        "dims": dimensions(recipe.objects, image.shape[1]),
        "pixel_size_um": image.pixel_size_um,
        "channels": image.channels,
    }
    if large:
        return measure_blocks(labels, pixels, probabilities, block=BLOCK, **facts)
    return measure(labels, pixels, probabilities, **facts)
