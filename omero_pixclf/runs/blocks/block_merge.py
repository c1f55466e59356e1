"""Merge the objects of an image's blocks across their borders."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from omero_pixclf.errors import OutputError
from omero_pixclf.image import Int64Array
from omero_pixclf.objects.block_labeling import ReadableArray, collect_statistics, find_touching_labels, join_labels
from omero_pixclf.objects.block_regions import RegionFilter, RegionStatistics, take_regions
from omero_pixclf.objects.label import Connectivity, resolve_connectivity
from omero_pixclf.runs.blocks.array import BlockArray, BlockGrid, RelabeledArray, write_atomically
from omero_pixclf.runs.blocks.block_plan import BlockPlan
from omero_pixclf.runs.blocks.serialize import Arrays, RegionsOverTime, regions_from_arrays, regions_to_arrays
from omero_pixclf.runs.execution.task import BlockTask
from omero_pixclf.runs.state.image_files import NPZ_ERRORS

__all__ = ["MergedObjects", "count_objects", "load_arrays", "load_merged_objects", "merge_objects", "save_arrays"]


@dataclass(frozen=True)
class MergedObjects:
    """The objects of a class in an image.

    Attributes
    ----------
    labels
        Their label image.
    cell
        (n,) the block that contains each object's first pixel, ascending.
    roll
        The statistics of the objects, in that order.
    """

    labels: ReadableArray
    cell: Int64Array
    roll: RegionsOverTime

    def __len__(self) -> int:
        return len(self.cell)

    def beginning_in(self, number: int) -> list[tuple[int, RegionStatistics]]:
        """Return the objects that begin in a block, for each t that has some."""
        first, last = np.searchsorted(self.cell, [number, number + 1])
        times, objects = self.roll.t[first:last], take_regions(self.roll.objects, np.arange(first, last))
        return [(int(t), take_regions(objects, times == t)) for t in np.unique(times)]


def save_arrays(path: Path, arrays: Mapping[str, Any]) -> None:
    """Save arrays to a file, completely or not at all."""
    write_atomically(path, lambda out: np.savez(out, **arrays))


def load_arrays(path: Path) -> dict[str, NDArray[Any]]:
    """Load the arrays that `save_arrays` has saved.

    Raises
    ------
    OutputError
        The file is missing or damaged.
    """
    try:
        with np.load(path, allow_pickle=False) as arrays:
            return dict(arrays)
    except NPZ_ERRORS as error:
        raise OutputError(f"{path}: cannot be read: {error}; start a new run") from error


def merge_objects(plan: BlockPlan) -> Arrays:
    """Return the objects of all classes, merged from what ``labels`` has found in each block."""
    files = [load_arrays(plan.result_path(BlockTask(plan.image, "labels", n))) for n in range(len(plan.grid))]
    arrays: Arrays = {}
    for name, index in plan.classes.items():
        rolls = [regions_from_arrays(saved, f"{index}.") for saved in files]
        arrays |= _merge_class(plan, plan.labels(name), rolls, f"{index}.")
    return arrays


def count_objects(labels: BlockArray, prefix: str) -> Arrays:
    """Return the objects of a label image that is numbered as a whole."""
    frames = [(t, collect_statistics(labels, t, block=labels.grid.block[1:])) for t in range(labels.shape[0])]
    return _sort_by_block(RegionsOverTime.of(frames), labels.grid, prefix)


def load_merged_objects(plan: BlockPlan, name: str) -> MergedObjects:
    """Load what `merge_objects` or `count_objects` has saved of a class."""
    arrays = _load_cached(plan.result_path(BlockTask(plan.image, "join", 0)))
    prefix = f"{plan.classes[name]}."
    labels: BlockArray = plan.labels(name)
    if f"{prefix}final" in arrays:
        bounds, final, frames = arrays[f"{prefix}bounds"], arrays[f"{prefix}final"], plan.grid.block[0]

        def numbers(number: int) -> list[NDArray[Any]]:
            rows = range(number * frames, (number + 1) * frames)
            return [final[bounds[row] : bounds[row + 1]] for row in rows]

        labels = RelabeledArray(labels, numbers)
    return MergedObjects(labels, arrays[f"{prefix}cell"], regions_from_arrays(arrays, prefix))


@lru_cache(maxsize=2)
def _load_cached(path: Path) -> dict[str, NDArray[Any]]:
    """Load arrays once for all blocks of an image: the file never changes."""
    return load_arrays(path)


def _merge_class(plan: BlockPlan, labels: BlockArray, rolls: Sequence[RegionsOverTime], prefix: str) -> Arrays:
    settings, grid = plan.recipe.objects, plan.grid
    connectivity = resolve_connectivity(settings.dims, settings.connectivity, grid.shape[1])
    faces = (1, 2) if settings.border == "remove" else ()
    most = prod(grid.shape) if settings.max_size is None else settings.max_size
    keep = RegionFilter(settings.min_size, most, faces)
    counts = np.zeros((len(grid), grid.block[0]), np.int64)  # labels of each block at each of its t
    for number, roll in enumerate(rolls):
        counts[number] = np.bincount(roll.t - grid.slices(number)[0].start, minlength=grid.block[0])
    apart = counts.reshape(grid.counts[0], -1, grid.block[0])
    before = (np.cumsum(apart, axis=1) - apart).reshape(counts.shape)  # of a t, in earlier blocks

    def provisional(number: int) -> list[Int64Array]:
        return [_number_range(before[number, k], counts[number, k]) for k in range(grid.block[0])]

    ids, final, frames = RelabeledArray(labels, provisional), [np.empty(0, np.int32)] * counts.size, []
    for t in range(grid.shape[0]):
        numbers, objects = _merge_time_point(t, ids, rolls, before, keep, connectivity)
        frames.append((t, objects))
        for n in _blocks_at(t, grid):
            k = t % grid.block[0]
            first = before[n, k] + 1
            own = numbers[first : first + counts[n, k]]
            final[n * grid.block[0] + k] = np.concatenate(([0], own)).astype(np.int32)
    bounds = np.cumsum([0, *map(len, final)])
    found = {f"{prefix}final": np.concatenate(final), f"{prefix}bounds": bounds}
    return {**found, **_sort_by_block(RegionsOverTime.of(frames), grid, prefix)}


def _merge_time_point(
    t: int,
    ids: RelabeledArray,
    rolls: Sequence[RegionsOverTime],
    before: Int64Array,
    keep: RegionFilter,
    connectivity: Connectivity,
) -> tuple[Int64Array, RegionStatistics]:
    """Return the final numbers of the blocks' labels at one t, and the objects."""
    grid, parts, touching, total = ids.grid, [], [], 0
    for n in _blocks_at(t, grid):
        census = take_regions(rolls[n].objects, rolls[n].t == t)
        parts.append(census.offset_numbers(int(before[n, t % grid.block[0]])))
        touching.append(find_touching_labels(ids, t, grid.slices(n)[1:], connectivity))
        total += len(census.number)
    if total > np.iinfo(np.int32).max:
        raise OverflowError(f"{total} objects in the blocks of one time point do not fit into int32")
    return join_labels(parts, touching, total, keep, grid.shape[1:])


def _blocks_at(t: int, grid: BlockGrid) -> range:
    """Return the blocks that contain a t, in raster order."""
    each = prod(grid.counts[1:])
    return range(t // grid.block[0] * each, (t // grid.block[0] + 1) * each)


def _number_range(before: int, count: int) -> Int64Array:
    numbers = np.arange(before, before + count + 1)
    numbers[0] = 0
    return numbers


def _sort_by_block(roll: RegionsOverTime, grid: BlockGrid, prefix: str) -> Arrays:
    """Return the objects sorted by the block that they begin in."""
    places = np.concatenate((roll.t[:, None], roll.objects.start), axis=1) // np.array(grid.block)
    cell = np.ravel_multi_index(tuple(places.T), grid.counts).astype(np.int64)
    order = np.argsort(cell, kind="stable")
    sorted_roll = RegionsOverTime(roll.t[order], take_regions(roll.objects, order))
    return {f"{prefix}cell": cell[order], **regions_to_arrays(sorted_roll, prefix)}
