"""All that work on a run's images needs, in this process or in another: both edges, and what is the same for all."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from omero_pixclf.config import Recipe
from omero_pixclf.direct.mounts import NOTHING_MOUNTED, DirectSettings
from omero_pixclf.errors import UsageError
from omero_pixclf.ilastik.project import Project
from omero_pixclf.image import AXES, ImageInfo, PixelArray
from omero_pixclf.provenance import RunRecord
from omero_pixclf.runs.execution.concurrency import make_process_limits, make_server_limits
from omero_pixclf.runs.execution.serial import TaskFunction
from omero_pixclf.runs.planning.channels import class_colors
from omero_pixclf.runs.protocols import ImageSource, ResultSink
from omero_pixclf.runs.state.image_files import ImageFiles

if TYPE_CHECKING:
    from omero_pixclf.connector.sessions.login import Login
    from omero_pixclf.connector.sessions.session import Session
    from omero_pixclf.runs.analysis import ImageAnalysis

__all__ = [
    "FILE_MODULES",
    "OMERO_MODULES",
    "Edges",
    "WorkerContext",
    "at_work",
    "at_work_with",
    "folder_edges",
    "joined_edges",
    "joining",
    "omero_edges",
    "utc_now",
]

LARGEST_PREVIEW = 4096  # pixels along y or x that a preview is drawn from
LARGEST_STACK = 2**26  # and of all planes of a time point

_COMPUTING = ("omero_pixclf.app.backends", "omero_pixclf.runs.blocks.stages", "omero_pixclf.report.overlay")
FILE_MODULES = (*_COMPUTING, "omero_pixclf.folder.backend")
"""What a worker imports in the end that opens `folder_edges`."""

OMERO_MODULES = (*_COMPUTING, "omero_pixclf.connector.results.sink", "omero_pixclf.connector.source")
"""And `joined_edges`."""

_log = logging.getLogger(__name__)

Edges = tuple[ImageSource, ResultSink]


def utc_now() -> datetime:
    """The time, aware of its zone."""
    return datetime.now(timezone.utc)


@dataclass(frozen=True)
class WorkerContext:
    """What a worker opens; can be pickled.

    Attributes
    ----------
    record
        What the ledger says of every image.
    folder
        The run's folder.
    locks, server
        Where the locks lie that keep the load on a server within its limits, and which server that is;
        "" for files.
    threads, memory
        For this worker.
    pictured
        The keys of the images of which a preview is drawn.
    """

    recipe: Recipe
    project: Project
    record: RunRecord
    folder: Path
    locks: Path
    server: str
    threads: int | None = None
    memory: int | None = None
    pictured: frozenset[str] = frozenset()

    def work(
        self, source: ImageSource, sink: ResultSink, stopping: threading.Event, now: Callable[[], datetime] = utc_now
    ) -> TaskFunction:
        """The work on edges that are open."""
        from omero_pixclf.runs.blocks.stages import (
            process_task,  # who only hands work out needs none of the slow imports
        )
        from omero_pixclf.runs.image import ProcessingContext

        gates = make_server_limits(self.locks, self.server, stopping) if self.server else make_process_limits(stopping)
        work = ProcessingContext(
            source,
            sink,
            self.recipe,
            self.project,
            self.record,
            ImageFiles(self.folder),
            now,
            self._preview if self.recipe.output.contact_sheet else None,
            self.threads,
            self.memory,
            gates,
        )
        return partial(process_task, work=work)

    def _preview(self, found: ImageAnalysis) -> bytes | None:
        if found.image.key not in self.pictured:
            return None
        from omero_pixclf.report.overlay import SubsampledArray, draw_overlay

        _, depth, height, width, _ = found.image.shape
        step = -(-max(height, width) // LARGEST_PREVIEW)
        while depth * -(-height // step) * -(-width // step) > LARGEST_STACK:
            step += 1
        labels = {name: SubsampledArray(image, step) for name, image in found.labels.items()}
        across = found.image.pixel_size_um[2]
        colors = class_colors(self.recipe, self.project)
        pixel_um = None if across is None else across * step
        return draw_overlay(SubsampledArray(found.pixels, step), labels, colors, pixel_um=pixel_um)


@contextmanager
def at_work(
    place: WorkerContext, edges: Callable[[], AbstractContextManager[Edges]], stopping: threading.Event
) -> Iterator[TaskFunction]:
    """Open edges of one's own, and give what takes an image from its pixels to its stored results."""
    with edges() as (source, sink):
        yield place.work(source, sink, stopping)


