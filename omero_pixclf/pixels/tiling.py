"""How an image is cut: into blocks that are read and returned at once, and these into tiles that fit the caches."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from omero_pixclf.pixels.bounding_box import BoundingBox, Shape3

__all__ = ["Tiling", "VoxelCost", "available_processors", "plan_tiling", "remaining_memory", "split_box"]

_FLAT_TILE: Shape3 = (1, 128, 512)
_DEEP_TILE: Shape3 = (64, 48, 96)
_BLOCKS, _SMALL_BLOCK, _LARGE_BLOCK, _WIDE = 4, 2**20, 2**22, 4096
_DEFAULT_MEMORY = 448 * 2**20
_RESERVE = 24 * 2**20  # for the interpreter and the libraries while they work
_PLANES_2D, _PLANES_3D = 8, 12


@dataclass(frozen=True)
class VoxelCost:
    """Memory that a voxel needs while it is computed.

    Attributes
    ----------
    read
        Bytes of a voxel as it is read (all channels).
    features
        Features per voxel, float32.
    written
        Bytes of a voxel's result.
    halo
        Pixels that are read around a region, along ``(z, y, x)``.
    """

    read: int
    features: int
    written: int
    halo: Shape3


@dataclass(frozen=True)
class Tiling:
    """Shapes of blocks and tiles."""

    block: Shape3
    tile: Shape3


def plan_tiling(image: Shape3, cost: VoxelCost, *, memory: int | None, threads: int) -> Tiling:
    """Choose block and tile shapes so that all work in progress fits into ``memory`` bytes (448 MB if None).

    Half is for tiles, half for blocks. Where that is too little for tiles of the best size for the caches, tiles are
    smaller, down to 16 pixels a side.
    """
    budget = _DEFAULT_MEMORY if memory is None else memory
    wanted = _DEEP_TILE if cost.halo[0] else _FLAT_TILE
    tile = _minimum(wanted, image)
    while _tile_bytes(tile, cost, image) * threads > budget // 2 and max(tile) > 16:
        tile = _halve_longest_side(tile)
    return Tiling(_choose_block(tile, image, cost, budget // 2), tile)


def remaining_memory(limit: int | None) -> int | None:
    """Return what a memory limit of the process leaves for blocks, at least an eighth of it; None for no limit."""
    if limit is None:
        return None
    with suppress(OSError):
        pages = int(Path("/proc/self/statm").read_text("ascii").split()[1])
        return max(limit - pages * os.sysconf("SC_PAGE_SIZE") - _RESERVE, limit // 8)
    return limit // 2


def split_box(region: BoundingBox, shape: Shape3) -> Iterator[BoundingBox]:
    """Cut a box into boxes of at most that shape, in the order of the pixels."""
    for z in range(region.start[0], region.stop[0], shape[0]):
        for y in range(region.start[1], region.stop[1], shape[1]):
            for x in range(region.start[2], region.stop[2], shape[2]):
                stop = tuple(min(a + s, n) for a, s, n in zip((z, y, x), shape, region.stop, strict=True))
                yield BoundingBox((z, y, x), (stop[0], stop[1], stop[2]))


def available_processors() -> int:
    """Return the number of processors that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _minimum(a: Shape3, b: Shape3) -> Shape3:
    return (min(a[0], b[0]), min(a[1], b[1]), min(a[2], b[2]))


def _halve_longest_side(tile: Shape3) -> Shape3:
    longest = max(range(3), key=lambda axis: tile[axis])
    z, y, x = (math.ceil(n / 2) if axis == longest else n for axis, n in enumerate(tile))
    return (z, y, x)


def _padded_size(shape: Shape3, halo: Shape3, image: Shape3) -> int:
    return math.prod(min(s + 2 * h, n) for s, h, n in zip(shape, halo, image, strict=True))


def _tile_bytes(tile: Shape3, cost: VoxelCost, image: Shape3) -> int:
    planes = _PLANES_3D if cost.halo[0] else _PLANES_2D
    inner = math.prod(tile) * (4 * cost.features + cost.written)
    near: Shape3 = (min(cost.halo[0], 4), 4, 4)
    return inner + 4 * planes * _padded_size(tile, near, image) + 12 * _padded_size(tile, cost.halo, image)


def _block_bytes(block: Shape3, cost: VoxelCost, image: Shape3) -> int:
    """Return the bytes of all blocks at the worst moment.

    One block is computed, one waits, and the caller still has one and may copy it.
    """
    return 3 * _padded_size(block, cost.halo, image) * cost.read + 4 * math.prod(block) * cost.written


def _choose_block(tile: Shape3, image: Shape3, cost: VoxelCost, budget: int) -> Shape3:
    """Return the largest block that fits: the tile, doubled along x, y and z in turn.

    Long rows are read fastest. With a few blocks, reading, computing and writing overlap.
    """
    largest = min(max(math.prod(image) // _BLOCKS, _SMALL_BLOCK), _LARGE_BLOCK)
    block = tile
    for axis in (2, 1, 0):
        most = min(image[2], _WIDE) if axis == 2 else image[axis]
        while block[axis] < most:
            longer = min(2 * block[axis], most)
            z, y, x = (longer if a == axis else n for a, n in enumerate(block))
            larger: Shape3 = (z, y, x)
            if math.prod(larger) > largest or _block_bytes(larger, cost, image) > budget:
                break
            block = larger
    return block
