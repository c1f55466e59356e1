"""Where edges are plugged into runs: OMERO or files on the outside, plan and execution within.

The doors (command line, OMERO script) call these functions and show what they yield.
"""

from __future__ import annotations

import getpass
import os
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from omero_pixclf import __version__
from omero_pixclf.config import Recipe
from omero_pixclf.errors import ImageError, InputError, UsageError
from omero_pixclf.ilastik.project import Project, read_project
from omero_pixclf.image import AXES, ImageInfo
from omero_pixclf.pixels.predict import refusal as engine_refusal
from omero_pixclf.record import RunRecord
from omero_pixclf.runs.channels import applied_channels, class_indices
from omero_pixclf.runs.edges import ImageSource, ResultSink
from omero_pixclf.runs.estimate import Estimate, estimate
from omero_pixclf.runs.execute import execute
from omero_pixclf.runs.find import Found, find_in, needs_blocks
from omero_pixclf.runs.job import Event, perform
from omero_pixclf.runs.manifest import Entry, Manifest, RunHeader, new_run_id, state_folder
from omero_pixclf.runs.overlay import overlay
from omero_pixclf.runs.plan import PlanItem, plan_images
from omero_pixclf.runs.run import Work, run_image
from omero_pixclf.runs.scratch import scratch
from omero_pixclf.table import Table

if TYPE_CHECKING:
    from omero_pixclf.connector.login import Login
    from omero_pixclf.connector.session import Session

__all__ = [
    "Preview",
    "Request",
    "connected",
    "import_files",
    "plan_in_folder",
    "plan_in_omero",
    "project_of",
    "resumed",
    "run_in_folder",
    "run_in_omero",
    "run_in_session",
    "runs_in",
]


LARGEST_PREVIEW = 4096  # pixels along y or x that a preview is drawn from


@dataclass(frozen=True)
class Request:
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
    """

    targets: tuple[str, ...]
    recipe: Recipe
    force: bool = False
    resume: str | None = None
    threads: int | None = None
    memory: int | None = None
    folder: Path | None = None


def run_in_omero(
    login: Login,
    request: Request,
    *,
    now: Callable[[], datetime] = lambda: datetime.now(timezone.utc),
    salt: Callable[[int], bytes] = os.urandom,
) -> Iterator[Event]:
    """Apply a recipe to everything below the targets in OMERO, and yield what happens."""
    with connected(login) as session:
        yield from run_in_session(session, request, now=now, salt=salt)


Edges = tuple[ImageSource, ResultSink]


def run_in_session(
    session: Session,
    request: Request,
    *,
    wrap: Callable[[ImageSource, ResultSink], Edges] = lambda source, sink: (source, sink),
    now: Callable[[], datetime] = lambda: datetime.now(timezone.utc),
    salt: Callable[[int], bytes] = os.urandom,
) -> Iterator[Event]:
    """`run_in_omero` on a session that is open; ``wrap`` may put something around both edges of the run."""
    source, sink, project = _omero_edges(session, request)
    source, sink = wrap(source, sink)
    items = _plan(source, sink, project, request)
    with _manifest(request, project, session.host, session.user_name, now, salt) as manifest:
        yield from _perform(items, source, sink, project, request, manifest, now)


def run_in_folder(
    out: Path,
    request: Request,
    *,
    axes: str | None = None,
    now: Callable[[], datetime] = lambda: datetime.now(timezone.utc),
    salt: Callable[[int], bytes] = os.urandom,
) -> Iterator[Event]:
    """Apply a recipe to image files, results into a folder; the state of runs lies there too."""
    source, sink, project = _folder_edges(out, request, axes)
    items = _plan(source, sink, project, request)
    placed = replace(request, folder=request.folder or runs_in(out))
    with _manifest(placed, project, str(out), "", now, salt) as manifest:
        yield from _perform(items, source, sink, project, placed, manifest, now)


def runs_in(out: Path) -> Path:
    """Where the state of runs over files is kept: beside their results."""
    return out / ".runs"


def _folder_edges(out: Path, request: Request, axes: str | None) -> tuple[ImageSource, ResultSink, Project]:
    from omero_pixclf.files.folder import FolderSink, FolderSource

    return FolderSource(axes=axes), FolderSink(out), read_project(Path(request.recipe.classifier.project))


@dataclass(frozen=True)
class Preview:
    """A run before it is done."""

    project: Project
    items: tuple[PlanItem, ...]
    estimate: Estimate | None


def plan_in_omero(login: Login, request: Request, *, samples: int = 0) -> Preview:
    """What `run_in_omero` would do, without doing it; with ``samples`` images tried, to estimate time and objects."""
    with connected(login) as session:
        return _preview(*_omero_edges(session, request), request, samples)


def plan_in_folder(out: Path, request: Request, *, axes: str | None = None, samples: int = 0) -> Preview:
    """What `run_in_folder` would do, without doing it."""
    return _preview(*_folder_edges(out, request, axes), request, samples)


def _preview(source: ImageSource, sink: ResultSink, project: Project, request: Request, samples: int) -> Preview:
    items = _plan(source, sink, project, request)

    def look(image: ImageInfo) -> dict[str, int]:
        large = needs_blocks(image, project, request.memory)
        with source.open(image) as reader, scratch(Path(tempfile.gettempdir()) if large else None) as make:
            limits = {"threads": request.threads, "memory": request.memory}
            found = find_in(reader, request.recipe, project, make, large=large, **limits)
            return dict(found.summary.objects)

    return Preview(project, tuple(items), estimate(items, look, samples=samples) if samples else None)


def _encode(path: Path, pixels: NDArray[Any], image: ImageInfo, channels: Sequence[str], *, output_format: str) -> None:
    """A result image as a file that is attached in OMERO, with the source's pixel sizes."""
    from omero_pixclf.files.axes import Axis
    from omero_pixclf.files.export import save_image

    sizes = dict(zip("zyx", image.pixel_size_um, strict=True))
    axes = tuple(Axis(key, resolution=sizes.get(key) or 0.0, unit="um" if sizes.get(key) else "") for key in AXES)
    save_image(path, pixels, axes=axes, output_format=output_format, channels=tuple(channels))


