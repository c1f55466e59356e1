"""What a run needs from outside, as Protocols: a source of images, a sink for results, and what draws pictures.

`omero_pixclf.connector` (OMERO), `omero_pixclf.folder` (files) and `omero_pixclf.report` (pictures) implement them.
An implementation conforms by its methods and need not import this module.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

from numpy.typing import NDArray

from omero_pixclf.ilastik.project import ClassLabel
from omero_pixclf.image import ImageInfo, PixelArray, PixelReader
from omero_pixclf.objects.outline import Outline
from omero_pixclf.provenance import RunRecord
from omero_pixclf.table import Table

if TYPE_CHECKING:
    from omero_pixclf.runs.analysis import ImageAnalysis
    from omero_pixclf.runs.state.manifest import Manifest

__all__ = ["Backend", "ImageSource", "ImageWriter", "PictureDrawer", "ResultImage", "ResultSink", "WorkerBackends"]


class ImageSource(Protocol):
    """Images to work on."""

    def images(self, targets: Sequence[str]) -> Iterator[ImageInfo]:
        """Every image below the targets (``"Dataset:7"``, a path), once each, without reading pixels."""

    def open(self, image: ImageInfo) -> AbstractContextManager[PixelReader]:
        """An image, open for reading until the context ends."""


@dataclass(frozen=True)
class ResultImage:
    """A result image to save.

    Attributes
    ----------
    kind
        What the values are.
    pixels
        ``(t, z, y, x, c)``: probabilities as float, a segmentation or labels as integers.
    channels
        The names of the channels.
    form
        ``attachment-h5``, ``attachment-tiff``, ``image`` or ``zarr``.
    classes
        The classes of the channels; of a segmentation those of the values from 1 on.
    """

    kind: Literal["probabilities", "segmentation", "labels"]
    pixels: PixelArray
    channels: Sequence[str]
    form: str
    classes: Sequence[ClassLabel] = ()


class ImageWriter(Protocol):
    """The results of one image under way. What was written before `complete` is debris until then."""

    def save_rois(self, outlines: Iterable[Outline], *, name: str, color: tuple[int, int, int]) -> NDArray[Any]:
        """Save the outlines of one class; returns the Roi ids (int64) in the order of the outlines, 0 for none."""

    def save_image(self, result: ResultImage) -> None:
        """Save a result image."""

    def complete(self, record: RunRecord) -> None:
        """All is written: mark this run complete, then remove what it replaces."""


class ResultSink(Protocol):
    """Where results go."""

    def prefetch(self, images: Sequence[ImageInfo], recipe: str) -> None:
        """Look up for many images at once what `find_records` and `explain_refusal` are asked of each right after."""

    def explain_refusal(self, image: ImageInfo) -> str | None:
        """Why results may not be written for this image, or None; asked in the plan, before any work."""

    def find_records(self, image: ImageInfo, recipe: str) -> Sequence[RunRecord]:
        """What this user's earlier runs of a recipe of that name left on an image, newest first."""

    def begin(self, image: ImageInfo, record: RunRecord) -> AbstractContextManager[ImageWriter]:
        """Clear this user's debris of the recipe, write the ledger's ``running``, and open the results.

        Leaving the context by an exception removes what was written for this image so far.
        """

    def load_tables(self, container: str, recipe: str) -> Mapping[str, Table]:
        """The ``"summary"`` and ``"objects"`` tables that stand on the container from earlier runs of the recipe."""

    def finish(
        self, container: str, record: RunRecord, tables: Mapping[str, Table], attachments: Sequence[Path]
    ) -> Mapping[str, str]:
        """Put tables and attachments on a container, new before old goes; returns what was written, for the report.

        Keys are the names given, values addresses such as ``"FileAnnotation:31"``.
        """


class Backend(Protocol):
    """A source and a sink that any process can open for itself; can be pickled."""

    def open(self) -> AbstractContextManager[tuple[ImageSource, ResultSink]]:
        """Open a source and a sink, with a session of their own where there is a server, until the context ends."""


class WorkerBackends(Protocol):
    """Gives each worker process of a run its backend."""

    def for_new_worker(self) -> Backend:
        """Return the backend for a worker that starts now; called in the run's own process.

        Raises
        ------
        UnreachableError, LoginError
            The server is gone, or does not accept the user any more.
        """


class PictureDrawer(Protocol):
    """Draws the pictures of a run; can be pickled. What it raises costs the picture, never results."""

    def draw_preview(self, analysis: ImageAnalysis) -> bytes | None:
        """Return a PNG of an image with the outlines of its objects; None for images that get no preview."""

    def draw_report(
        self, manifest: Manifest, record: RunRecord, images: Sequence[ImageInfo], tables: Mapping[str, Table]
    ) -> Sequence[Path]:
        """Draw a container's pictures and report into the run's folder; return the files to attach."""
