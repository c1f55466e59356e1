"""Apply a project to images: to whole arrays, or block by block within a memory limit."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import product

import numpy as np

from omero_pixclf.errors import ImageError
from omero_pixclf.ilastik.feature_selection import FeatureSelection
from omero_pixclf.ilastik.project import ClassificationStage, Project
from omero_pixclf.image import Array, ArrayReader, BoolArray, Float32Array, ImageInfo, PixelReader, Region
from omero_pixclf.pixels.bounding_box import BoundingBox, Shape3
from omero_pixclf.pixels.features import compute_features, feature_halo
from omero_pixclf.pixels.random_forest import BitForest, build_bit_forest, predict_proba
from omero_pixclf.pixels.tiling import Tiling, VoxelCost, available_processors, plan_tiling, remaining_memory, split_box
from omero_pixclf.text import pluralize

__all__ = [
    "autocontext_input",
    "feature_blocks",
    "find_incompatibility",
    "predict_array",
    "predict_blocks",
    "prediction_halo",
]

_TileFunction = Callable[[Array, BoundingBox, BoundingBox], Array]
"""From pixels ``(z, y, x, c)``, their box and the box to compute, to the result ``(z, y, x, n)``."""


def find_incompatibility(project: Project, image: ImageInfo) -> str | None:
    """Return why a project cannot be applied to an image, before any pixel is read; None if it can.

    It compares the number of channels, the type of the pixels, the smallest size for the filters, and whether the
    project was trained on planes or volumes.
    """
    _, depth, height, width, channels = image.shape
    if channels != project.channels:
        return (
            f"{project.name}: trained on {pluralize(project.channels, 'channel')}, {image.key} has {channels}; "
            "choose with --channels"
        )
    if np.dtype(image.dtype).kind not in "iuf":
        return (
            f"{image.key}: pixels are {image.dtype}, which no ilastik project has been tested with; "
            "expected integers or real numbers"
        )
    if len(project.stages) > 1 and np.dtype(image.dtype).kind not in "uf":
        return (
            f"{image.key}: pixels are {image.dtype}; Autocontext has not been tested with this type; "
            "expected unsigned integers or real numbers"
        )
    for stage in project.stages:
        found = stage.selection.feature_count(depth) * stage.channels
        if found != stage.forests.column_count:
            return (
                f"{project.name}: trained on {stage.forests.column_count} features, an image of "
                f"{pluralize(depth, 'z-plane')} such as {image.key} gives {found}; train it on images like this one"
            )
        try:
            stage.selection.check_size(image.key, depth, height, width)
        except ImageError as problem:
            return str(problem)
    return None


def prediction_halo(project: Project, depth: int) -> Shape3:
    """Return how many pixels around its own a prediction depends on, along (z, y, x), in an image of so many planes."""
    return _sum_halos([feature_halo(stage.selection, depth) for stage in project.stages])


def predict_blocks(
    project: Project,
    reader: PixelReader,
    *,
    memory: int | None = None,
    threads: int | None = None,
    mask: PixelReader | None = None,
    region: Region | None = None,
    out: Float32Array | None = None,
) -> Iterator[tuple[Region, Float32Array]]:
    """Predict the probabilities of the classes, block by block.

    Parameters
    ----------
    project
        The classifier. A project trained on planes is applied to each z-plane alone, one trained on volumes to each
        time point.
    reader
        The image.
    memory
        Memory limit of the process in bytes, if the caller drops each block before it takes the next; None for 448 MB
        of blocks and tiles.
    threads
        Number of threads; one per processor if None.
    mask
        An image of the same extents along t, z, y, x: where all of its channels are 0, probabilities are 0.
    region
        The part of the image to predict (its c range is ignored); the whole image if None. The pixels around it are
        read, too, so that the result equals the crop of the whole image's result.
    out
        An array for the result of the whole region, ``(t, z, y, x, classes)`` float32. Blocks are computed in place,
        which saves a copy; the yielded arrays are views of it.

    Yields
    ------
    Regions of the result, ``(t, z, y, x, classes)``, which tile it in the order of the pixels, and their probabilities,
    float32 in [0, 1]. Probabilities do not depend on ``memory`` and ``threads``.

    Raises
    ------
    ImageError
        The image does not fit the project (`find_incompatibility`), or the mask does not fit the image.
    """
    _check_image(project, reader.info, mask)
    forests = [build_bit_forest(stage.forests, len(stage.classes)) for stage in project.stages]
    depth = reader.info.shape[1]

    shape = _spatial_shape(reader)
    tasks: list[_TileFunction] = [
        partial(_classify_tile, s, f, shape) for s, f in zip(project.stages, forests, strict=True)
    ]
    halos = [feature_halo(stage.selection, depth) for stage in project.stages]
    yield from _compute_blocks(
        _ImageTask(project, reader, mask, tasks, halos, len(project.classes), out), region, memory, threads
    )


def feature_blocks(
    project: Project,
    reader: PixelReader,
    *,
    memory: int | None = None,
    threads: int | None = None,
    region: Region | None = None,
) -> Iterator[tuple[Region, Float32Array]]:
    """Compute the features of the last stage, block by block: regions ``(t, z, y, x, features)`` and float32 arrays.

    Parameters and errors are those of `predict_blocks`.
    """
    _check_image(project, reader.info, None)
    depth = reader.info.shape[1]
    forests = [build_bit_forest(stage.forests, len(stage.classes)) for stage in project.stages[:-1]]
    shape = _spatial_shape(reader)
    tasks: list[_TileFunction] = [
        partial(_classify_tile, s, f, shape) for s, f in zip(project.stages, forests, strict=False)
    ]
    tasks.append(partial(_feature_tile, project.stages[-1].selection, shape))
    halos = [feature_halo(stage.selection, depth) for stage in project.stages]
    width = project.stages[-1].forests.column_count
    yield from _compute_blocks(_ImageTask(project, reader, None, tasks, halos, width), region, memory, threads)


def predict_array(
    project: Project, image: Array, *, mask: Array | None = None, threads: int | None = None
) -> Float32Array:
    """Predict the probabilities of the classes of a whole image in memory.

    Parameters
    ----------
    project
        The classifier.
    image
        ``(t, z, y, x, c)`` of any real number type; values are not scaled.
    mask
        ``(t, z, y, x, n)``: where it is 0 in all channels, probabilities are 0.
    threads
        Number of threads; one per processor if None.

    Returns
    -------
    float32 ``(t, z, y, x, classes)`` in [0, 1].

    Raises
    ------
    ImageError
        The image does not fit the project (`find_incompatibility`), or an array does not have five axes.
    """
    reader = _array_reader("image", image)
    masked = None if mask is None else _array_reader("mask", mask)
    out = np.empty((*image.shape[:4], len(project.classes)), np.float32)
    deque(predict_blocks(project, reader, mask=masked, threads=threads, out=out), 0)
    return out


def autocontext_input(pixels: Array, before: Float32Array) -> Array:
    """Return the input of Autocontext's second stage: the image's channels, then the first stage's probabilities.

    Probabilities are converted to the type of the image: to real numbers unchanged, to unsigned integers as the whole
    part of the type's maximum times the probability.
    """
    if pixels.dtype.kind == "f":
        return np.concatenate([pixels, before.astype(pixels.dtype)], axis=-1)
    scaled = (np.iinfo(pixels.dtype).max * before).astype(pixels.dtype)
    return np.concatenate([pixels, scaled], axis=-1)


def _classify_tile(
    stage: ClassificationStage,
    forest: BitForest,
    image: Shape3,
    pixels: Array,
    bounds: BoundingBox,
    target: BoundingBox,
) -> Array:
    return predict_proba(forest, compute_features(stage.selection, pixels, bounds, image, target))


def _feature_tile(
    selection: FeatureSelection, image: Shape3, pixels: Array, bounds: BoundingBox, target: BoundingBox
) -> Array:
    return np.moveaxis(compute_features(selection, pixels, bounds, image, target), 0, -1)


@dataclass(frozen=True)
class _ImageTask:
    """The prediction of one image: the functions to apply to its pixels, stage by stage."""

    project: Project
    reader: PixelReader
    mask: PixelReader | None
    tasks: list[_TileFunction]
    halos: list[Shape3]
    width: int
    out: Array | None = None


@dataclass(frozen=True)
class _PendingBlock:
    """A block whose tiles are being computed."""

    region: Region
    result: Array
    pending: list[Future[None]]


def _array_reader(key: str, pixels: Array) -> PixelReader:
    if pixels.ndim != 5:
        raise ImageError(
            f"the {key} is {pixels.ndim}D (shape {pixels.shape}), expected 5D (t, z, y, x, c); "
            "omero_pixclf.predict takes other axes"
        )
    t, z, y, x, c = pixels.shape
    return ArrayReader(ImageInfo(key, key, (t, z, y, x, c), str(pixels.dtype), ("",) * c), pixels)


def _spatial_shape(reader: PixelReader) -> Shape3:
    _, z, y, x, _ = reader.info.shape
    return (z, y, x)


def _check_image(project: Project, image: ImageInfo, mask: PixelReader | None) -> None:
    problem = find_incompatibility(project, image)
    if problem:
        raise ImageError(problem)
    if mask is not None and mask.info.shape[:4] != image.shape[:4]:
        raise ImageError(
            f"{mask.info.key}: the mask has (t, z, y, x) {mask.info.shape[:4]}, {image.key} has {image.shape[:4]}"
        )


def _sum_halos(halos: list[Shape3]) -> Shape3:
    z, y, x = (sum(h[axis] for h in halos) for axis in range(3))
    return (z, y, x)


def _compute_blocks(
    work: _ImageTask, region: Region | None, memory: int | None, threads: int | None
) -> Iterator[tuple[Region, Float32Array]]:
    """Compute all blocks, one block ahead of the caller, so that reading, computing and writing overlap."""
    info = work.reader.info
    whole = region or Region.whole(info.shape)
    _check_out(work, whole)
    count = threads or available_processors()
    cost = VoxelCost(
        np.dtype(info.dtype).itemsize * info.shape[4] * len(work.tasks),
        max(stage.forests.column_count for stage in work.project.stages),
        4 * work.width,
        _sum_halos(work.halos),
    )
    cut = plan_tiling(_spatial_shape(work.reader), cost, memory=remaining_memory(memory), threads=count)
    area = BoundingBox(whole.start[1:4], whole.stop[1:4])
    under_way: deque[_PendingBlock] = deque()
    pool = ThreadPoolExecutor(count)
    try:
        for t, target in product(range(whole.start[0], whole.stop[0]), split_box(area, cut.block)):
            under_way.append(_start_block(work, pool, cut, t, target, whole))
            if len(under_way) > 1:
                yield _finish_block(under_way.popleft())
        while under_way:
            yield _finish_block(under_way.popleft())
    finally:
        pool.shutdown(cancel_futures=True)  # after an error, or if the caller stops, do not wait for further tiles


def _finish_block(block: _PendingBlock) -> tuple[Region, Float32Array]:
    for future in block.pending:
        future.result()
    return block.region, block.result


def _check_out(work: _ImageTask, whole: Region) -> None:
    expected = (*whole.shape[:4], work.width)
    if work.out is not None and (work.out.shape != expected or work.out.dtype != np.float32):
        raise ValueError(f"out is {work.out.dtype} {work.out.shape}, expected float32 {expected}")


def _allocate_result(work: _ImageTask, whole: Region, t: int, target: BoundingBox) -> Array:
    """Return the array for a block's result, ``(z, y, x, n)``."""
    if work.out is None:
        return np.empty((*target.shape, work.width), np.float32)
    place: Array = work.out[(t - whole.start[0], *target.slices_in(BoundingBox(whole.start[1:4], whole.stop[1:4])))]
    return place


