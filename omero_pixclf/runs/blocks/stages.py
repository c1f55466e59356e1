"""Execute one task of an image that is processed in blocks (`block_plan`), or all of them in one worker."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from omero_pixclf.image import ImageInfo, Region
from omero_pixclf.objects.blockwise import (
    combine_tables,
    label_segmented_block,
    measure_window,
    outline_window,
    segment_blocks,
)
from omero_pixclf.objects.outline import Outline
from omero_pixclf.objects.summary import combine_sums, sum_tiles
from omero_pixclf.objects.windows import windows_of_objects
from omero_pixclf.pixels.bounding_box import BoundingBox
from omero_pixclf.pixels.predict import predict_blocks, prediction_halo
from omero_pixclf.runs.analysis import ImageAnalysis, segmentation_settings, select_project_channels
from omero_pixclf.runs.blocks.array import BlockArray, make_region
from omero_pixclf.runs.blocks.block_merge import (
    MergedObjects,
    count_objects,
    load_arrays,
    load_merged_objects,
    merge_objects,
    save_arrays,
)
from omero_pixclf.runs.blocks.block_plan import BlockPlan
from omero_pixclf.runs.blocks.serialize import (
    Arrays,
    RegionsOverTime,
    outlines_from_arrays,
    outlines_to_arrays,
    regions_to_arrays,
    sums_from_arrays,
    sums_to_arrays,
)
from omero_pixclf.runs.execution.task import BlockStage, BlockTask, Task
from omero_pixclf.runs.image import (
    ImageResults,
    ProcessingContext,
    RoiKind,
    choose_output_roi_kind,
    draw_preview,
    make_image_record,
    process_image,
    store_results,
)
from omero_pixclf.runs.planning.resources import needs_blocks
from omero_pixclf.runs.state.image_files import table_from_arrays, table_to_arrays
from omero_pixclf.table import Table, concatenate

__all__ = ["TASKS_IN_FLIGHT", "make_block_plan", "process_task"]

TASKS_IN_FLIGHT = 2  # pieces that one worker alone has on their way: one is read, one computed


def process_task(task: Task, context: ProcessingContext) -> dict[str, int]:
    """Process a whole image, in blocks if it does not fit into the memory limit, or one task of an image.

    Returns the number of objects per class; an empty dict for a task that is not the last.
    """
    if isinstance(task, BlockTask):
        return _STAGES[task.stage](make_block_plan(task.image, context), task.number, context)
    if needs_blocks(task, context.project, context.memory):
        return _process_all_blocks(make_block_plan(task, context), context)
    return process_image(task, context)


def make_block_plan(image: ImageInfo, context: ProcessingContext) -> BlockPlan:
    """Return how an image is divided."""
    return BlockPlan(image, context.recipe, context.project, context.files.blocks_folder(image.key))


def _process_all_blocks(plan: BlockPlan, context: ProcessingContext) -> dict[str, int]:
    """Execute the tasks of an image that are left, in this worker."""
    counts: dict[str, int] = {}
    for stage in plan.stages:
        pool = ThreadPoolExecutor(TASKS_IN_FLIGHT)
        try:
            for done in pool.map(lambda task: process_task(task, context), plan.pending_tasks(stage)):
                counts = done
        finally:
            pool.shutdown(cancel_futures=True)
    return counts


@dataclass(frozen=True)
class _BlockReader:
    """An image of which only one box was read."""

    info: ImageInfo
    box: Region
    pixels: NDArray[Any]

    def read(self, region: Region) -> NDArray[Any]:
        """Return the pixels of a region within the box, ``(t, z, y, x, c)``."""
        at = zip(region.start, region.stop, self.box.start, strict=True)
        return np.ascontiguousarray(self.pixels[tuple(slice(a - o, b - o) for a, b, o in at)])


def _predict_block(plan: BlockPlan, number: int, context: ProcessingContext) -> dict[str, int]:
    """Read a block with its surrounding, predict it, and save both."""
    image, own = plan.image, make_region(plan.grid.slices(number), plan.image.shape[4])
    span, whole = BoundingBox(own.start[1:4], own.stop[1:4]), image.shape[1:4]
    wide = span.expand(prediction_halo(context.project, image.shape[1]), whole)
    box = Region((own.start[0], *wide.start, 0), (own.stop[0], *wide.stop, image.shape[4]))
    with context.limits.reading(), context.source.open(image) as reader:
        pixels = reader.read(box)
    with context.limits.computing():
        chosen = select_project_channels(_BlockReader(image, box, pixels), context.recipe, context.project)
        found = np.empty((*own.shape[:4], len(context.project.classes)), np.float32)
        limits: dict[str, Any] = {"memory": context.memory, "threads": context.threads, "region": own}
        deque(predict_blocks(context.project, chosen, **limits, out=found), 0)
        plan.pixels.write(number, pixels[(slice(None), *span.slices_in(wide))])
        plan.probabilities.write(number, found)  # the last: it says that the task is done
    return {}


def _label_block(plan: BlockPlan, number: int, context: ProcessingContext) -> dict[str, int]:
    """Label the objects of all classes within a block."""
    times, *sides = plan.grid.slices(number)
    place = (sides[0], sides[1], sides[2])
    arrays: Arrays = {}
    settings = segmentation_settings(context.recipe.objects)
    with context.limits.computing():
        for name, index in plan.classes.items():
            found, frames = [], []
            for t in range(times.start, times.stop):
                labels, census = label_segmented_block(plan.probabilities, index, settings, t, place)
                found.append(labels)
                frames.append((t, census))
            plan.labels(name).write(number, np.stack(found))
            arrays |= regions_to_arrays(RegionsOverTime.of(frames), f"{index}.")
        save_arrays(plan.result_path(BlockTask(plan.image, "labels", number)), arrays)
    return {}


def _merge_blocks(plan: BlockPlan, number: int, context: ProcessingContext) -> dict[str, int]:
    with context.limits.computing():
        save_arrays(plan.result_path(BlockTask(plan.image, "join", number)), merge_objects(plan))
    return {}


def _segment_image(plan: BlockPlan, number: int, context: ProcessingContext) -> dict[str, int]:
    """Segment all objects block by block, in one worker; file names are unique, a lost worker may still be writing."""
    attempt, made, arrays = os.urandom(4).hex(), list[BlockArray](), Arrays()

    def empty() -> BlockArray:
        made.append(BlockArray(plan.folder, f"{attempt}-{len(made)}", plan.grid, np.int32))
        return made[-1]

    with context.limits.computing():
        for name, index in plan.classes.items():
            out, block = empty(), plan.grid.block[1:]
            size = plan.image.pixel_size_um
            settings = segmentation_settings(context.recipe.objects)
            segment_blocks(plan.probabilities, index, settings, out=out, scratch=empty, block=block, pixel_size_um=size)
            arrays |= count_objects(out, f"{index}.")
            for n in range(len(plan.grid)):
                out.path(n).replace(plan.labels(name).path(n))
        for array in made:
            for n in range(len(plan.grid)):
                array.path(n).unlink(missing_ok=True)
        save_arrays(plan.result_path(BlockTask(plan.image, "find", number)), arrays)
    return {}


def _measure_block(plan: BlockPlan, number: int, context: ProcessingContext) -> dict[str, int]:
    """Measure and outline the objects of all classes that begin in a block, and sum up the block."""
    image, block, output = plan.image, plan.grid.block[1:], context.recipe.output
    with context.limits.computing():
        found = {name: load_merged_objects(plan, name) for name in plan.classes}
        kind, arrays = _kind(found, context), Arrays()
        for name, index in plan.classes.items():
            facts, tables, outlines = plan.measurement_parameters(name), list[Table](), list[Outline]()
            for t, objects in found[name].beginning_in(number):
                for window in windows_of_objects(found[name].labels, t, objects, block=block):
                    tables.append(measure_window(window, plan.pixels, plan.probabilities, facts))
                    if kind in ("polygon", "mask"):
                        shown: dict[str, Any] = {"simplify": output.simplify, "min_hole": output.min_hole}
                        outlines += outline_window(window, kind=kind, **shown)
            empty = facts.empty_table(image.shape[4], image.dtype)
            arrays |= table_to_arrays(concatenate([empty, *tables]), f"{index}.table.")
            arrays |= outlines_to_arrays(outlines, f"{index}.outlines.")
        times, *sides = plan.grid.slices(number)
        place = (sides[0], sides[1], sides[2])
        sums = [sum_tiles(plan.pixels, plan.probabilities, t, place) for t in range(times.start, times.stop)]
        save_arrays(plan.result_path(BlockTask(image, "objects", number)), {**arrays, **sums_to_arrays(sums)})
    return {}


def _kind(found: dict[str, MergedObjects], context: ProcessingContext) -> RoiKind:
    return choose_output_roi_kind(sum(map(len, found.values())), context.recipe.output)


def _store_image(plan: BlockPlan, number: int, context: ProcessingContext) -> dict[str, int]:
    """Merge the results of the blocks, and store them."""
    record = make_image_record(plan.image, context)
    with context.limits.computing():
        files = [load_arrays(plan.result_path(task)) for task in plan.tasks("objects")]
        joined = {name: load_merged_objects(plan, name) for name in plan.classes}
        tables = {
            name: combine_tables(
                [table_from_arrays(saved, f"{index}.table.") for saved in files], plan.measurement_parameters(name)
            )
            for name, index in plan.classes.items()
        }
        counts = {name: len(table) for name, table in tables.items()}
        covered = {name: _count_object_pixels(table) for name, table in tables.items()}
        summary = combine_sums([sums_from_arrays(saved) for saved in files], counts, covered)
        labels = {name: found.labels for name, found in joined.items()}
        found = ImageAnalysis(plan.image, plan.pixels, plan.probabilities, labels, tables, summary)
        kind = _kind(joined, context)
        drawn = kind in ("polygon", "mask")
        outlines = {n: outlines_from_arrays(files, f"{i}.outlines.") for n, i in plan.classes.items()} if drawn else {}
        results = ImageResults(found, kind, outlines, draw_preview(found, context))
    with context.limits.writing(), context.sink.begin(plan.image, record) as writer:
        return store_results(results, record, context, writer)


def _count_object_pixels(table: Table) -> int:
    """Return the number of pixels in objects."""
    sizes = np.where(np.isnan(table["Area_px"]), table["Volume_px"], table["Area_px"])
    return int(sizes.sum())


_STAGES: dict[BlockStage, Callable[[BlockPlan, int, ProcessingContext], dict[str, int]]] = {
    "maps": _predict_block,
    "labels": _label_block,
    "join": _merge_blocks,
    "find": _segment_image,
    "objects": _measure_block,
    "store": _store_image,
}
