"""The work on a piece of an image (`block_plan`), and on all of them where one worker is alone."""

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
from omero_pixclf.objects.blockwise import find_blocks, label_box, measure_window, outline_window, whole_table
from omero_pixclf.objects.outline import Outline
from omero_pixclf.objects.summary import summed, sums_of
from omero_pixclf.objects.windows import windows_on
from omero_pixclf.pixels.bounding_box import Span
from omero_pixclf.pixels.predict import predict_blocks, reach
from omero_pixclf.runs.analysis import Found, applied
from omero_pixclf.runs.blocks.array import Tiled, region_of
from omero_pixclf.runs.blocks.block_merge import Joined, counted_arrays, joined_arrays, joined_of, load, save
from omero_pixclf.runs.blocks.block_plan import Cutting
from omero_pixclf.runs.blocks.serialize import (
    Arrays,
    Roll,
    outline_arrays,
    outlines_in_order,
    roll_arrays,
    sums_arrays,
    sums_from,
)
from omero_pixclf.runs.execution.task import Piece, Stage, Task
from omero_pixclf.runs.image import Results, RoiKind, Work, preview_of, record_for, roi_kind_of, run_image, store
from omero_pixclf.runs.planning.resources import needs_blocks
from omero_pixclf.runs.state.image_files import table_arrays, table_from
from omero_pixclf.table import Table, concatenate

__all__ = ["cutting_of", "run_task"]

AHEAD = 2  # pieces that one worker alone has on their way: one is read, one computed


def run_task(task: Task, work: Work) -> dict[str, int]:
    """A whole image, in pieces where it is larger than the memory allowed, or one piece of an image.

    Returns the number of objects per class; nothing for a piece that is not the last.
    """
    if isinstance(task, Piece):
        return _STAGES[task.stage](cutting_of(task.image, work), task.number, work)
    if needs_blocks(task, work.project, work.memory):
        return _all_pieces(cutting_of(task, work), work)
    return run_image(task, work)


def cutting_of(image: ImageInfo, work: Work) -> Cutting:
    """How an image is cut."""
    return Cutting(image, work.recipe, work.project, work.files.pieces(image.key))


def _all_pieces(cutting: Cutting, work: Work) -> dict[str, int]:
    """What is left to do of an image, by this worker alone."""
    counts: dict[str, int] = {}
    for stage in cutting.stages:
        pool = ThreadPoolExecutor(AHEAD)
        try:
            for done in pool.map(lambda piece: run_task(piece, work), cutting.left(stage)):
                counts = done
        finally:
            pool.shutdown(cancel_futures=True)
    return counts


@dataclass(frozen=True)
class _BoxReader:
    """An image of which one box has been read: regions of other places are not to be had."""

    info: ImageInfo
    box: Region
    pixels: NDArray[Any]

    def read(self, region: Region) -> NDArray[Any]:
        """The pixels of a region within the box, ``(t, z, y, x, c)``."""
        at = zip(region.start, region.stop, self.box.start, strict=True)
        return np.ascontiguousarray(self.pixels[tuple(slice(a - o, b - o) for a, b, o in at)])


def _maps(cutting: Cutting, number: int, work: Work) -> dict[str, int]:
    """Read a block with what is around it, predict it, and keep both."""
    image, own = cutting.image, region_of(cutting.grid.place(number), cutting.image.shape[4])
    span, whole = Span(own.start[1:4], own.stop[1:4]), image.shape[1:4]
    wide = span.grown(reach(work.project, image.shape[1]), whole)
    box = Region((own.start[0], *wide.start, 0), (own.stop[0], *wide.stop, image.shape[4]))
    with work.gates.reading(), work.source.open(image) as reader:
        pixels = reader.read(box)
    with work.gates.computing():
        chosen = applied(_BoxReader(image, box, pixels), work.recipe, work.project)
        found = np.empty((*own.shape[:4], len(work.project.classes)), np.float32)
        limits: dict[str, Any] = {"memory": work.memory, "threads": work.threads, "region": own}
        deque(predict_blocks(work.project, chosen, **limits, out=found), 0)
        cutting.pixels.write(number, pixels[(slice(None), *span.within(wide))])
        cutting.probabilities.write(number, found)  # the last: it says that the piece is done
    return {}


def _labels(cutting: Cutting, number: int, work: Work) -> dict[str, int]:
    """The objects of a block, as far as they lie in it, of all classes."""
    times, *sides = cutting.grid.place(number)
    place = (sides[0], sides[1], sides[2])
    arrays: Arrays = {}
    with work.gates.computing():
        for name, index in cutting.classes.items():
            found, frames = [], []
            for t in range(times.start, times.stop):
                labels, census = label_box(cutting.probabilities, index, work.recipe.objects, t, place)
                found.append(labels)
                frames.append((t, census))
            cutting.labels(name).write(number, np.stack(found))
            arrays |= roll_arrays(Roll.of(frames), f"{index}.")
        save(cutting.mark(Piece(cutting.image, "labels", number)), arrays)
    return {}


