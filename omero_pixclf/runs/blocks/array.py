"""Arrays in a folder with one file per block, written by several processes at the same time.

A block is written completely or not at all, under its own name: a worker that repeats a block writes the same, and
processes on different machines never write to the same file. Only requested parts are in memory.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import DTypeLike, NDArray

from omero_pixclf.errors import OutputError
from omero_pixclf.image import Region

__all__ = [
    "BLOCK_PIXELS",
    "CUBE_BLOCK",
    "PLANE_BLOCK",
    "BlockArray",
    "BlockGrid",
    "RelabeledArray",
    "Shape4",
    "choose_grid",
    "make_region",
    "write_atomically",
]

Shape4 = tuple[int, int, int, int]

BLOCK_PIXELS = 2**22  # of a block: seconds of work, which is what a lost worker costs
PLANE_BLOCK, CUBE_BLOCK = (1, 2048, 2048), (64, 256, 256)  # z, y, x, multiples of what a summary sums up along y and x


@dataclass(frozen=True)
class BlockGrid:
    """How an image is divided: blocks of ``(t, z, y, x)`` in raster order."""

    shape: Shape4
    block: Shape4

    @property
    def counts(self) -> Shape4:
        """Number of blocks along each axis."""
        t, z, y, x = (-(-n // b) for n, b in zip(self.shape, self.block, strict=True))
        return (t, z, y, x)

    def __len__(self) -> int:
        return math.prod(self.counts)

    def slices(self, number: int) -> tuple[slice, slice, slice, slice]:
        """Return the slices of a block."""
        at = np.unravel_index(number, self.counts)
        t, z, y, x = (
            slice(int(i) * b, min((int(i) + 1) * b, n)) for i, b, n in zip(at, self.block, self.shape, strict=True)
        )
        return (t, z, y, x)

    def block_at(self, at: Sequence[int]) -> int:
        """Return the block that contains a pixel ``(t, z, y, x)``."""
        cell = [i // b for i, b in zip(at, self.block, strict=True)]
        return int(np.ravel_multi_index(cell, self.counts))

    def overlapping_blocks(self, ranges: Sequence[range]) -> Iterator[tuple[int, list[slice], list[slice]]]:
        """Yield the blocks that overlap a selection: number, the part within the block, and within the selection."""
        sides = [_split_range(wanted, step) for wanted, step in zip(ranges, self.block, strict=True)]
        for chosen in product(*sides):
            number = int(np.ravel_multi_index([i for i, _, _ in chosen], self.counts))
            yield number, [inner for _, inner, _ in chosen], [outer for _, _, outer in chosen]


def choose_grid(shape: Shape4, *, deep: bool) -> BlockGrid:
    """Return how an image is divided: large parts of planes, or cubes if filters reach far along z (``deep``)."""
    most = CUBE_BLOCK if deep and shape[1] > 1 else PLANE_BLOCK
    y, x = min(shape[2], most[1]), min(shape[3], most[2])
    z = max(1, min(shape[1], BLOCK_PIXELS // (y * x)))
    t = max(1, min(shape[0], BLOCK_PIXELS // (z * y * x)))
    return BlockGrid(shape, (t, z, y, x))


def _split_range(wanted: range, step: int) -> list[tuple[int, slice, slice]]:
    """Return the blocks along one axis that overlap a range, with the part in the block and in the range."""
    found = []
    at = 0
    while at < len(wanted):
        block = wanted[at] // step
        end = min(len(wanted), -(-((block + 1) * step - wanted.start) // wanted.step))
        first = wanted[at] - block * step
        found.append((block, slice(first, wanted[end - 1] - block * step + 1, wanted.step), slice(at, end)))
        at = end
    return found


class BlockArray:
    """An array ``(t, z, y, x)`` or ``(t, z, y, x, c)``; read by slices (with positive steps) and integers."""

    def __init__(
        self, folder: Path, name: str, grid: BlockGrid, dtype: DTypeLike, *, channels: int | None = None
    ) -> None:
        self.folder, self.name, self.grid = folder, name, grid
        self.dtype = np.dtype(dtype)
        self.shape: tuple[int, ...] = grid.shape if channels is None else (*grid.shape, channels)

    def path(self, number: int) -> Path:
        """Return the file of a block."""
        return self.folder / f"{self.name}-{number}.npy"

    def write(self, number: int, block: NDArray[Any]) -> None:
        """Write a block.

        Raises
        ------
        OutputError
            It cannot be written.
        """
        write_atomically(self.path(number), lambda out: np.save(out, np.ascontiguousarray(block, self.dtype)))

    def block(self, number: int) -> NDArray[Any]:
        """Return a block, memory-mapped.

        Raises
        ------
        OutputError
            The file is missing or damaged.
        """
        try:
            return np.asarray(np.load(self.path(number), mmap_mode="r", allow_pickle=False))
        except (OSError, ValueError) as error:
            raise OutputError(f"{self.path(number)}: cannot be read: {error}; start a new run") from error

    def __getitem__(self, place: Any, /) -> NDArray[Any]:
        asked = place if isinstance(place, tuple) else (place,)
        asked += (slice(None),) * (len(self.shape) - len(asked))
        ranges = [_index_range(one, extent) for one, extent in zip(asked, self.shape, strict=True)]
        out = np.empty([len(r) for r in ranges], self.dtype)
        rest = [slice(r.start, r.stop, r.step) for r in ranges[4:]]
        for number, inner, outer in self.grid.overlapping_blocks(ranges[:4]):
            out[tuple(outer)] = self._part(number, (*inner, *rest))
        return out[tuple(slice(None) if isinstance(one, slice) else 0 for one in asked)]

    def _part(self, number: int, inner: tuple[slice, ...]) -> NDArray[Any]:
        return self.block(number)[inner]

    def __setitem__(self, place: Any, value: Any, /) -> None:
        """Change a box in place; missing blocks are filled with zeros. For one process at a time."""
        ranges = [_index_range(one, extent) for one, extent in zip(place, self.shape, strict=True)]
        sides = [len(r) for one, r in zip(place, ranges, strict=True) if isinstance(one, slice)]
        given = np.broadcast_to(np.asarray(value), sides).reshape([len(r) for r in ranges])
        for number, inner, outer in self.grid.overlapping_blocks(ranges):
            if not self.path(number).exists():
                self.write(number, np.zeros([s.stop - s.start for s in self.grid.slices(number)], self.dtype))
            stored = np.load(self.path(number), mmap_mode="r+", allow_pickle=False)
            stored[tuple(inner)] = given[tuple(outer)]
            stored.flush()


class RelabeledArray(BlockArray):
    """A label image whose blocks have their own numbers, read with the numbers of the whole image.

    ``numbers[n][i]`` is the number of label ``i`` of block ``n``, at each t of the block: ``(t, labels)``.
    """

    def __init__(self, labels: BlockArray, numbers: Callable[[int], Sequence[NDArray[Any]]]) -> None:
        super().__init__(labels.folder, labels.name, labels.grid, labels.dtype)
        self._numbers = numbers

    def _part(self, number: int, inner: tuple[slice, ...]) -> NDArray[Any]:
        labels = self.block(number)[inner]
        tables = self._numbers(number)[inner[0]]
        return np.stack([table[frame] for table, frame in zip(tables, labels, strict=True)])


def _index_range(one: Any, extent: int) -> range:
    if isinstance(one, slice):
        return range(*one.indices(extent))
    return range(int(one), int(one) + 1)


def write_atomically(path: Path, write: Callable[[BinaryIO], None]) -> None:
    """Write a file completely or not at all, also if several processes write it; its folder is created.

    Raises
    ------
    OutputError
        It cannot be written.
    """
    part = path.with_name(f".{path.name}.{os.getpid()}-{os.urandom(4).hex()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with part.open("wb") as out:
            write(out)
        part.replace(path)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise OutputError(
            f"{path}: could not be written: {error.strerror}; make room there, then go on with --resume"
        ) from error


def make_region(place: Sequence[slice], channels: int) -> Region:
    """Return the slices of a block as a region of an image with that number of channels."""
    t, z, y, x = place
    return Region((t.start, z.start, y.start, x.start, 0), (t.stop, z.stop, y.stop, x.stop, channels))
