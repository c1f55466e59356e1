"""Where edges are plugged into runs: OMERO or files on the outside, plan and execution within.

The doors (command line, OMERO script) call these functions and show what they yield.
"""

from __future__ import annotations

import getpass
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omero_pixclf.app.backends import (
    FILE_MODULES,
    OMERO_MODULES,
    Edges,
    folder_edges,
    joined_edges,
    joining,
    omero_edges,
    utc_now,
)
from omero_pixclf.app.execute import RunContext, RunRequest, execute_plan, plan_workers, start_imports
from omero_pixclf.config import Recipe
from omero_pixclf.direct.source import DirectSource
from omero_pixclf.errors import ImageError, InputError, UsageError
from omero_pixclf.files.protection import check_results_folder
from omero_pixclf.ilastik.project import Project, read_project
from omero_pixclf.image import ImageInfo
from omero_pixclf.pixels.predict import find_incompatibility
from omero_pixclf.provenance import new_run_id, run_folder
from omero_pixclf.runs.planning.channels import class_indices, match_channels
from omero_pixclf.runs.planning.estimate import Estimate, SampleResult, crop_middle_block, estimate_run
from omero_pixclf.runs.planning.plan import PlanItem, plan_images
from omero_pixclf.runs.planning.resources import find_disk_shortage
from omero_pixclf.runs.planning.sampling import choose_previewed
from omero_pixclf.runs.planning.shards import parse_shard, select_shard
from omero_pixclf.runs.planning.workers import WorkerAllocation
from omero_pixclf.runs.protocols import ImageSource, ResultSink
from omero_pixclf.runs.run import Event
from omero_pixclf.runs.state.manifest import Manifest, RunHeader, state_folder
from omero_pixclf.runs.state.state_folders import IN_RESULTS

if TYPE_CHECKING:
    from omero_pixclf.connector.sessions.login import Login
    from omero_pixclf.connector.sessions.session import Session

__all__ = [
    "RunPreview",
    "RunRequest",
    "load_project",
    "load_resumed_request",
    "open_session",
    "plan_in_folder",
    "plan_in_omero",
    "run_in_folder",
    "run_in_omero",
    "run_in_session",
    "run_state_folder",
]

DIRECT_SAMPLES = 8  # images of a plan that are opened to see whether they can be read directly


def run_in_omero(
    login: Login,
    request: RunRequest,
    *,
    now: Callable[[], datetime] = utc_now,
    salt: Callable[[int], bytes] = os.urandom,
) -> Iterator[Event]:
    """Apply a recipe to everything below the targets in OMERO, and yield what happens."""
    start_imports(request, OMERO_MODULES)
    with open_session(login) as session:
        yield from run_in_session(session, request, login=login, now=now, salt=salt)


def run_in_session(
    session: Session,
    request: RunRequest,
    *,
    login: Login | None = None,
    wrap: Callable[[ImageSource, ResultSink], Edges] | None = None,
    now: Callable[[], datetime] = utc_now,
    salt: Callable[[int], bytes] = os.urandom,
) -> Iterator[Event]:
    """`run_in_omero` on a session that is open.

    ``login``: how it was opened, where other processes shall join it; ``wrap`` may put something around both edges of
    the run, which then stays in this process.
    """
    project = load_project(session, request.recipe, request.targets)
    request = _titled(request, project)
    recipe = request.recipe
    server = f"{session.host}:{session.client.getProperty('omero.port')}"
    renew = None if login is None else lambda: partial(joined_edges, joining(session, login), recipe, request.direct)
    with omero_edges(session, recipe, request.direct) as (source, sink):
        if wrap is not None:
            source, sink = wrap(source, sink)
        items = _plan(source, sink, project, request)
        with _manifest(request, project, session.host, session.user_name, now, salt) as manifest:
            yield from execute_plan(
                items, RunContext(source, sink, project, server, renew, OMERO_MODULES), request, manifest, now
            )


