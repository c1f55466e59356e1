"""Open OMERO or a results folder for a run: source, sink and project, also for worker processes."""

from __future__ import annotations

import getpass
import logging
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from omero_pixclf.app.request import RunRequest
from omero_pixclf.config import OutputSettings, Recipe
from omero_pixclf.direct.mounts import NOTHING_MOUNTED, DirectSettings
from omero_pixclf.errors import InputError, UsageError
from omero_pixclf.files.protection import check_results_folder
from omero_pixclf.ilastik.project import Project, read_project
from omero_pixclf.image import AXES, ImageInfo, PixelArray
from omero_pixclf.runs.protocols import ImageSource, ResultSink, WorkerBackends

if TYPE_CHECKING:
    from omero_pixclf.connector.sessions.login import Login
    from omero_pixclf.connector.sessions.session import Session

__all__ = [
    "FILE_MODULES",
    "OMERO_MODULES",
    "FolderBackend",
    "OmeroBackend",
    "RunContext",
    "SessionBackends",
    "load_project",
    "open_folder",
    "open_omero",
    "open_session",
    "open_source_and_sink",
]

_WORKER_MODULES = ("omero_pixclf.app.backends", "omero_pixclf.runs.blocks.stages", "omero_pixclf.report.overlay")
FILE_MODULES = (*_WORKER_MODULES, "omero_pixclf.folder.backend")
"""What the workers of a run over files import; it is imported once before they start."""

