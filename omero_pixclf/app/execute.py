"""A plan carried out where the request wants it: in this process, in several, on a cluster, or only a share of it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from importlib import import_module
from pathlib import Path

from omero_pixclf import __version__
from omero_pixclf.app.backends import Edges, WorkerContext, at_work, at_work_with
from omero_pixclf.config import Recipe
from omero_pixclf.direct.mounts import NOTHING_MOUNTED, DirectSettings
from omero_pixclf.ilastik.project import Project
from omero_pixclf.image import ImageInfo
from omero_pixclf.provenance import RunRecord
from omero_pixclf.runs.blocks.block_plan import split_images
from omero_pixclf.runs.execution.dask_cluster import TASKS_PER_WORKER as DASK_LANES
from omero_pixclf.runs.execution.dask_cluster import DaskSettings, execute_on_dask, read_cluster_capacity
from omero_pixclf.runs.execution.forkserver import start_forkserver
from omero_pixclf.runs.execution.jobqueue import JobQueueSettings, execute_on_jobqueue, load_jobqueue_settings
from omero_pixclf.runs.execution.processes import ProcessPoolSettings, execute_in_processes
from omero_pixclf.runs.execution.serial import Executor, execute_in_process
from omero_pixclf.runs.planning.channels import class_colors
from omero_pixclf.runs.planning.plan import PlanItem, select_inputs
from omero_pixclf.runs.planning.resources import check_disk_space
from omero_pixclf.runs.planning.workers import (
    ClusterCapacity,
    WorkerAllocation,
    allocate_cluster_workers,
    allocate_workers,
)
from omero_pixclf.runs.protocols import ImageSource, ResultSink
from omero_pixclf.runs.run import Event, Pictures, execute_run
from omero_pixclf.runs.state.manifest import Manifest, ManifestEntry, state_folder
from omero_pixclf.runs.state.recovery import recover_results
from omero_pixclf.table import Table

__all__ = [
    "RunContext",
    "RunRequest",
    "execute_plan",
    "make_run_record",
    "pictures_of",
    "plan_workers",
    "start_imports",
]


@dataclass(frozen=True)
class RunRequest:
    """What is asked of a run.

    Attributes
    ----------
    targets
        ``"Dataset:7"``, ``"Plate:3"``, …, or paths.
    force
        Repeat what is done.
    resume
        The id of a run to go on with.
    threads, memory
        How much of the machine to use; None: all cores, no bound.
    folder
        Where run folders are kept; None: the user's state folder.
    workers
        Processes that work; 1: this one; None: as many as the cores and the images are good for.
    dask
        Address of a scheduler whose workers do the work instead, or a TOML file that says which jobs shall be workers.
    shard
        ``(2, 8)``: the second of eight shares of the images; containers are finished by `omero_pixclf.app.merge`.
    direct
        The server's storage as it is mounted here, and on every other machine that works; results do not depend on it.
    axes
        The axes of image files, such as ``"zyxc"``; None takes what each file says.
    """

    targets: tuple[str, ...]
    recipe: Recipe
    force: bool = False
    resume: str | None = None
    threads: int | None = None
    memory: int | None = None
    folder: Path | None = None
    workers: int | None = 1
    dask: str = ""
    shard: tuple[int, int] | None = None
    direct: DirectSettings = NOTHING_MOUNTED
    axes: str | None = None

    def recipe_hash(self, project: Project) -> str:
        """What makes this run the same as another on the same pixels (`omero_pixclf.config.Recipe.hash`)."""
        return self.recipe.hash(project.sha256, self.axes)


@dataclass(frozen=True)
class RunContext:
    """Where a run takes place.

    Attributes
    ----------
    server
        Whose limits count; "" where there is none.
    renew
        How another process opens both edges for itself, asked anew for each; None: the run stays in this process.
    modules
        What such a process imports first.
    """

    source: ImageSource
    sink: ResultSink
    project: Project
    server: str = ""
    renew: Callable[[], Callable[[], AbstractContextManager[Edges]]] | None = None
    modules: tuple[str, ...] = ()


def start_imports(request: RunRequest, modules: Sequence[str]) -> None:
    """Begin with what workers or their scheduler's client need in any case, while the run is still being planned."""
    if request.dask:
        _import_in_background("distributed")
    elif (request.workers or 1) > 1:
        start_forkserver(modules)


def _import_in_background(module: str) -> None:
    def attempt() -> None:
        with suppress(ImportError):  # whoever needs it says what is missing
            import_module(module)

    threading.Thread(target=attempt, daemon=True).start()


def execute_plan(
    items: Sequence[PlanItem], site: RunContext, request: RunRequest, manifest: Manifest, now: Callable[[], datetime]
) -> Iterator[Event]:
    """Do what is planned, where the request wants it, and yield what happens."""
    recipe, shard = request.recipe, request.shard
    record = make_run_record(manifest, recipe, site.project, now(), axes=request.axes)
    inputs = select_inputs(items)
    manifest.add([ManifestEntry(i.image.key, i.image.place.container, i.image.name, "due", i.reason) for i in inputs])
    earlier = {item.image.key for item in items if item.decision == "done"}
    record = replace(record, planned=sum(e.state == "done" or e.key not in earlier for e in manifest.entries()))
    if recipe.output.table and shard is None:
        recover_results(items, manifest, site.sink, record.recipe)
    executor = _executor(items, site, request, manifest, record, now)
    if recipe.output.contact_sheet and shard is None:
        # Slow to import: now, while workers start, and not when all is done but the last container's pictures.
        _import_in_background("omero_pixclf.report.report_files")
    drawn = pictures_of(manifest, record, site.project, recipe, now)
    tables, finish = recipe.output.table, shard is None
    yield from execute_run(items, manifest, site.sink, record, executor, drawn, tables=tables, finish=finish)