def run_in_folder(
    out: Path,
    request: RunRequest,
    *,
    now: Callable[[], datetime] = utc_now,
    salt: Callable[[int], bytes] = os.urandom,
) -> Iterator[Event]:
    """Apply a recipe to image files, results into a folder; the state of runs lies there too."""
    check_results_folder(out)
    start_imports(request, FILE_MODULES)
    project = _project_file(request)
    request = _titled(request, project)
    placed = replace(request, folder=request.folder or run_state_folder(out))
    edges = partial(folder_edges, out, request.axes)
    with edges() as (source, sink):
        site = RunContext(source, sink, project, renew=lambda: edges, modules=FILE_MODULES)
        items = _plan(source, sink, project, request)
        with _manifest(placed, project, str(out), "", now, salt) as manifest:
            yield from execute_plan(items, site, placed, manifest, now)


def _titled(request: RunRequest, project: Project) -> RunRequest:
    """The request with its recipe called after the project where it has no name: what stands is found by that."""
    return replace(request, recipe=request.recipe.called_after(project.name))


def _project_file(request: RunRequest) -> Project:
    return read_project(Path(request.recipe.classifier.project))


def run_state_folder(out: Path) -> Path:
    """Where the state of runs over files is kept: beside their results."""
    return out / IN_RESULTS


@dataclass(frozen=True)
class RunPreview:
    """A run before it is done; ``direct``: how some of its images could be read, where that was to be direct."""

    project: Project
    items: tuple[PlanItem, ...]
    crew: WorkerAllocation
    estimate: Estimate | None
    direct: str = ""


def plan_in_omero(login: Login, request: RunRequest, *, samples: int = 0) -> RunPreview:
    """What `run_in_omero` would do, without doing it; with ``samples`` images tried, to estimate time and objects."""
    with open_session(login) as session:
        project = load_project(session, request.recipe, request.targets)
        with omero_edges(session, request.recipe, request.direct) as (source, sink):
            return _preview(source, sink, project, _titled(request, project), samples)


def plan_in_folder(out: Path, request: RunRequest, *, samples: int = 0) -> RunPreview:
    """What `run_in_folder` would do, without doing it."""
    check_results_folder(out)
    with folder_edges(out, request.axes) as (source, sink):
        project = _project_file(request)
        return _preview(source, sink, project, _titled(request, project), samples)


def _preview(source: ImageSource, sink: ResultSink, project: Project, request: RunRequest, samples: int) -> RunPreview:
    items = _plan(source, sink, project, request)
    crew = plan_workers(items, project, request)

    def look(image: ImageInfo) -> SampleResult:
        from omero_pixclf.runs.analysis import analyze_image  # slow to import, and most who plan look at nothing

        with source.open(image) as reader:
            part = crop_middle_block(reader)
            found = analyze_image(part, request.recipe, project, threads=crew.threads, memory=crew.memory)
            return SampleResult(prod(part.info.shape), dict(found.summary.objects))

    expected = estimate_run(items, look, samples=samples, workers=crew.workers) if samples else None
    return RunPreview(project, tuple(items), crew, expected, _tried(source, items))


