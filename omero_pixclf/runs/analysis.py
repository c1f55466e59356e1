"""Analyse an open image: probabilities, labels, measurements. Stores nothing.

An image whose arrays fit into the memory limit is processed whole, by this module. Larger images, and images that
several workers share, are processed in blocks (`omero_pixclf.runs.blocks.block_plan`), with the same results.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from omero_pixclf.config import ObjectSettings, Recipe
from omero_pixclf.ilastik.project import Project
from omero_pixclf.image import ArrayReader, ChannelReader, ImageInfo, PixelArray, PixelReader, split_into_bands
from omero_pixclf.objects.block_labeling import ReadableArray
from omero_pixclf.objects.blockwise import MeasurementParameters
from omero_pixclf.objects.segment import SegmentationSettings, object_dimensions, segment_objects
from omero_pixclf.objects.summary import ImageSummary, summarize_image
from omero_pixclf.pixels.predict import predict_blocks
from omero_pixclf.runs.planning.channels import class_indices, match_channels
from omero_pixclf.table import Table

__all__ = [
    "ImageAnalysis",
    "analyze_image",
    "analyze_pixels",
    "measurement_parameters",
    "read_pixels",
    "segmentation_settings",
    "select_project_channels",
]


@dataclass(frozen=True)
class ImageAnalysis:
    """The objects and numbers of one image, before anything is stored.

    Attributes
    ----------
    pixels, probabilities
        ``(t, z, y, x, c)``: the image as read, and float32 with one channel per class of the project.
    labels
        ``(t, z, y, x)`` int32 for each class whose objects are segmented.
    objects
        One measurement table for each of these classes.
    """

    image: ImageInfo
    pixels: PixelArray
    probabilities: PixelArray
    labels: Mapping[str, ReadableArray]
    objects: Mapping[str, Table]
    summary: ImageSummary


def analyze_image(
    reader: PixelReader, recipe: Recipe, project: Project, *, threads: int | None = None, memory: int | None = None
) -> ImageAnalysis:
    """Read an image, predict, segment and measure it."""
    pixels = read_pixels(reader)
    return analyze_pixels(reader.info, pixels, recipe, project, threads=threads, memory=memory)


def read_pixels(reader: PixelReader) -> NDArray[Any]:
    """Read all pixels of an image, ``(t, z, y, x, c)``."""
    image = reader.info
    regions = list(split_into_bands(image.shape, np.dtype(image.dtype).itemsize))
    if len(regions) == 1:
        return reader.read(regions[0])
    pixels = np.empty(image.shape, image.dtype)
    for region in regions:
        pixels[region.slices] = reader.read(region)
    return pixels


def analyze_pixels(
    image: ImageInfo,
    pixels: NDArray[Any],
    recipe: Recipe,
    project: Project,
    *,
    threads: int | None = None,
    memory: int | None = None,
) -> ImageAnalysis:
    """Predict, segment and measure pixels that `read_pixels` has read."""
    chosen = select_project_channels(ArrayReader(image, pixels), recipe, project)
    probabilities = np.empty((*image.shape[:4], len(project.classes)), np.float32)
    deque(predict_blocks(project, chosen, memory=memory, threads=threads, out=probabilities), 0)
    labels, tables = {}, {}
    settings = segmentation_settings(recipe.objects)
    for name, index in class_indices(recipe, project).items():
        labels[name] = segment_objects(probabilities, index, settings, pixel_size_um=image.pixel_size_um)
        tables[name] = measurement_parameters(image, recipe, name, index).measure(labels[name], pixels, probabilities)
    return ImageAnalysis(image, pixels, probabilities, labels, tables, summarize_image(pixels, probabilities, labels))


def select_project_channels(reader: PixelReader, recipe: Recipe, project: Project) -> PixelReader:
    """Return an image with the channels of the project, in its order."""
    channels = match_channels(recipe, project, reader.info)
    return reader if channels == tuple(range(reader.info.shape[4])) else ChannelReader(reader, channels)


def segmentation_settings(objects: ObjectSettings) -> SegmentationSettings:
    """Convert a recipe's ``[objects]`` to what `segment_objects` takes; which class it names is a separate argument."""
    return SegmentationSettings(**objects.model_dump(exclude={"label"}))


def measurement_parameters(image: ImageInfo, recipe: Recipe, name: str, index: int) -> MeasurementParameters:
    """Return the parameters for measuring one class of an image."""
    dims = object_dimensions(segmentation_settings(recipe.objects), image.shape[1])
    return MeasurementParameters(name, index, dims, image.pixel_size_um, image.channels)
