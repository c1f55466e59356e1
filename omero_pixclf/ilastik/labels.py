"""Read the brush strokes of a project: the labelled pixels of each class."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from omero_pixclf.ilastik.lanes import Lane, parse_axistags, parse_lane, raw_data_groups
from omero_pixclf.ilastik.safe_hdf5.file import Hdf5Group, open_hdf5, read_numbers
from omero_pixclf.image import AXES, Int64Array, UInt8Array

__all__ = ["BrushStrokes", "draw_strokes", "read_labels"]

_SLICE = re.compile(r"\[?(\d{1,9}):(\d{1,9})\]?")


@dataclass(frozen=True, eq=False)
class BrushStrokes:
    """The labelled pixels of one training image.

    Attributes
    ----------
    lane
        The image's axes and shape, as far as the project tells.
    positions
        int64 ``(n, 4)``: t, z, y, x of every labelled pixel, in the order of the pixels; 0 along axes the image lacks.
    classes
        uint8 ``(n,)``: their 1-based classes.
    """

    lane: Lane
    positions: Int64Array
    classes: UInt8Array


def read_labels(source: Path | str | bytes, *, stage: int = 1, name: str | None = None) -> tuple[BrushStrokes, ...]:
    """Read the strokes of every training image of a project.

    Parameters
    ----------
    source, name
        As in `read_project`.
    stage
        1, or 2 for the second stage of Autocontext.

    Raises
    ------
    ProjectError
        The strokes are broken, or stored in an axis order that is not established.
    """
    with open_hdf5(source, name) as (root, _):
        home = root.group("PixelClassification" if stage == 1 else "PixelClassification01")
        if not home.has("LabelSets"):
            return ()
        sets = home.group("LabelSets")
        known = [parse_lane(raw) if raw.names() else Lane("", None) for _, raw in raw_data_groups(root)]
        names = sets.names()
        known += [Lane("", None)] * (len(names) - len(known))
        return tuple(_read_strokes(sets.group(own), lane) for own, lane in zip(names, known, strict=False))


def draw_strokes(strokes: BrushStrokes, shape: tuple[int, int, int, int]) -> UInt8Array:
    """Strokes as an image: uint8 ``(t, z, y, x, 1)``, 0 where nothing was labelled.

    ``shape`` is the training image's extent along t, z, y, x; strokes outside of it raise an `IndexError`.
    """
    image = np.zeros(shape, np.uint8)
    image[tuple(strokes.positions.T)] = strokes.classes
    return image[..., None]


def _read_strokes(blocks: Hdf5Group, lane: Lane) -> BrushStrokes:
    positions, classes = [np.empty((0, 4), np.int64)], [np.empty(0, np.uint8)]
    for name in blocks.names():
        found, start, axes = _read_block(blocks, name, lane)
        places = np.argwhere(found)
        classes.append(found[tuple(places.T)].astype(np.uint8))
        own = np.zeros((len(places), 4), np.int64)
        for column, axis in enumerate(AXES[:4]):
            if axis in axes:
                own[:, column] = places[:, axes.index(axis)] + start[axes.index(axis)]
        positions.append(own)
    where, which = np.concatenate(positions), np.concatenate(classes)
    order = np.lexsort(where.T[::-1])
    return BrushStrokes(lane, where[order], which[order])


def _read_block(blocks: Hdf5Group, name: str, lane: Lane) -> tuple[UInt8Array, list[int], str]:
    """One block of strokes: its values, where it begins, and its axes."""
    found = read_numbers(blocks, name, "u")
    tags, span = blocks.attribute("axistags", name), blocks.attribute("blockSlice", name)
    axes = parse_axistags(_decode_string(tags)) if tags is not None else lane.axes + ("" if "c" in lane.axes else "c")
    if not axes or len(axes) != found.ndim:
        raise blocks.error(
            name, f"has strokes of {found.ndim} axes in an order that is not established; save the project again"
        )
    ranges = [(int(a), int(b)) for a, b in _SLICE.findall(_decode_string(span) if span is not None else "")]
    if [b - a for a, b in ranges] != list(found.shape):
        raise blocks.error(name, f"has strokes of shape {found.shape} at {ranges!r:.80}")
    return found, [a for a, _ in ranges], axes


def _decode_string(value: NDArray[np.generic]) -> str:
    item = value.item() if value.size == 1 else b""
    return item.decode("utf-8", "replace") if isinstance(item, bytes) else str(item)