def _tried(source: ImageSource, items: Sequence[PlanItem]) -> str:
    """How some evenly spaced images can be read, or those of the estimate, where the source reads directly."""
    if not isinstance(source, DirectSource):
        return ""
    if source.tally:
        return str(source.tally)
    readable = [item.image for item in items if item.decision not in ("refused", "made")]
    for image in readable[:: max(1, len(readable) // DIRECT_SAMPLES)][:DIRECT_SAMPLES]:
        with source.open(image):
            pass
    return str(source.tally)


def open_session(login: Login) -> AbstractContextManager[Session]:
    """A session; a person at a terminal may be asked for the password."""
    from omero_pixclf.connector.sessions.session import connect

    return connect(login, ask=getpass.getpass if sys.stdin.isatty() else None)


def load_project(session: Session, recipe: Recipe, targets: Sequence[str] = ()) -> Project:
    """The recipe's project: a file here, or one that is attached in OMERO."""
    from omero_pixclf.connector.files import read_project_bytes

    wanted = recipe.classifier.project
    if Path(wanted).is_file():
        return read_project(Path(wanted))
    if wanted.startswith("FileAnnotation:") or os.sep not in wanted:
        name, content = read_project_bytes(session, wanted, targets)
        return read_project(content, name=name)
    raise InputError(
        f"{wanted}: no such file; check the path, or name a file attached in OMERO, such as FileAnnotation:12"
    )


def _plan(source: ImageSource, sink: ResultSink, project: Project, request: RunRequest) -> list[PlanItem]:
    recipe = request.recipe
    class_indices(recipe, project)  # a wrong label is wrong for all images: refuse before listing them

    def refusal(image: ImageInfo) -> str | None:
        if 0 in image.shape:
            return f"{image.key}: has no pixels; is its import unfinished?"
        try:
            channels = match_channels(recipe, project, image)
        except ImageError as error:
            return str(error)
        room = find_disk_shortage(image, project, request.memory, request.folder or state_folder())
        return room or find_incompatibility(project, replace(image, shape=(*image.shape[:4], len(channels))))

    digest = request.recipe_hash(project)
    images = list(source.images(request.targets))
    if not images:
        raise UsageError(f"no images in {' '.join(request.targets)}; name a container or folder that holds some")
    inputs = [image for image in images if not image.made_by]
    if request.shard is not None:
        # Shares follow from the inputs alone: while this one is planned, others make images.
        images = [*select_shard(inputs, *request.shard), *(image for image in images if image.made_by)]
    items = list(plan_images(images, sink, recipe, digest, refusal, force=request.force, project=project))
    # A share's pictures go onto a sheet with those of the others, which are planned elsewhere.
    worked_on = [i.image for i in items if i.decision in ("due", "replace") or i.earlier == request.resume]
    shown = choose_previewed(worked_on if request.shard is None else inputs)
    return [replace(item, pictured=item.image.key in shown) for item in items]


def _manifest(
    request: RunRequest,
    project: Project,
    server: str,
    user: str,
    now: Callable[[], datetime],
    salt: Callable[[int], bytes],
) -> AbstractContextManager[Manifest]:
    digest = request.recipe_hash(project)
    if request.resume is None:
        moment = now()
        header = RunHeader(
            new_run_id(moment, salt(3)),
            request.recipe.model_dump(mode="json"),
            digest,
            request.targets,
            server,
            user,
            moment.isoformat(timespec="seconds"),
            "/".join(map(str, request.shard or ())),
            axes=request.axes,
        )
        return Manifest.create(run_folder(request.folder or state_folder(), header.run_id), header)
    return _reopened(request, digest, server, user)


@contextmanager
def _reopened(request: RunRequest, digest: str, server: str, user: str) -> Iterator[Manifest]:
    """An earlier run's manifest, if what is asked for is what it was about."""
    assert request.resume is not None
    if request.force:
        raise UsageError(f"run {request.resume}: a resumed run repeats nothing: leave force out, or start a new run")
    with Manifest.open(run_folder(request.folder or state_folder(), request.resume)) as manifest:
        header = manifest.header
        if header.recipe_hash != digest:
            raise UsageError(f"run {header.run_id}: its project or settings have changed since; start a new run")
        if (header.server, header.user) != (server, user):
            here = f"{header.user or 'files'} on {header.server}, not {user or 'files'} on {server}"
            raise UsageError(f"run {header.run_id} belongs to {here}: go on with it there")
        asked = (request.recipe.title, request.targets, "/".join(map(str, request.shard or ())))
        if asked != (Recipe.model_validate(header.recipe).title, header.targets, header.shard):
            raise UsageError(f"run {header.run_id}: its name, targets and share cannot be changed; start a new run")
        yield manifest


def load_resumed_request(run_id: str, *, folder: Path | None = None, **machine: Any) -> RunRequest:
    """The request of an earlier run, to go on with it; ``folder`` is where run folders are kept, if elsewhere.

    ``machine``: ``threads``, ``memory``, ``workers``, ``dask`` and ``direct`` of the `RunRequest`.

    Raises
    ------
    UsageError
        Where this machine knows no such run.
    """
    with Manifest.open(run_folder(folder or state_folder(), run_id)) as manifest:
        header = manifest.header
    recipe = Recipe.model_validate(header.recipe)
    shard = parse_shard(header.shard) if header.shard else None
    return RunRequest(header.targets, recipe, resume=run_id, folder=folder, shard=shard, axes=header.axes, **machine)