def at_work_with(
    place: WorkerContext, edges: Callable[[], AbstractContextManager[Edges]], threads: int, stopping: threading.Event
) -> AbstractContextManager[TaskFunction]:
    """`at_work` for a worker that knows only by itself how many threads it has."""
    return at_work(replace(place, threads=place.threads or threads), edges, stopping)


def joining(session: Session, login: Login) -> Login:
    """How another process joins a session; makes sure that the session stands.

    Raises
    ------
    UnreachableError, LoginError
        Where the server is gone, or does not let this user in again.
    """
    from omero_pixclf.connector.sessions.login import Login

    session.read("still there", lambda sf: sf.getAdminService().getEventContext())
    if "://" in login.host:
        return Login(login.host, login.port, group=login.group, key=session.key, ca_file=login.ca_file)
    port = int(session.client.getProperty("omero.port"))
    return Login(session.host, port, group=login.group, key=session.key, ca_file=login.ca_file)


@contextmanager
def joined_edges(login: Login, recipe: Recipe, direct: DirectSettings = NOTHING_MOUNTED) -> Iterator[Edges]:
    """Edges on a session of one's own."""
    from omero_pixclf.connector.sessions.session import connect

    with connect(login, ask=None) as session, omero_edges(session, recipe, direct) as edges:
        yield edges


@contextmanager
def omero_edges(session: Session, recipe: Recipe, direct: DirectSettings = NOTHING_MOUNTED) -> Iterator[Edges]:
    """Source and sink on a session; pixels come from the server's files where they are mounted here.

    Raises
    ------
    UsageError
        Where the recipe asks for what OMERO does not take.
    """
    from omero_pixclf.connector.results.sink import OmeroSink
    from omero_pixclf.connector.source import OmeroSource

    output = recipe.output
    forms = {output.probabilities, output.segmentation, output.labels}
    if "zarr" in forms:
        raise UsageError("OME-Zarr is written to folders (--out); in OMERO choose attachment, ome-tiff or image")
    new_images = "image" in forms or output.rois == "labels"
    sink = OmeroSink(session, encode=_ENCODERS, new_images=new_images)
    if not direct.mounts:
        yield OmeroSource(session), sink
        return
    with _reading_directly(session, direct) as source:
        yield source, sink


@contextmanager
def _reading_directly(session: Session, direct: DirectSettings) -> Iterator[ImageSource]:
    """A source that knows what is mounted here; at the end it tells what came of it."""
    from omero_pixclf.connector.pixel_locations import OmeroStorage
    from omero_pixclf.connector.source import OmeroSource
    from omero_pixclf.direct.source import DirectSource

    source = DirectSource(OmeroSource(session), OmeroStorage(session).whereabouts, direct)
    try:
        yield source
    finally:
        _log.info("%s", source.tally)


@contextmanager
def folder_edges(out: Path, axes: str | None) -> Iterator[Edges]:
    """Source and sink over files."""
    from omero_pixclf.folder.backend import FolderSink, FolderSource

    yield FolderSource(axes=axes), FolderSink(out)


def _encode(path: Path, pixels: PixelArray, image: ImageInfo, channels: Sequence[str], *, output_format: str) -> None:
    """A result image as a file that is attached in OMERO, with the source's pixel sizes."""
    from omero_pixclf.files.axes import Axis
    from omero_pixclf.files.export.image_writer import save_image

    sizes = dict(zip("zyx", image.pixel_size_um, strict=True))
    axes = tuple(Axis(key, resolution=sizes.get(key) or 0.0, unit="um" if sizes.get(key) else "") for key in AXES)
    save_image(path, pixels, axes=axes, output_format=output_format, channels=tuple(channels))


_ENCODERS = {
    "attachment-h5": partial(_encode, output_format="compressed hdf5"),
    "attachment-tiff": partial(_encode, output_format="multipage tiff"),
}