OMERO_MODULES = (*_WORKER_MODULES, "omero_pixclf.connector.results.sink", "omero_pixclf.connector.source")
"""What the workers of a run in OMERO import."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class RunContext:
    """Where a run takes place.

    Attributes
    ----------
    location, user
        Host of the server and name of the user; for files the results folder and "".
    server
        Host and port of the server whose load is limited; "" for files.
    workers
        Gives worker processes their backends; None: the run stays in this process.
    modules
        What worker processes import first.
    """

    source: ImageSource
    sink: ResultSink
    project: Project
    location: str
    user: str = ""
    server: str = ""
    workers: WorkerBackends | None = None
    modules: tuple[str, ...] = ()


def open_session(login: Login) -> AbstractContextManager[Session]:
    """Open a session in OMERO; asks for the password on a terminal."""
    from omero_pixclf.connector.sessions.session import connect

    return connect(login, ask=getpass.getpass if sys.stdin.isatty() else None)


def load_project(session: Session, recipe: Recipe, targets: Sequence[str] = ()) -> Project:
    """Read the recipe's project: a file on this machine, or one that is attached in OMERO.

    Raises
    ------
    InputError
        There is no such file.
    """
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


@contextmanager
def open_omero(session: Session, request: RunRequest, *, login: Login | None = None) -> Iterator[RunContext]:
    """Open a run in OMERO on a session.

    Parameters
    ----------
    session
        The session that reads and writes.
    request
        Images, recipe and options of the run.
    login
        How the session was opened, if worker processes may join it.

    Raises
    ------
    InputError, MissingError
        There is no such project.
    UsageError
        OMERO does not accept what the recipe asks for.
    """
    project = load_project(session, request.recipe, request.targets)
    output, direct = request.recipe.output, request.direct
    server = f"{session.host}:{session.client.getProperty('omero.port')}"
    workers = None if login is None else SessionBackends(session, login, output, direct)
    with open_source_and_sink(session, output, direct) as (source, sink):
        yield RunContext(source, sink, project, session.host, session.user_name, server, workers, OMERO_MODULES)


@contextmanager
def open_folder(out: Path, request: RunRequest) -> Iterator[RunContext]:
    """Open a run over image files, with the results in a folder.

    Raises
    ------
    UsageError
        The folder is in an OME-Zarr image.
    InputError
        The project cannot be read.
    """
    check_results_folder(out)
    project = read_project(Path(request.recipe.classifier.project))
    backend = FolderBackend(out, request.axes)
    with backend.open() as (source, sink):
        yield RunContext(source, sink, project, str(out), workers=backend, modules=FILE_MODULES)


@dataclass(frozen=True)
class FolderBackend:
    """Image files and a results folder (`omero_pixclf.runs.protocols.Backend`), for any process."""

    out: Path
    axes: str | None

    @contextmanager
    def open(self) -> Iterator[tuple[ImageSource, ResultSink]]:
        """Open the source and the sink."""
        from omero_pixclf.folder.backend import FolderSink, FolderSource

        yield FolderSource(axes=self.axes), FolderSink(self.out)

    def for_new_worker(self) -> FolderBackend:
        """Return the backend of a worker: this one."""
        return self


@dataclass(frozen=True)
class OmeroBackend:
    """OMERO, through a session that exists (`omero_pixclf.runs.protocols.Backend`); can be pickled."""

    login: Login
    output: OutputSettings
    direct: DirectSettings

    @contextmanager
    def open(self) -> Iterator[tuple[ImageSource, ResultSink]]:
        """Join the session, and open the source and the sink."""
        from omero_pixclf.connector.sessions.session import connect

        with (
            connect(self.login, ask=None) as session,
            open_source_and_sink(session, self.output, self.direct) as source_and_sink,
        ):
            yield source_and_sink


@dataclass(frozen=True)
class SessionBackends:
    """Lets worker processes join the session of a run (`omero_pixclf.runs.protocols.WorkerBackends`)."""

    session: Session
    login: Login
    output: OutputSettings
    direct: DirectSettings

    def for_new_worker(self) -> OmeroBackend:
        """Return the backend of a worker, after a check that the session still exists.

        Raises
        ------
        UnreachableError, LoginError
            The server is gone, or does not accept the user any more.
        """
        from omero_pixclf.connector.sessions.login import Login

        session, login = self.session, self.login
        session.read("still there", lambda sf: sf.getAdminService().getEventContext())
        if "://" in login.host:
            joined = Login(login.host, login.port, group=login.group, key=session.key, ca_file=login.ca_file)
        else:
            port = int(session.client.getProperty("omero.port"))
            joined = Login(session.host, port, group=login.group, key=session.key, ca_file=login.ca_file)
        return OmeroBackend(joined, self.output, self.direct)


@contextmanager
def open_source_and_sink(
    session: Session, output: OutputSettings, direct: DirectSettings = NOTHING_MOUNTED
) -> Iterator[tuple[ImageSource, ResultSink]]:
    """Open the source and the sink of a session; pixels are read from the server's files where these are mounted here.

    Raises
    ------
    UsageError
        OMERO does not accept what the recipe asks for.
    """
    from omero_pixclf.connector.results.sink import OmeroSink
    from omero_pixclf.connector.source import OmeroSource

    forms = {output.probabilities, output.segmentation, output.labels}
    if "zarr" in forms:
        raise UsageError("OME-Zarr is written to folders (--out); in OMERO choose attachment, ome-tiff or image")
    new_images = "image" in forms or output.rois == "labels"
    sink = OmeroSink(session, encode=_ENCODERS, new_images=new_images)
    if not direct.mounts:
        yield OmeroSource(session), sink
        return
    with _open_direct_source(session, direct) as source:
        yield source, sink


@contextmanager
def _open_direct_source(session: Session, direct: DirectSettings) -> Iterator[ImageSource]:
    """Open a source that reads mounted files; at its end it logs how many images were read directly."""
    from omero_pixclf.connector.pixel_locations import OmeroStorage
    from omero_pixclf.connector.source import OmeroSource
    from omero_pixclf.direct.source import DirectSource

    source = DirectSource(OmeroSource(session), OmeroStorage(session).whereabouts, direct)
    try:
        yield source
    finally:
        _log.info("%s", source.tally)


def _encode(path: Path, pixels: PixelArray, image: ImageInfo, channels: Sequence[str], *, output_format: str) -> None:
    """Write a result image to a file that is attached in OMERO, with the pixel sizes of the source."""
    from omero_pixclf.files.axes import Axis
    from omero_pixclf.files.export.image_writer import save_image

    sizes = dict(zip("zyx", image.pixel_size_um, strict=True))
    axes = tuple(Axis(key, resolution=sizes.get(key) or 0.0, unit="um" if sizes.get(key) else "") for key in AXES)
    save_image(path, pixels, axes=axes, output_format=output_format, channels=tuple(channels))


_ENCODERS = {
    "attachment-h5": partial(_encode, output_format="compressed hdf5"),
    "attachment-tiff": partial(_encode, output_format="multipage tiff"),
}
