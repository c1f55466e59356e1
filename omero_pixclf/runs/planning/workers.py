"""How many workers a run gets on a machine, with how many threads and how much memory each."""

from __future__ import annotations

from collections.abc import Container, Sequence
from dataclasses import dataclass, replace
from math import ceil, prod

from omero_pixclf.errors import UsageError
from omero_pixclf.ilastik.project import Project
from omero_pixclf.image import ImageInfo
from omero_pixclf.pixels.tiling import processors
from omero_pixclf.runs.blocks.block_plan import blocks_of, in_pieces
from omero_pixclf.runs.planning.resources import DEFAULT_MEMORY, array_bytes, free_memory_of_machine
from omero_pixclf.text import size_text

__all__ = ["Crew", "Strength", "crew_for", "crew_there"]

LANES = 3  # one image is read, one computed, one written
PROCESS = 200 * 2**20  # what a worker takes before it has an image
TILES = 448 * 2**20  # what the computation takes besides an image's arrays
LEAST = 512 * 2**20  # below that a worker is not worth its name
IMAGES_PER_WORKER = 8  # fewer (or blocks of large ones) do not pay for the seconds that a process takes to start
KEPT = 2**20  # of disk for an image's rows and picture
WINDOW = 2  # blocks that an image's objects reach over where one of its blocks is measured


@dataclass(frozen=True)
class Crew:
    """The workers of a run.

    Attributes
    ----------
    workers
        Processes; 1 is the run's own.
    threads
        Threads that compute, for each worker.
    lanes
        How many images a worker has on their way at a time.
    memory
        What a worker may take, in bytes; None where nothing is said and one worker has the machine.
    expected
        What a worker will take at most, in bytes, by the images' sizes.
    shared
        How many images the workers share, in pieces.
    disk
        What the run will take below its folder at most, in bytes, roughly: pieces of images on their way, and what all
        images leave for tables and pictures.
    """

    workers: int
    threads: int
    lanes: int
    memory: int | None
    expected: int
    shared: int = 0
    disk: int = 0


def crew_for(
    images: Sequence[ImageInfo],
    project: Project,
    *,
    workers: int | None = None,
    threads: int | None = None,
    memory: int | None = None,
    cores: int | None = None,
    free: int | None = None,
) -> Crew:
    """Share a machine's cores and memory among workers.

    Parameters
    ----------
    images, project
        What is to be worked on, and with what.
    workers, threads
        As many as the user wants; None: such that workers times threads are the cores, and no worker has few images.
    memory
        For all workers together, in bytes.
    cores, free
        The machine's processors and free memory in bytes; None: as found.

    Raises
    ------
    UsageError
        Where so many workers do not fit into the memory.
    """
    cores, free = cores or processors(), free or free_memory_of_machine()
    room = memory or free
    if workers is None:
        tasks = sum(len(blocks_of(image, project)) for image in images)
        useful = min(cores // (threads or 1), ceil(tasks / IMAGES_PER_WORKER))
        workers = max(1, useful if room is None else min(useful, room // LEAST))
    each = None if room is None else room // workers
    if workers > 1 and room is not None and room // workers < LEAST:
        raise UsageError(
            f"{workers} workers do not fit: each needs {size_text(LEAST)}, and there are {size_text(room)} for all; "
            f"use --workers {max(1, room // LEAST)}"
        )
    limit = each if memory is not None or workers > 1 else None
    arrays = min(limit, DEFAULT_MEMORY) if limit else DEFAULT_MEMORY
    cut = in_pieces(images, workers, project, limit)
    largest = _largest(images, {image.key for image in cut}, project)
    lanes = max(1, min(LANES, arrays // largest))
    expected = PROCESS + TILES + min(largest, arrays) * lanes
    expected = min(expected, limit) if limit else expected
    disk = len(images) * KEPT + _pieces_bytes(cut, workers * lanes, project)
    shared = len(cut) if workers > 1 else 0
    return Crew(workers, threads or max(1, cores // workers), lanes, limit, expected, shared, disk)


def _pieces_bytes(cut: Sequence[ImageInfo], tasks: int, project: Project) -> int:
    """Of the largest images that are on their way together where so many of their pieces are."""
    if not cut:
        return 0
    together = 1 + ceil(tasks / min(len(blocks_of(image, project)) for image in cut))
    return sum(sorted(array_bytes(image, project) for image in cut)[-together:])


@dataclass(frozen=True)
class Strength:
    """Workers somewhere else: how many, with how many threads, and how many bytes the weakest has (None: no limit)."""

    workers: int
    threads: int
    memory: int | None


def crew_there(
    images: Sequence[ImageInfo], project: Project, there: Strength, *, threads: int | None, memory: int | None
) -> Crew:
    """What workers elsewhere will need for these images; ``threads`` and ``memory`` are what each is allowed.

    Raises
    ------
    UsageError
        Where they have less.
    """
    workers, allowed = max(1, there.workers), memory or there.memory
    if allowed is not None and allowed < LEAST:
        raise UsageError(
            f"a worker needs {size_text(LEAST)}, and may take {size_text(allowed)}; give each more (--memory)"
        )
    room = None if allowed is None else allowed * workers
    wanted = {"workers": workers, "threads": threads or there.threads, "memory": room, "free": room}
    crew = crew_for(images, project, **wanted, cores=workers * there.threads)
    needed = PROCESS + TILES + (crew.expected - PROCESS - TILES) // crew.lanes * LANES  # dask's have all lanes, always
    needed = min(needed, memory) if memory else needed
    if there.memory is not None and needed > there.memory:
        raise UsageError(
            f"the scheduler's workers have {size_text(there.memory)} each, and this may take {size_text(needed)}; "
            "give a limit that they have (--memory), or larger workers"
        )
    return replace(crew, lanes=LANES, expected=needed)


def _largest(images: Sequence[ImageInfo], cut: Container[str], project: Project) -> int:
    """Bytes that the arrays of one task take at most."""
    sizes = [1]
    for image in images:
        whole = array_bytes(image, project)
        block = WINDOW * prod(blocks_of(image, project).block)
        sizes.append(whole * min(block, prod(image.shape[:4])) // prod(image.shape[:4]) if image.key in cut else whole)
    return max(sizes)