_ENCODERS = {
    "attachment-h5": partial(_encode, output_format="compressed hdf5"),
    "attachment-tiff": partial(_encode, output_format="multipage tiff"),
}


def connected(login: Login) -> AbstractContextManager[Session]:
    """A session; a person at a terminal may be asked for the password."""
    from omero_pixclf.connector.session import connect

    return connect(login, ask=getpass.getpass if sys.stdin.isatty() else None)


def _omero_edges(session: Session, request: Request) -> tuple[ImageSource, ResultSink, Project]:
    from omero_pixclf.connector.sink import OmeroSink
    from omero_pixclf.connector.source import OmeroSource

    project = project_of(session, request.recipe, request.targets)
    output = request.recipe.output
    forms = {output.probabilities, output.segmentation, output.labels}
    if "zarr" in forms:
        raise UsageError("OME-Zarr is written to folders (--out); in OMERO choose attachment, ome-tiff or image")
    new_images = "image" in forms or output.rois == "labels"
    return OmeroSource(session), OmeroSink(session, encode=_ENCODERS, new_images=new_images), project


def project_of(session: Session, recipe: Recipe, targets: Sequence[str] = ()) -> Project:
    """The recipe's project: a file here, or one that is attached in OMERO."""
    from omero_pixclf.connector.files import read_project_bytes

    wanted = recipe.classifier.project
    if Path(wanted).is_file():
        return read_project(Path(wanted))
    if wanted.startswith("FileAnnotation:") or os.sep not in wanted:
        name, content = read_project_bytes(session, wanted, targets)
        return read_project(content, name=name)
    raise InputError(f"{wanted}: no such file")


def _plan(source: ImageSource, sink: ResultSink, project: Project, request: Request) -> list[PlanItem]:
    recipe = request.recipe
    class_indices(recipe, project)  # a wrong label is wrong for all images: refuse before listing them

    def refusal(image: ImageInfo) -> str | None:
        if 0 in image.shape:
            return f"{image.key}: has no pixels; is its import unfinished?"
        try:
            channels = applied_channels(recipe, project, image)
        except ImageError as error:
            return str(error)
        return engine_refusal(project, replace(image, shape=(*image.shape[:4], len(channels))))

    digest = recipe.hash(project.sha256)
    items = list(plan_images(source, sink, request.targets, recipe, digest, refusal, force=request.force))
    if not items:
        raise UsageError(f"no images in {' '.join(request.targets)}")
    return items


