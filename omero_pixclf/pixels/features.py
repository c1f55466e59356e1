"""Features of pixels, in ilastik's order and with ilastik's numbers."""

from __future__ import annotations

import math
import threading

import numpy as np

from omero_pixclf.ilastik.feature_selection import FeatureSelection
from omero_pixclf.ilastik.project import Project
from omero_pixclf.image import Array, Float32Array
from omero_pixclf.pixels.bounding_box import BoundingBox, Shape3
from omero_pixclf.pixels.filters import BoxPixels, add_filters, filter_halo
from omero_pixclf.pixels.kernel_program import BufferPool, KernelProgram

__all__ = ["compute_features", "feature_halo", "features_of_image"]


def feature_halo(selection: FeatureSelection, depth: int) -> Shape3:
    """Return how many pixels around a region its features depend on, along ``(z, y, x)``."""
    deep = plane = 0
    for feature in selection.selected_features(depth):
        far = filter_halo(feature.scale, [feature.name])
        plane = max(plane, far)
        deep = deep if feature.in_2d else max(deep, far)
    return (deep, plane, plane)


def compute_features(
    selection: FeatureSelection,
    pixels: Array,
    bounds: BoundingBox,
    image: Shape3,
    target: BoundingBox,
) -> Float32Array:
    """Compute the features of a box of one time point.

    Parameters
    ----------
    selection
        Which features.
    pixels
        ``(z, y, x, c)`` of any number type: the part ``bounds`` of the image. It must contain the target and
        `feature_halo` around it, up to the borders of the image.
    bounds, image, target
        The box of the pixels, the extents of the image ``(z, y, x)``, and the box to compute.

    Returns
    -------
    float32 ``(features, z, y, x)`` on the target. The array is reused: it is valid until this thread computes the next
    features. Values do not depend on how an image is cut into targets.
    """
    depth, channels = image[0], pixels.shape[3]
    selected = list(selection.selected_features(depth))
    begins = np.cumsum([0, *(feature.components * channels for feature in selected)]).tolist()
    rows = _memory.rows((begins[-1], *target.shape))
    near = target.expand(feature_halo(selection, depth), image)
    for c in range(channels):
        memory, source = _memory.pool.allocate(near.shape)
        np.copyto(source, pixels[near.slices_in(bounds)][..., c], casting="unsafe")
        for scale in sorted({feature.scale for feature in selected}):
            own = [(f, begin) for f, begin in zip(selected, begins, strict=False) if f.scale == scale]
            homes = {f.name: [rows[begin + c * f.components + k] for k in range(f.components)] for f, begin in own}
            program = KernelProgram()
            add_filters(
                BoxPixels(source, near), image, target, scale=scale, in_2d=own[0][0].in_2d, rows=homes, program=program
            )
            program.run(_memory.pool)
        _memory.pool.free.append(memory)
    return rows


class _ThreadMemory(threading.local):
    """A thread's memory, reused from tile to tile: fresh memory pages cost as much time as the filters."""

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        """Release the memory."""
        self.pool = BufferPool()
        self.held = np.empty(0, np.float32)

    def rows(self, shape: tuple[int, ...]) -> Float32Array:
        """Return memory for features ``(features, z, y, x)``.

        Features are one cache line further apart than their size. At distances that are a power of two, the same
        pixels of all features would compete for the same few cache lines.
        """
        size = math.prod(shape[1:])
        apart = -(-size // 16) * 16 + 16
        if self.held.size < shape[0] * apart:
            self.held = np.empty(shape[0] * apart, np.float32)
        return self.held[: shape[0] * apart].reshape(shape[0], apart)[:, :size].reshape(shape)


_memory = _ThreadMemory()


def features_of_image(project: Project | FeatureSelection, image: Array) -> Float32Array:
    """Compute the features of a whole image in memory.

    Parameters
    ----------
    project
        A project (its first stage), or a selection of features.
    image
        ``(t, z, y, x, c)`` of any number type; taken as it is, without scaling.

    Returns
    -------
    float32 ``(t, z, y, x, features)``: filter by filter, scale by scale, channel by channel, largest eigenvalue first.

    Raises
    ------
    ImageError
        The image is too small for a filter.
    """
    selection = project.stages[0].selection if isinstance(project, Project) else project
    _, z, y, x, _ = image.shape
    selection.check_size("image", z, y, x)
    whole = BoundingBox((0, 0, 0), (z, y, x))
    frames = [np.moveaxis(compute_features(selection, frame, whole, (z, y, x), whole), 0, -1).copy() for frame in image]
    _memory.clear()
    return np.stack(frames)
