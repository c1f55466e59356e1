"""The features of pixels, in ilastik's order and with ilastik's numbers."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from omero_pixclf.ilastik.project import Project
from omero_pixclf.ilastik.selection import FeatureSelection
from omero_pixclf.pixels.box import Box, Shape3, Span
from omero_pixclf.pixels.filters import filter_scale, reach

__all__ = ["compute", "features", "halo"]

_Floats = NDArray[np.float32]


def halo(selection: FeatureSelection, depth: int) -> Shape3:
    """How many pixels around a region its features depend on, along ``(z, y, x)``."""
    deep = plane = 0
    for cell in selection.cells(depth):
        far = reach(cell.scale, [cell.feature])
        plane = max(plane, far)
        deep = deep if cell.flat else max(deep, far)
    return (deep, plane, plane)


def compute(
    selection: FeatureSelection,
    pixels: NDArray[Any],
    span: Span,
    image: Shape3,
    target: Span,
    out: _Floats | None = None,
) -> _Floats:
    """Features of a range of one time point.

    Parameters
    ----------
    selection
        Which features.
    pixels
        ``(z, y, x, c)`` of any number type: the image on ``span``, which reaches `halo` around the target, or to the
        image's edges.
    span, image, target
        Where the pixels lie, the image's extents, and where to compute.
    out
        Takes the result where given.

    Returns
    -------
    float32 ``(features, z, y, x)`` on the target. Values do not depend on how an image is cut into targets.
    """
    depth, channels = image[0], pixels.shape[3]
    cells = list(selection.cells(depth))
    width = selection.width(depth) * channels
    rows = np.empty((width, *target.shape), np.float32) if out is None else out
    begins = np.cumsum([0, *(cell.components * channels for cell in cells)]).tolist()
    for scale in sorted({cell.scale for cell in cells}):
        own = [(cell, begin) for cell, begin in zip(cells, begins, strict=False) if cell.scale == scale]
        flat = own[0][0].flat
        far = max(reach(scale, [cell.feature]) for cell, _ in own)
        near = target.grown((0 if flat else far, far, far), image)
        for c in range(channels):
            source = pixels[near.within(span)][..., c].astype(np.float32, order="C", copy=True)
            homes = {
                cell.feature: [rows[begin + c * cell.components + k] for k in range(cell.components)]
                for cell, begin in own
            }
            filter_scale(Box(source, near), image, target, scale=scale, flat=flat, rows=homes)
    return rows


def features(project: Project | FeatureSelection, image: NDArray[Any]) -> _Floats:
    """The features of a whole image in memory.

    Parameters
    ----------
    project
        A project (its first stage), or a selection of features.
    image
        ``(t, z, y, x, c)`` of any number type; taken as it is, without scaling.

    Returns
    -------
    float32 ``(t, z, y, x, features)``: filter by filter, scale by scale, channel by
    channel, eigenvalues greatest first.

    Raises
    ------
    ImageError
        The image is too small for a filter.
    """
    selection = project.stages[0].selection if isinstance(project, Project) else project
    _, z, y, x, _ = image.shape
    selection.check_size("image", z, y, x)
    whole = Span((0, 0, 0), (z, y, x))
    return np.stack([np.moveaxis(compute(selection, frame, whole, (z, y, x), whole), 0, -1) for frame in image])
