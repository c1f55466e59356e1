"""What a worker of a run opens before its first image: source, sink, limits and settings."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from pathlib import Path

from omero_pixclf.config import Recipe
from omero_pixclf.ilastik.project import Project
from omero_pixclf.provenance import RunRecord, utc_now
from omero_pixclf.runs.execution.concurrency import make_process_limits, make_server_limits
from omero_pixclf.runs.execution.serial import TaskFunction
from omero_pixclf.runs.execution.worker import OpenWorker
from omero_pixclf.runs.protocols import Backend, ImageSource, PictureDrawer, ResultSink, WorkerBackends
from omero_pixclf.runs.state.image_files import ImageFiles

__all__ = ["WorkerContext", "WorkerPreparation", "make_task_function", "open_worker_context"]


@dataclass(frozen=True)
class WorkerContext:
    """What is the same for all images and all workers of a run; can be pickled.

    Attributes
    ----------
    record
        The ledger's entry, but for what differs from image to image.
    folder
        The run's folder.
    locks, server
        The folder of the lock files that limit the load on a server, and the server that they are for; "" for files.
    drawer
        Draws previews; None: there are none.
    threads, memory
        Number of threads and memory limit in bytes of a worker; None: all processors, the default limit.
    """

    recipe: Recipe
    project: Project
    record: RunRecord
    folder: Path
    locks: Path
    server: str
    drawer: PictureDrawer | None = None
    threads: int | None = None
    memory: int | None = None


@dataclass(frozen=True)
class WorkerPreparation:
    """Prepares what a new worker opens, in the run's own process; call it once for each worker."""

    context: WorkerContext
    backends: WorkerBackends

    def __call__(self) -> OpenWorker:
        """Return what the worker calls; can be pickled."""
        return partial(open_worker_context, self.context, self.backends.for_new_worker())


@contextmanager
def open_worker_context(
    context: WorkerContext, backend: Backend, stopping: threading.Event, threads: int | None = None
) -> Iterator[TaskFunction]:
    """Open a worker's source and sink, and yield the function that executes its tasks.

    Parameters
    ----------
    context, backend
        What the run's process has prepared.
    stopping
        Set when the run ends early.
    threads
        Number of threads of this worker, where the context does not say it.
    """
    if context.threads is None and threads is not None:
        context = replace(context, threads=threads)
    with backend.open() as (source, sink):
        yield make_task_function(context, source, sink, stopping)


def make_task_function(
    context: WorkerContext,
    source: ImageSource,
    sink: ResultSink,
    stopping: threading.Event,
    now: Callable[[], datetime] = utc_now,
) -> TaskFunction:
    """Return the function that executes a task with a source and a sink that are open."""
    # Slow to import, and needed by workers only.
    from omero_pixclf.runs.blocks.stages import process_task
    from omero_pixclf.runs.image import ProcessingContext

    server = context.server
    limits = make_server_limits(context.locks, server, stopping) if server else make_process_limits(stopping)
    processing = ProcessingContext(
        source,
        sink,
        context.recipe,
        context.project,
        context.record,
        ImageFiles(context.folder),
        now,
        context.drawer,
        context.threads,
        context.memory,
        limits,
    )
    return partial(process_task, context=processing)
