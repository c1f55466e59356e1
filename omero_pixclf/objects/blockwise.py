"""Segment, measure and outline images larger than memory, with the same results.

Arrays are read and written block by block: memory-mapped numpy arrays, or arrays of zarr or h5py. Memory holds a few
blocks, a few numbers per object, and at the end the table or the outlines of one time point.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from omero_pixclf.image import Array, BoolArray, Int32Array
from omero_pixclf.objects.block_labeling import (
    ReadableArray,
    WritableArray,
    block_index,
    filter_blocks,
    label_block,
    label_blocks,
    split_into_blocks,
)
from omero_pixclf.objects.block_regions import Block, RegionStatistics
from omero_pixclf.objects.label import Connectivity, background_connectivity, resolve_connectivity
from omero_pixclf.objects.measure import CropLocation, PixelSize, measure
from omero_pixclf.objects.outline import MaskShape, Outline, PolygonShape, trace_outlines
from omero_pixclf.objects.segment import SegmentationSettings, foreground, relative_spacing, smoothing_sigma
from omero_pixclf.objects.shape import nearest_distances, pixel_spacing
from omero_pixclf.objects.threshold import smoothing_halo
from omero_pixclf.objects.watershed import SMOOTHING, split_by_distance, split_by_probability
from omero_pixclf.objects.windows import Window, expand_block, object_windows
from omero_pixclf.table import Table, concatenate

__all__ = [
    "MeasurementParameters",
    "combine_tables",
    "label_segmented_block",
    "measure_blocks",
    "measure_window",
    "outline_blocks",
    "outline_window",
    "segment_blocks",
]

_Extents = tuple[int, int, int]


@dataclass(frozen=True)
class _LazyMask:
    """A mask ``(t, z, y, x)`` that is computed when it is read."""

    shape: tuple[int, ...]
    at: Callable[[int, Block], BoolArray]

    def __getitem__(self, place: Any, /) -> Array:
        t, z, y, x = place
        return self.at(t, (z, y, x))


def segment_blocks(
    probabilities: ReadableArray,
    index: int,
    settings: SegmentationSettings,
    *,
    out: WritableArray,
    scratch: Callable[[], WritableArray],
    block: _Extents,
    pixel_size_um: PixelSize = (None, None, None),
) -> tuple[int, ...]:
    """Write into ``out`` what `segment_objects` returns for the same arguments.

    Parameters
    ----------
    probabilities
        ``(t, z, y, x, c)`` float32.
    index, settings, pixel_size_um
        As in `segment_objects`.
    out
        ``(t, z, y, x)`` of int32 or int64.
    scratch
        Makes a new array like ``out``; called once each for hysteresis, for filling holes and for splitting.
    block
        Extents of a block along (z, y, x).

    Returns
    -------
    tuple of int
        Number of objects at each t.
    """
    connectivity = resolve_connectivity(settings.dims, settings.connectivity, probabilities.shape[1])
    mask = _foreground_mask(probabilities, index, settings, connectivity, cores=False)
    if settings.method == "hysteresis":
        held = scratch()
        cores = _foreground_mask(probabilities, index, settings, connectivity, cores=True)
        label_blocks(mask, held, block=block, connectivity=connectivity, holding=cores)
        mask = _LazyMask(held.shape, lambda t, place: np.asarray(held[block_index(t, place)]) > 0)
    if settings.fill_holes:
        mask = _fill_mask(mask, scratch(), block, connectivity)
    faces = (1, 2) if settings.border == "remove" else ()
    if settings.split == "none":
        return label_blocks(
            mask,
            out,
            block=block,
            connectivity=connectivity,
            min_size=settings.min_size,
            max_size=settings.max_size,
            clear_of=faces,
        )
    whole = scratch()
    label_blocks(mask, whole, block=block, connectivity=connectivity)
    _split_windows(whole, probabilities, index, settings, connectivity, out, block, pixel_size_um)
    return filter_blocks(out, block=block, min_size=settings.min_size, max_size=settings.max_size, clear_of=faces)


def label_segmented_block(
    probabilities: ReadableArray, index: int, settings: SegmentationSettings, t: int, place: Block
) -> tuple[Int32Array, RegionStatistics]:
    """Segment one block alone, for settings without filling holes and splitting; return its labels and statistics.

    `omero_pixclf.objects.block_labeling.join_labels` merges the results of blocks.
    """
    connectivity = resolve_connectivity(settings.dims, settings.connectivity, probabilities.shape[1])
    wide, core = _block_foreground(probabilities, index, settings, connectivity, t, place)
    return label_block(wide, place, probabilities.shape[1:4], connectivity, holding=core)


def measure_blocks(
    labels: ReadableArray,
    image: ReadableArray,
    probabilities: ReadableArray | None,
    *,
    block: _Extents,
    parameters: MeasurementParameters,
) -> Table:
    """Return the table that `measure` returns for the same arguments."""
    found = [measure_window(w, image, probabilities, parameters) for w in object_windows(labels, block=block)]
    dtype = np.asarray(image[:1, :1, :1, :1]).dtype
    return combine_tables([parameters.empty_table(image.shape[4], dtype), *found], parameters)


@dataclass(frozen=True)
class MeasurementParameters:
    """Parameters of `measure` for one class of an image, without the arrays; see there."""

    class_name: str
    class_index: int
    dims: Literal[2, 3]
    pixel_size_um: PixelSize
    channels: Sequence[str]

    def measure(self, labels: Array, image: Array, maps: Array | None, *, box: CropLocation | None = None) -> Table:
        """Measure objects with these parameters; see `omero_pixclf.objects.measure.measure`."""
        return measure(
            labels,
            image,
            maps,
            class_name=self.class_name,
            class_index=self.class_index,
            dims=self.dims,
            pixel_size_um=self.pixel_size_um,
            channels=self.channels,
            box=box,
        )

    def empty_table(self, channels: int, dtype: Any) -> Table:
        """Return the table of an image without objects, of so many channels of this type."""
        return self.measure(np.zeros((1, 1, 1, 1), dtype=np.int32), np.zeros((1, 1, 1, 1, channels), dtype), None)


def measure_window(
    window: Window, image: ReadableArray, probabilities: ReadableArray | None, parameters: MeasurementParameters
) -> Table:
    """Measure the objects of a window; one row each."""
    z, y, x = (side.start for side in window.place)
    box = CropLocation(window.t, (z, y, x), (image.shape[1], image.shape[2], image.shape[3]))
    at = block_index(window.t, window.place)
    maps = None if probabilities is None else np.asarray(probabilities[at])[None]
    return parameters.measure(_owned_labels(window)[None], np.asarray(image[at])[None], maps, box=box)


def combine_tables(tables: Sequence[Table], parameters: MeasurementParameters) -> Table:
    """Combine the tables of windows in the order of `measure`, and add the distances to nearest neighbours."""
    table = concatenate(tables)
    table = table.take(np.lexsort((table["Label"], table["T"])))
    spacing, scale = pixel_spacing(
        tuple(float("nan") if s is None else float(s) for s in parameters.pixel_size_um), parameters.dims
    )
    places = np.stack([table[name] for name in ("Centroid_Z", "Centroid_Y_px", "Centroid_X_px")], axis=1)
    distance = np.full(len(table), np.nan)
    for t in np.unique(table["T"]):
        rows = table["T"] == t
        distance[rows] = nearest_distances(places[rows], dims=parameters.dims, spacing=spacing)
    return _replace_column(_replace_column(table, "Neighbor_px", distance), "Neighbor_um", distance * scale)


def outline_blocks(
    labels: ReadableArray,
    *,
    block: _Extents,
    kind: Literal["polygon", "mask"] = "polygon",
    simplify: float = 0.0,
    min_hole: int = 0,
) -> Iterator[Outline]:
    """Yield the outlines that `trace_outlines` yields for the same arguments, in the same order."""
    found: list[Outline] = []
    for window in object_windows(labels, block=block):
        if found and found[0].t != window.t:
            yield from sorted(found, key=lambda outline: outline.label)
            found = []
        found += outline_window(window, kind=kind, simplify=simplify, min_hole=min_hole)
    yield from sorted(found, key=lambda outline: outline.label)


def outline_window(
    window: Window, *, kind: Literal["polygon", "mask"] = "polygon", simplify: float = 0.0, min_hole: int = 0
) -> Iterator[Outline]:
    """Yield the outlines of the objects of a window, in the order of their labels."""
    for outline in trace_outlines(_owned_labels(window)[None], kind=kind, simplify=simplify, min_hole=min_hole):
        yield Outline(outline.label, window.t, tuple(_shift_shape(shape, window) for shape in outline.shapes))


def _foreground_mask(
    probabilities: ReadableArray, index: int, settings: SegmentationSettings, connectivity: Connectivity, *, cores: bool
) -> _LazyMask:
    """Return the foreground, or its cores, as a mask that is computed on demand."""

    def at(t: int, place: Block) -> BoolArray:
        wide, core = _block_foreground(probabilities, index, settings, connectivity, t, place)
        return core if cores and core is not None else wide

    return _LazyMask(probabilities.shape[:4], at)


def _block_foreground(
    probabilities: ReadableArray,
    index: int,
    settings: SegmentationSettings,
    connectivity: Connectivity,
    t: int,
    place: Block,
) -> tuple[BoolArray, BoolArray | None]:
    """Return foreground and cores of a block, computed with the margin that smoothing needs."""
    larger = expand_block(place, smoothing_halo(smoothing_sigma(settings, connectivity)), probabilities.shape[1:4])
    maps = np.asarray(probabilities[block_index(t, larger)])[None]
    wide, core = foreground(maps, index, settings, connectivity=connectivity)
    z, y, x = (slice(a.start - b.start, a.stop - b.start) for a, b in zip(place, larger, strict=True))
    return wide[0, z, y, x], None if core is None else core[0, z, y, x]


def _fill_mask(mask: _LazyMask, holes: WritableArray, block: _Extents, connectivity: Connectivity) -> _LazyMask:
    """Return the mask with its holes filled: background that does not reach a border of its plane or volume."""
    background = _LazyMask(mask.shape, lambda t, place: ~mask.at(t, place))
    faces = (0, 1, 2) if connectivity in (6, 26) else (1, 2)
    label_blocks(background, holes, block=block, connectivity=background_connectivity(connectivity), clear_of=faces)
    return _LazyMask(mask.shape, lambda t, place: mask.at(t, place) | (np.asarray(holes[block_index(t, place)]) > 0))


def _split_windows(
    whole: ReadableArray,
    probabilities: ReadableArray,
    index: int,
    settings: SegmentationSettings,
    connectivity: Connectivity,
    out: WritableArray,
    block: _Extents,
    pixel_size_um: PixelSize,
) -> None:
    """Split the objects of ``whole`` window by window; labels in ``out`` are then unique at each t, in no order."""
    for t in range(out.shape[0]):
        for place in split_into_blocks(out.shape[1:], block):
            out[block_index(t, place)] = np.zeros([side.stop - side.start for side in place], out.dtype)
    margin = max(smoothing_halo((SMOOTHING,) * 3))  # at least 1: the background next to an object
    most: dict[int, int] = {}
    for window in object_windows(whole, block=block, margin=(margin,) * 3):
        labels, at = window.labels[None], block_index(window.t, window.place)
        if settings.split == "distance":
            parts = split_by_distance(labels, connectivity=connectivity, spacing=relative_spacing(pixel_size_um))[0]
        else:
            probability = np.asarray(probabilities[at])[None, ..., index]
            parts = split_by_probability(labels, probability, connectivity=connectivity)[0]
        _, number = np.unique(parts[window.owned], return_inverse=True)
        before = most.get(window.t, 0)
        most[window.t] = before + int(number.max()) + 1
        there = np.asarray(out[at])
        there[window.owned] = number.reshape(-1) + before + 1
        out[at] = there


def _owned_labels(window: Window) -> Array:
    return np.where(window.owned, window.labels, 0)


def _shift_shape(shape: PolygonShape | MaskShape, window: Window) -> PolygonShape | MaskShape:
    z, y, x = (side.start for side in window.place)
    if isinstance(shape, MaskShape):
        return MaskShape(window.t, shape.z + z, shape.x + x, shape.y + y, shape.bits)
    holes = tuple(hole + (x, y) for hole in shape.holes)
    return PolygonShape(window.t, shape.z + z, shape.points + (x, y), holes)


def _replace_column(table: Table, name: str, values: Array) -> Table:
    column = next(c for c in table.columns if c.name == name)
    return table.with_column(replace(column, values=values))
