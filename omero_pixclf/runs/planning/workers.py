"""Choose the number of workers on a machine, and threads and memory of each."""

from __future__ import annotations

from collections.abc import Container, Sequence
from dataclasses import dataclass, replace
from math import ceil, prod

from omero_pixclf.errors import UsageError
from omero_pixclf.ilastik.project import Project
from omero_pixclf.image import ImageInfo
from omero_pixclf.pixels.tiling import available_processors
from omero_pixclf.runs.blocks.block_plan import image_grid, select_images_to_split
from omero_pixclf.runs.planning.resources import DEFAULT_MEMORY, array_bytes, available_memory
from omero_pixclf.text import format_size

__all__ = [
    "DISK_BYTES_PER_IMAGE",
    "IMAGES_PER_WORKER",
    "MAX_CONCURRENCY",
    "MIN_WORKER_BYTES",
    "PROCESS_BYTES",
    "TILE_BYTES",
    "WINDOW_BLOCKS",
    "ClusterCapacity",
    "WorkerAllocation",
    "allocate_cluster_workers",
    "allocate_workers",
]

MAX_CONCURRENCY = 3  # one image is read, one computed, one written
PROCESS_BYTES = 200 * 2**20  # what a worker takes before it has an image
TILE_BYTES = 448 * 2**20  # what the computation takes besides an image's arrays
MIN_WORKER_BYTES = 512 * 2**20  # below that a worker is not worth its name
IMAGES_PER_WORKER = 8  # fewer (or blocks of large ones) do not pay for the seconds that a process takes to start
DISK_BYTES_PER_IMAGE = 2**20  # of disk for an image's rows and picture
WINDOW_BLOCKS = 2  # blocks that an image's objects reach over where one of its blocks is measured


@dataclass(frozen=True)
class WorkerAllocation:
    """The workers of a run.

    Attributes
    ----------
    workers
        Number of processes; 1: only the run's own.
    threads
        Number of computing threads of each worker.
    concurrency
        Number of images that a worker processes at a time.
    memory
        Memory limit of a worker in bytes; None: no limit was given and there is one worker.
    expected
        Memory in bytes that a worker will use at most, by the sizes of the images.
    shared
        Number of images that the workers share, block by block.
    disk
        Bytes that the run will use on disk at most, roughly: blocks of images in process, tables and previews.
    """

    workers: int
    threads: int
    concurrency: int
    memory: int | None
    expected: int
    shared: int = 0
    disk: int = 0


def allocate_workers(
    images: Sequence[ImageInfo],
    project: Project,
    *,
    workers: int | None = None,
    threads: int | None = None,
    memory: int | None = None,
    cores: int | None = None,
    free: int | None = None,
) -> WorkerAllocation:
    """Divide a machine's processors and memory among workers.

    Parameters
    ----------
    images, project
        What is to be processed, and with which project.
    workers, threads
        The numbers that the user wants; None: workers times threads is the number of processors, and each worker gets
        enough images.
    memory
        Memory limit in bytes for all workers together.
    cores, free
        Number of processors and free memory in bytes of the machine; None: as found.

    Raises
    ------
    UsageError
        The workers do not fit into the memory.
    """
    cores, free = cores or available_processors(), free or available_memory()
    room = memory or free
    if workers is None:
        tasks = sum(len(image_grid(image, project)) for image in images)
        useful = min(cores // (threads or 1), ceil(tasks / IMAGES_PER_WORKER))
        workers = max(1, useful if room is None else min(useful, room // MIN_WORKER_BYTES))
    each = None if room is None else room // workers
    if workers > 1 and room is not None and room // workers < MIN_WORKER_BYTES:
        raise UsageError(
            f"{workers} workers do not fit: each needs {format_size(MIN_WORKER_BYTES)}, and there are "
            f"{format_size(room)} for "
            "all; "
            f"use --workers {max(1, room // MIN_WORKER_BYTES)}"
        )
    limit = each if memory is not None or workers > 1 else None
    arrays = min(limit, DEFAULT_MEMORY) if limit else DEFAULT_MEMORY
    cut = select_images_to_split(images, workers, project, limit)
    largest = _largest_task_bytes(images, {image.key for image in cut}, project)
    lanes = max(1, min(MAX_CONCURRENCY, arrays // largest))
    expected = PROCESS_BYTES + TILE_BYTES + min(largest, arrays) * lanes
    expected = min(expected, limit) if limit else expected
    disk = len(images) * DISK_BYTES_PER_IMAGE + _blocks_bytes(cut, workers * lanes, project)
    shared = len(cut) if workers > 1 else 0
    return WorkerAllocation(workers, threads or max(1, cores // workers), lanes, limit, expected, shared, disk)


def _blocks_bytes(cut: Sequence[ImageInfo], tasks: int, project: Project) -> int:
    """Return the bytes of the largest images whose blocks are in process at the same time."""
    if not cut:
        return 0
    together = 1 + ceil(tasks / min(len(image_grid(image, project)) for image in cut))
    return sum(sorted(array_bytes(image, project) for image in cut)[-together:])


@dataclass(frozen=True)
class ClusterCapacity:
    """Workers of a cluster: their number, threads of each, and the least memory in bytes (None: no limit)."""

    workers: int
    threads: int
    memory: int | None


def allocate_cluster_workers(
    images: Sequence[ImageInfo], project: Project, there: ClusterCapacity, *, threads: int | None, memory: int | None
) -> WorkerAllocation:
    """Return what the workers of a cluster need for these images.

    Parameters
    ----------
    images, project, there
        What is to be processed, and the cluster.
    threads, memory
        Limits of each worker.

    Raises
    ------
    UsageError
        The workers have less memory than needed.
    """
    workers, allowed = max(1, there.workers), memory or there.memory
    if allowed is not None and allowed < MIN_WORKER_BYTES:
        raise UsageError(
            f"a worker needs {format_size(MIN_WORKER_BYTES)}, and may take {format_size(allowed)}; give each more "
            "memory (--memory)"
        )
    room = None if allowed is None else allowed * workers
    wanted = {"workers": workers, "threads": threads or there.threads, "memory": room, "free": room}
    crew = allocate_workers(images, project, **wanted, cores=workers * there.threads)
    needed = (
        PROCESS_BYTES + TILE_BYTES + (crew.expected - PROCESS_BYTES - TILE_BYTES) // crew.concurrency * MAX_CONCURRENCY
    )  # dask's have all lanes, always
    needed = min(needed, memory) if memory else needed
    if there.memory is not None and needed > there.memory:
        raise UsageError(
            f"the scheduler's workers have {format_size(there.memory)} each, and this may take {format_size(needed)}; "
            "give a limit that they have (--memory), or larger workers"
        )
    return replace(crew, concurrency=MAX_CONCURRENCY, expected=needed)


def _largest_task_bytes(images: Sequence[ImageInfo], cut: Container[str], project: Project) -> int:
    """Return the bytes of the arrays of the largest task."""
    sizes = [1]
    for image in images:
        whole = array_bytes(image, project)
        block = WINDOW_BLOCKS * prod(image_grid(image, project).block)
        sizes.append(whole * min(block, prod(image.shape[:4])) // prod(image.shape[:4]) if image.key in cut else whole)
    return max(sizes)
