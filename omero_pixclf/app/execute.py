"""Execute a run: plan it, open its manifest, choose who processes the images, and yield events."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import replace
from datetime import datetime
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from omero_pixclf import __version__
from omero_pixclf.app.backends import (
    FILE_MODULES,
    OMERO_MODULES,
    RunContext,
    open_folder,
    open_omero,
    open_session,
)
from omero_pixclf.app.plan import load_jobqueue, plan_run, plan_workers
from omero_pixclf.app.request import RunRequest, results_state_folder
from omero_pixclf.config import Recipe
from omero_pixclf.errors import UsageError
from omero_pixclf.ilastik.project import Project
from omero_pixclf.provenance import RunRecord, new_run_id, run_folder, utc_now
from omero_pixclf.report.drawer import ReportDrawer
from omero_pixclf.runs.blocks.block_plan import split_images
from omero_pixclf.runs.execution.dask_cluster import TASKS_PER_WORKER, DaskSettings, execute_on_dask
from omero_pixclf.runs.execution.forkserver import start_forkserver
from omero_pixclf.runs.execution.jobqueue import execute_on_jobqueue
from omero_pixclf.runs.execution.processes import ProcessPoolSettings, execute_in_processes
from omero_pixclf.runs.execution.serial import Executor, execute_in_process
from omero_pixclf.runs.planning.channels import class_colors
from omero_pixclf.runs.planning.plan import PlanItem, select_inputs
from omero_pixclf.runs.protocols import WorkerBackends
from omero_pixclf.runs.run import Event, RunOutput, execute_run
from omero_pixclf.runs.state.manifest import Manifest, ManifestEntry, RunHeader
from omero_pixclf.runs.state.recovery import recover_results
from omero_pixclf.runs.worker_context import WorkerContext, WorkerPreparation, make_task_function

if TYPE_CHECKING:
    from omero_pixclf.connector.sessions.login import Login
    from omero_pixclf.connector.sessions.session import Session

__all__ = [
    "execute_plan",
    "make_drawer",
    "make_run_record",
    "run_in_context",
    "run_in_folder",
    "run_in_omero",
    "run_in_session",
]


def run_in_omero(
    login: Login,
    request: RunRequest,
    *,
    now: Callable[[], datetime] = utc_now,
    salt: Callable[[int], bytes] = os.urandom,
) -> Iterator[Event]:
    """Apply a recipe to all images below the targets in OMERO, and yield an event for each step."""
    _start_imports(request, OMERO_MODULES)
    with open_session(login) as session, open_omero(session, request, login=login) as context:
        yield from run_in_context(context, request, now=now, salt=salt)


def run_in_session(
    session: Session,
    request: RunRequest,
    *,
    now: Callable[[], datetime] = utc_now,
    salt: Callable[[int], bytes] = os.urandom,
) -> Iterator[Event]:
    """Do what `run_in_omero` does, on a session that is open, and in this process only."""
    with open_omero(session, request) as context:
        yield from run_in_context(context, request, now=now, salt=salt)


def run_in_folder(
    out: Path,
    request: RunRequest,
    *,
    now: Callable[[], datetime] = utc_now,
    salt: Callable[[int], bytes] = os.urandom,
) -> Iterator[Event]:
    """Apply a recipe to image files; the results, and the state of runs, are in a folder."""
    request = replace(request, folder=request.folder or results_state_folder(out))
    _start_imports(request, FILE_MODULES)
    with open_folder(out, request) as context:
        yield from run_in_context(context, request, now=now, salt=salt)


def run_in_context(
    context: RunContext,
    request: RunRequest,
    *,
    now: Callable[[], datetime] = utc_now,
    salt: Callable[[int], bytes] = os.urandom,
) -> Iterator[Event]:
    """Plan and execute a run whose source, sink and project are open, and yield an event for each step.

    Parameters
    ----------
    context
        The open source, sink and project.
    request
        Images, recipe and options of the run.
    now, salt
        The clock, and the source of random bytes for the run's id.
    """
    request = request.name_after(context.project)
    items = plan_run(context, request)
    with _open_manifest(context, request, now, salt) as manifest:
        yield from execute_plan(items, context, request, manifest, now)


def _start_imports(request: RunRequest, modules: Sequence[str]) -> None:
    """Start to import what workers, or the scheduler's client, need anyway, while the run is being planned."""
    if request.dask:
        _import_in_background("distributed")
    elif (request.workers or 1) > 1:
        start_forkserver(modules)


def _import_in_background(module: str) -> None:
    threading.Thread(target=_try_import, args=(module,), daemon=True).start()


def _try_import(module: str) -> None:
    with suppress(ImportError):  # the code that needs the module says that it is missing
        import_module(module)


def _open_manifest(
    context: RunContext, request: RunRequest, now: Callable[[], datetime], salt: Callable[[int], bytes]
) -> AbstractContextManager[Manifest]:
    """Create the manifest of a new run, or open that of the run to resume."""
    digest = request.recipe_hash(context.project)
    if request.resume is not None:
        return _reopen_manifest(context, request, request.resume, digest)
    moment = now()
    header = RunHeader(
        new_run_id(moment, salt(3)),
        request.recipe.model_dump(mode="json"),
        digest,
        request.targets,
        context.location,
        context.user,
        moment.isoformat(timespec="seconds"),
        request.shard_text,
        axes=request.axes,
    )
    return Manifest.create(run_folder(request.state_folder, header.run_id), header)