def _manifest(
    request: Request,
    project: Project,
    server: str,
    user: str,
    now: Callable[[], datetime],
    salt: Callable[[int], bytes],
) -> AbstractContextManager[Manifest]:
    digest = request.recipe.hash(project.sha256)
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
        )
        return Manifest.create((request.folder or state_folder()) / header.run_id, header)
    return _reopened((request.folder or state_folder()) / request.resume, digest, server, user)


@contextmanager
def _reopened(folder: Path, digest: str, server: str, user: str) -> Iterator[Manifest]:
    """An earlier run's manifest, if what it was about is still the same."""
    with Manifest.open(folder) as manifest:
        header = manifest.header
        if header.recipe_hash != digest:
            raise UsageError(f"run {header.run_id}: its project or settings have changed since; start a new run")
        if (header.server, header.user) != (server, user):
            raise UsageError(f"run {header.run_id} is {header.user}'s on {header.server}, not {user}'s on {server}")
        yield manifest


def _perform(
    items: Sequence[PlanItem],
    source: ImageSource,
    sink: ResultSink,
    project: Project,
    request: Request,
    manifest: Manifest,
    now: Callable[[], datetime],
) -> Iterator[Event]:
    recipe = request.recipe
    record = RunRecord(
        manifest.header.run_id,
        "",
        recipe.title,
        recipe.hash(project.sha256),
        "",
        project.name,
        project.sha256,
        __version__,
        now(),
        settings=recipe.flat(),
    )
    wanted = recipe.output.contact_sheet
    colors = {c.name: c.color for c in project.classes}

    def preview(found: Found) -> bytes:
        step = -(-max(found.image.shape[2:4]) // LARGEST_PREVIEW)
        pixels = found.pixels[:, :, ::step, ::step]
        labels = {name: image[:, :, ::step, ::step] for name, image in found.labels.items()}
        width = found.image.pixel_size_um[2]
        return overlay(pixels, labels, colors, pixel_um=None if width is None else width * step)

    drawn = preview if wanted else None
    work = Work(source, sink, recipe, project, record, manifest, now, drawn, request.threads, request.memory)
    manifest.add([Entry(i.image.key, i.image.place.container, i.image.name, "due", i.reason) for i in items])

    def pictures(images: Sequence[ImageInfo], tables: Mapping[str, Table]) -> Sequence[Path]:
        from omero_pixclf.runs.report import picture_files  # matplotlib is slow to import

        if not wanted:
            return ()
        sought = {name: colors[name] for name in class_indices(recipe, project)}
        return picture_files(manifest, replace(record, finished=now()), images, tables, sought)

    yield from perform(
        items,
        manifest,
        sink,
        record,
        partial(execute, work=lambda image: run_image(image, work)),
        pictures,
        tables=recipe.output.table,
    )


def resumed(
    run_id: str, *, threads: int | None = None, memory: int | None = None, folder: Path | None = None
) -> Request:
    """The request of an earlier run, to go on with it; ``folder`` is where run folders are kept, if elsewhere.

    Raises
    ------
    UsageError
        Where this machine knows no such run.
    """
    with Manifest.open((folder or state_folder()) / run_id) as manifest:
        header = manifest.header
    recipe = Recipe.model_validate(header.recipe)
    return Request(header.targets, recipe, resume=run_id, threads=threads, memory=memory, folder=folder)


def import_files(
    login: Login, files: Sequence[Path], *, dataset: str, axes: str | None = None
) -> Iterator[tuple[str, Path]]:
    """Upload image files into a dataset, found by name or made; yields ``("Image:51", path)`` for each."""
    from omero_pixclf.connector.upload import create_container, find_container, upload_image
    from omero_pixclf.files.opening import open_image

    with connected(login) as session:
        number = find_container(session, "Dataset", dataset) or create_container(session, "Dataset", dataset)
        for path in files:
            with open_image(path, axes=axes) as reader:
                yield f"Image:{upload_image(session, reader, dataset=number)}", path