def _join(cutting: Cutting, number: int, work: Work) -> dict[str, int]:
    with work.gates.computing():
        save(cutting.mark(Piece(cutting.image, "join", number)), joined_arrays(cutting))
    return {}


def _find(cutting: Cutting, number: int, work: Work) -> dict[str, int]:
    """All objects, block by block, by one worker; under names of its own, for there may be another one who was lost."""
    attempt, made, arrays = os.urandom(4).hex(), list[Tiled](), Arrays()

    def empty() -> Tiled:
        made.append(Tiled(cutting.folder, f"{attempt}-{len(made)}", cutting.grid, np.int32))
        return made[-1]

    with work.gates.computing():
        for name, index in cutting.classes.items():
            out, block = empty(), cutting.grid.block[1:]
            size = cutting.image.pixel_size_um
            settings = work.recipe.objects
            find_blocks(cutting.probabilities, index, settings, out=out, scratch=empty, block=block, pixel_size_um=size)
            arrays |= counted_arrays(out, f"{index}.")
            for n in range(len(cutting.grid)):
                out.path(n).replace(cutting.labels(name).path(n))
        for array in made:
            for n in range(len(cutting.grid)):
                array.path(n).unlink(missing_ok=True)
        save(cutting.mark(Piece(cutting.image, "find", number)), arrays)
    return {}


def _objects(cutting: Cutting, number: int, work: Work) -> dict[str, int]:
    """Measure and outline the objects that begin in a block, of all classes, and sum the block up."""
    image, block, output = cutting.image, cutting.grid.block[1:], work.recipe.output
    with work.gates.computing():
        found = {name: joined_of(cutting, name) for name in cutting.classes}
        kind, arrays = _kind(found, work), Arrays()
        for name, index in cutting.classes.items():
            facts, tables, outlines = cutting.facts(name), list[Table](), list[Outline]()
            for t, objects in found[name].beginning_in(number):
                for window in windows_on(found[name].labels, t, objects, block=block):
                    tables.append(measure_window(window, cutting.pixels, cutting.probabilities, facts))
                    if kind in ("polygon", "mask"):
                        shown: dict[str, Any] = {"simplify": output.simplify, "min_hole": output.min_hole}
                        outlines += outline_window(window, kind=kind, **shown)
            empty = facts.nothing(image.shape[4], image.dtype)
            arrays |= table_arrays(concatenate([empty, *tables]), f"{index}.table.")
            arrays |= outline_arrays(outlines, f"{index}.outlines.")
        times, *sides = cutting.grid.place(number)
        place = (sides[0], sides[1], sides[2])
        sums = [sums_of(cutting.pixels, cutting.probabilities, t, place) for t in range(times.start, times.stop)]
        save(cutting.mark(Piece(image, "objects", number)), {**arrays, **sums_arrays(sums)})
    return {}


def _kind(found: dict[str, Joined], work: Work) -> RoiKind:
    return roi_kind_of(sum(map(len, found.values())), work.recipe.output)


def _store(cutting: Cutting, number: int, work: Work) -> dict[str, int]:
    """Put together what the blocks have left, and store it."""
    record = record_for(cutting.image, work)
    with work.gates.computing():
        files = [load(cutting.mark(piece)) for piece in cutting.pieces("objects")]
        joined = {name: joined_of(cutting, name) for name in cutting.classes}
        tables = {
            name: whole_table([table_from(saved, f"{index}.table.") for saved in files], cutting.facts(name))
            for name, index in cutting.classes.items()
        }
        counts = {name: len(table) for name, table in tables.items()}
        covered = {name: _covered(table) for name, table in tables.items()}
        summary = summed([sums_from(saved) for saved in files], counts, covered)
        labels = {name: found.labels for name, found in joined.items()}
        found = Found(cutting.image, cutting.pixels, cutting.probabilities, labels, tables, summary)
        kind = _kind(joined, work)
        drawn = kind in ("polygon", "mask")
        outlines = {n: outlines_in_order(files, f"{i}.outlines.") for n, i in cutting.classes.items()} if drawn else {}
        results = Results(found, kind, outlines, preview_of(found, work))
    with work.gates.writing(), work.sink.begin(cutting.image, record) as writer:
        return store(results, record, work, writer)


def _covered(table: Table) -> int:
    """Pixels in objects."""
    sizes = np.where(np.isnan(table["Area_px"]), table["Volume_px"], table["Area_px"])
    return int(sizes.sum())


_STAGES: dict[Stage, Callable[[Cutting, int, Work], dict[str, int]]] = {
    "maps": _maps,
    "labels": _labels,
    "join": _join,
    "find": _find,
    "objects": _objects,
    "store": _store,
}
