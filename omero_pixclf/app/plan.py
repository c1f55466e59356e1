"""Plan a run: from targets and recipe to the images, what will happen to each, and the workers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from omero_pixclf.app.backends import RunContext, open_folder, open_omero, open_session
from omero_pixclf.app.request import RunRequest, results_state_folder
from omero_pixclf.direct.source import DirectSource
from omero_pixclf.errors import UsageError
from omero_pixclf.ilastik.project import Project
from omero_pixclf.runs.execution.dask_cluster import read_cluster_capacity
from omero_pixclf.runs.execution.jobqueue import JobQueueSettings, load_jobqueue_settings
from omero_pixclf.runs.planning.channels import class_indices
from omero_pixclf.runs.planning.estimate import Estimate, SampleAnalyzer, estimate_run
from omero_pixclf.runs.planning.image_checks import ImageChecks
from omero_pixclf.runs.planning.plan import PlanItem, plan_images
from omero_pixclf.runs.planning.resources import check_disk_space
from omero_pixclf.runs.planning.sampling import choose_previewed
from omero_pixclf.runs.planning.shards import select_shard
from omero_pixclf.runs.planning.workers import (
    ClusterCapacity,
    WorkerAllocation,
    allocate_cluster_workers,
    allocate_workers,
)
from omero_pixclf.runs.protocols import ImageSource

if TYPE_CHECKING:
    from omero_pixclf.connector.sessions.login import Login

__all__ = [
    "DIRECT_SAMPLES",
    "RunPreview",
    "load_jobqueue",
    "plan_in_folder",
    "plan_in_omero",
    "plan_run",
    "plan_workers",
]

DIRECT_SAMPLES = 8  # images of a plan that are opened to see whether they can be read directly


@dataclass(frozen=True)
class RunPreview:
    """A run before it starts.

    Attributes
    ----------
    workers
        The workers that the run would get.
    estimate
        Time and objects, where images were sampled.
    direct
        How many of the sampled images can be read from mounted storage, as text; "" if that was not asked for.
    """

    project: Project
    items: tuple[PlanItem, ...]
    workers: WorkerAllocation
    estimate: Estimate | None
    direct: str = ""


def plan_in_omero(login: Login, request: RunRequest, *, samples: int = 0) -> RunPreview:
    """Plan a run in OMERO without starting it.

    Parameters
    ----------
    login
        The server and the user.
    request
        Images, recipe and options of the run.
    samples
        Number of images to analyze for an estimate of time and objects.
    """
    with open_session(login) as session, open_omero(session, request) as context:
        return _preview_run(context, request, samples)


def plan_in_folder(out: Path, request: RunRequest, *, samples: int = 0) -> RunPreview:
    """Plan a run over image files without starting it; parameters as for `plan_in_omero`."""
    request = replace(request, folder=request.folder or results_state_folder(out))
    with open_folder(out, request) as context:
        return _preview_run(context, request, samples)


def _preview_run(context: RunContext, request: RunRequest, samples: int) -> RunPreview:
    project, request = context.project, request.name_after(context.project)
    items = plan_run(context, request)
    workers = plan_workers(items, project, request)
    analyze = SampleAnalyzer(context.source, request.recipe, project, workers.threads, workers.memory)
    expected = estimate_run(items, analyze, samples=samples, workers=workers.workers) if samples else None
    return RunPreview(project, tuple(items), workers, expected, _try_direct_reading(context.source, items))


def _try_direct_reading(source: ImageSource, items: Sequence[PlanItem]) -> str:
    """Open some evenly spaced images, unless the estimate has read some, and say how many are read directly."""
    if not isinstance(source, DirectSource):
        return ""
    if source.tally:
        return str(source.tally)
    readable = [item.image for item in items if item.decision not in ("refused", "made")]
    for image in readable[:: max(1, len(readable) // DIRECT_SAMPLES)][:DIRECT_SAMPLES]:
        with source.open(image):
            pass
    return str(source.tally)


def plan_run(context: RunContext, request: RunRequest) -> list[PlanItem]:
    """List the images of the targets, and decide for each what the run will do with it.

    Parameters
    ----------
    context
        Where the run takes place.
    request
        Its recipe has a name (`RunRequest.name_after`).

    Raises
    ------
    UsageError
        The project has no such label, or there are no images.
    """
    recipe, project, sink = request.recipe, context.project, context.sink
    class_indices(recipe, project)  # a wrong label is wrong for all images: refuse it before listing them
    images = list(context.source.images(request.targets))
    if not images:
        raise UsageError(f"no images in {' '.join(request.targets)}; name a container or folder that holds some")
    inputs = [image for image in images if not image.made_by]
    if request.shard is not None:
        # Shards are cut from the inputs only: other shards make images while this one is planned.
        images = [*select_shard(inputs, *request.shard), *(image for image in images if image.made_by)]
    checks = ImageChecks(recipe, project, request.memory, request.state_folder)
    digest = request.recipe_hash(project)
    items = list(plan_images(images, sink, recipe, digest, checks.find_problem, force=request.force, project=project))
    # The previews of a shard go onto one sheet with those of the other shards, which are planned elsewhere.
    processed = [i.image for i in items if i.decision in ("due", "replace") or i.earlier == request.resume]
    previewed = choose_previewed(processed if request.shard is None else inputs)
    return [replace(item, has_preview=item.image.key in previewed) for item in items]


def plan_workers(items: Sequence[PlanItem], project: Project, request: RunRequest) -> WorkerAllocation:
    """Return the workers that a request gets: on this machine, or those of its scheduler.

    Raises
    ------
    UsageError
        The work does not fit into the workers' memory.
    OutputError
        The scheduler does not answer, or the disk has not enough space for what the run leaves.
    """
    images = [item.image for item in items if item.decision in ("due", "replace")]
    if request.dask and images:  # without images to process, no scheduler is asked
        limits = {"threads": request.threads, "memory": request.memory}
        workers = allocate_cluster_workers(images, project, _read_capacity(request), **limits)
    else:
        wanted = {"workers": request.workers, "threads": request.threads, "memory": request.memory}
        workers = allocate_workers(images, project, **wanted)
    check_disk_space(workers.disk, request.state_folder)
    return workers


def _read_capacity(request: RunRequest) -> ClusterCapacity:
    jobs = load_jobqueue(request)
    if jobs is None:
        return read_cluster_capacity(request.dask)
    return ClusterCapacity(jobs.workers, jobs.cores // jobs.processes, jobs.worker_memory)


def load_jobqueue(request: RunRequest) -> JobQueueSettings | None:
    """Return the jobs that are a request's workers, if it names a file with them; None if it names a scheduler."""
    return load_jobqueue_settings(Path(request.dask)) if request.dask.endswith(".toml") else None