@contextmanager
def _reopen_manifest(context: RunContext, request: RunRequest, run_id: str, digest: str) -> Iterator[Manifest]:
    """Open the manifest of an earlier run.

    Raises
    ------
    UsageError
        The request is not the one of that run.
    """
    if request.force:
        raise UsageError(f"run {run_id}: a resumed run reprocesses nothing: omit force, or start a new run")
    with Manifest.open(run_folder(request.state_folder, run_id)) as manifest:
        header = manifest.header
        if header.recipe_hash != digest:
            raise UsageError(f"run {header.run_id}: its project or settings have changed since; start a new run")
        if (header.server, header.user) != (context.location, context.user):
            here = f"{context.user or 'files'} on {context.location}"
            raise UsageError(
                f"run {header.run_id} belongs to {header.user or 'files'} on {header.server}, not {here}: resume it "
                "there"
            )
        requested = (request.recipe.title, request.targets, request.shard_text)
        if requested != (Recipe.model_validate(header.recipe).title, header.targets, header.shard):
            raise UsageError(f"run {header.run_id}: its name, targets and shard cannot be changed; start a new run")
        yield manifest


def execute_plan(
    items: Sequence[PlanItem], context: RunContext, request: RunRequest, manifest: Manifest, now: Callable[[], datetime]
) -> Iterator[Event]:
    """Process the images of a plan with the workers that the request asks for, and yield an event for each step."""
    recipe, whole = request.recipe, request.shard is None
    record = make_run_record(manifest, recipe, context.project, now(), axes=request.axes)
    inputs = select_inputs(items)
    manifest.add([ManifestEntry(i.image.key, i.image.place.container, i.image.name, "due", i.reason) for i in inputs])
    earlier = {item.image.key for item in items if item.decision == "done"}
    record = replace(record, planned=sum(e.state == "done" or e.key not in earlier for e in manifest.entries()))
    if recipe.output.table and whole:
        recover_results(items, manifest, context.sink, record.recipe)
    drawer = make_drawer(recipe, context.project, items)
    output = RunOutput(manifest, context.sink, record, drawer, now, tables=recipe.output.table)
    executor = _choose_executor(items, context, request, output)
    if drawer is not None and whole:
        # Slow to import: start now, while workers start, not when the first container is complete.
        _import_in_background("omero_pixclf.report.report_files")
    yield from execute_run(items, executor, output, finish=whole)


def make_run_record(
    manifest: Manifest, recipe: Recipe, project: Project, started: datetime, *, axes: str | None = None
) -> RunRecord:
    """Return the ledger's entry of a run, but for what differs from image to image."""
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


def make_drawer(recipe: Recipe, project: Project, items: Sequence[PlanItem] = ()) -> ReportDrawer | None:
    """Return what draws previews and reports; None where the recipe asks for none."""
    if not recipe.output.contact_sheet:
        return None
    previewed = frozenset(item.image.key for item in items if item.has_preview)
    return ReportDrawer(class_colors(recipe, project), previewed)


def _choose_executor(
    items: Sequence[PlanItem], context: RunContext, request: RunRequest, output: RunOutput
) -> Executor:
    """Return what processes the images: this process, other processes, a dask cluster, or jobs of a batch system."""
    local = request if context.workers else replace(request, workers=1, dask="")
    workers = plan_workers(items, context.project, local)
    common = WorkerContext(
        request.recipe,
        context.project,
        output.record,
        output.manifest.folder.absolute(),
        (request.state_folder / ".locks").absolute(),
        context.server,
        output.drawer,
        workers.threads,
        workers.memory,
    )
    if request.dask and context.workers is not None:
        return _make_cluster_executor(common, context.workers, request, output)
    if context.workers is None or workers.workers == 1:
        stopping = threading.Event()
        function = make_task_function(common, context.source, context.sink, stopping, output.now)
        concurrency = workers.concurrency if context.workers else 1
        return partial(execute_in_process, function=function, concurrency=concurrency, stopping=stopping)
    split = partial(
        split_images, recipe=request.recipe, project=context.project, files=output.manifest, memory=workers.memory
    )
    preparation = WorkerPreparation(common, context.workers)
    pool = ProcessPoolSettings(workers.workers, preparation, workers.concurrency, split, context.modules)
    return partial(execute_in_processes, pool=pool)


def _make_cluster_executor(
    common: WorkerContext, backends: WorkerBackends, request: RunRequest, output: RunOutput
) -> Executor:
    """Return what processes the images on a dask cluster, or by jobs that become one.

    Each worker has its own number of threads, and the memory limit is for each worker, with all its tasks.
    """
    jobs = load_jobqueue(request)
    memory = request.memory or (jobs.worker_memory if jobs else None)
    task_memory = memory // TASKS_PER_WORKER if memory else None
    split = partial(
        split_images, recipe=common.recipe, project=common.project, files=output.manifest, memory=task_memory
    )
    preparation = WorkerPreparation(replace(common, threads=request.threads, memory=memory), backends)
    cluster = DaskSettings(request.dask, preparation, split)
    if jobs is not None:
        return partial(execute_on_jobqueue, jobs=jobs, cluster=cluster)
    return partial(execute_on_dask, cluster=cluster)