def _start_block(
    work: _ImageTask, pool: ThreadPoolExecutor, cut: Tiling, t: int, target: BoundingBox, whole: Region
) -> _PendingBlock:
    image, channels = _spatial_shape(work.reader), work.reader.info.shape[4]
    bounds = target.expand(_sum_halos(work.halos), image)
    pixels = work.reader.read(Region((t, *bounds.start, 0), (t + 1, *bounds.stop, channels)))[0]
    inside = _read_mask(work.mask, t, target)
    for number, task in enumerate(work.tasks[:-1]):
        nearer = target.expand(_sum_halos(work.halos[number + 1 :]), image)
        before = np.empty((*nearer.shape, len(work.project.stages[number].classes)), np.float32)
        _wait_for(_submit_tiles(pool, task, pixels, bounds, nearer, cut.tile, before, None))
        pixels, bounds = autocontext_input(pixels[nearer.slices_in(bounds)], before), nearer
    result = _allocate_result(work, whole, t, target)
    pending = _submit_tiles(pool, work.tasks[-1], pixels, bounds, target, cut.tile, result, inside)
    return _PendingBlock(Region((t, *target.start, 0), (t + 1, *target.stop, work.width)), result[None], pending)


def _read_mask(mask: PixelReader | None, t: int, target: BoundingBox) -> BoolArray | None:
    """Read where the mask is not 0, ``(z, y, x)``; None without a mask."""
    if mask is None:
        return None
    region = Region((t, *target.start, 0), (t + 1, *target.stop, mask.info.shape[4]))
    return np.asarray((mask.read(region)[0] > 0).any(axis=-1))


def _submit_tiles(
    pool: ThreadPoolExecutor,
    task: _TileFunction,
    pixels: Array,
    bounds: BoundingBox,
    target: BoundingBox,
    tile: Shape3,
    result: Array,
    inside: BoolArray | None,
) -> list[Future[None]]:
    def run(piece: BoundingBox) -> None:
        home = piece.slices_in(target)
        kept = None if inside is None else inside[home]
        if kept is not None and not kept.any():
            result[home] = 0
            return
        result[home] = task(pixels, bounds, piece)
        if kept is not None:
            result[home][~kept] = 0

    return [pool.submit(run, piece) for piece in split_box(target, tile)]


def _wait_for(pending: list[Future[None]]) -> None:
    for future in pending:
        future.result()