def make_run_record(
    manifest: Manifest, recipe: Recipe, project: Project, started: datetime, *, axes: str | None = None
) -> RunRecord:
    """What the ledger says of every image of a run."""
    settings = recipe.flat() | ({} if axes is None else {"axes": axes})
    return RunRecord(
        manifest.header.run_id,
        "",
        recipe.title,
        recipe.hash(project.sha256, axes),
        "",
        project.name,
        project.sha256,
        __version__,
        started,
        settings=settings,
    )


def pictures_of(
    manifest: Manifest, record: RunRecord, project: Project, recipe: Recipe, now: Callable[[], datetime]
) -> Pictures:
    """What draws a container's pictures, where the recipe wants them."""

    def pictures(images: Sequence[ImageInfo], tables: Mapping[str, Table]) -> Sequence[Path]:
        from omero_pixclf.report.report_files import write_report_files  # matplotlib is slow to import

        if not recipe.output.contact_sheet:
            return ()
        sought = class_colors(recipe, project)
        return write_report_files(manifest, replace(record, finished=now()), images, tables, sought)

    return pictures


def _executor(
    items: Sequence[PlanItem],
    site: RunContext,
    request: RunRequest,
    manifest: Manifest,
    record: RunRecord,
    now: Callable[[], datetime],
) -> Executor:
    """Who works on the images."""
    crew = plan_workers(items, site.project, request if site.renew else replace(request, workers=1, dask=""))
    locks = (request.folder or state_folder()) / ".locks"
    fixed = (request.recipe, site.project, record, manifest.folder.absolute(), locks.absolute(), site.server)
    shown = frozenset(item.image.key for item in items if item.pictured)
    place, renew = WorkerContext(*fixed, crew.threads, crew.memory, shown), site.renew
    cut = partial(split_images, recipe=request.recipe, project=site.project, files=manifest, memory=crew.memory)
    if request.dask and renew is not None:
        # Workers are elsewhere: each has its own threads, and may take all of the memory allowed, for all its lanes.
        batch = _load_jobqueue(request)
        memory = request.memory or (batch.worker_memory if batch else None)
        given = replace(place, threads=request.threads, memory=memory)
        cut = partial(cut, memory=memory // DASK_LANES if memory else None)
        cluster = DaskSettings(request.dask, lambda: partial(at_work_with, given, renew()), cut)
        return (
            partial(execute_on_jobqueue, batch=batch, cluster=cluster)
            if batch
            else partial(execute_on_dask, cluster=cluster)
        )
    if renew is None or crew.workers == 1:
        stopping = threading.Event()
        work = place.work(site.source, site.sink, stopping, now)
        return partial(execute_in_process, work=work, lanes=crew.lanes if renew else 1, stopping=stopping)
    pool = ProcessPoolSettings(crew.workers, lambda: partial(at_work, place, renew()), crew.lanes, cut, site.modules)
    return partial(execute_in_processes, pool=pool)


def crew_of(items: Sequence[PlanItem], project: Project, request: RunRequest) -> WorkerAllocation:
    """The workers that a request gets on this machine for what is due in a plan."""
    wanted = {"workers": request.workers, "threads": request.threads, "memory": request.memory}
    return allocate_workers(_due(items), project, **wanted)


def plan_workers(items: Sequence[PlanItem], project: Project, request: RunRequest) -> WorkerAllocation:
    """The workers that a request would get, wherever they are: those of a scheduler are asked for.

    Raises
    ------
    UsageError
        Where the work would not fit into their memory.
    OutputError
        Where the scheduler does not answer, or the disk has no room for what the run would leave.
    """
    there = request.dask and _due(items)  # with nothing to do, nobody is asked
    crew = _crew_there(items, project, request) if there else crew_of(items, project, request)
    check_disk_space(crew.disk, request.folder or state_folder())
    return crew


def _crew_there(items: Sequence[PlanItem], project: Project, request: RunRequest) -> WorkerAllocation:
    batch = _load_jobqueue(request)
    if batch is not None:
        there = ClusterCapacity(batch.workers, batch.cores // batch.processes, batch.worker_memory)
    else:
        there = read_cluster_capacity(request.dask)
    return allocate_cluster_workers(_due(items), project, there, threads=request.threads, memory=request.memory)


def _due(items: Sequence[PlanItem]) -> list[ImageInfo]:
    return [item.image for item in items if item.decision in ("due", "replace")]


def _load_jobqueue(request: RunRequest) -> JobQueueSettings | None:
    """The jobs that a request's workers are, where it names a file of settings instead of a scheduler."""
    return load_jobqueue_settings(Path(request.dask)) if request.dask.endswith(".toml") else None
