"""Wrap source and sink of a run so that only chosen images pass, and the run can be stopped between steps."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from omero_pixclf.image import ImageInfo, PixelReader, Region
from omero_pixclf.objects.outline import Outline
from omero_pixclf.provenance import RunRecord
from omero_pixclf.runs.protocols import ImageSource, ImageWriter, ResultImage, ResultSink
from omero_pixclf.table import Table
from omero_pixclf.watch.protocols import Guard

__all__ = ["GuardedSink", "GuardedSource", "WorkAbandoned"]


class WorkAbandoned(KeyboardInterrupt):
    """Ends the work on an image; like at Ctrl-C, the run then removes the incomplete results of that image."""


@dataclass(frozen=True)
class _GuardedReader:
    reader: PixelReader
    guard: Guard

    @property
    def info(self) -> ImageInfo:
        return self.reader.info

    def read(self, region: Region) -> NDArray[Any]:
        self.guard.check()
        return self.reader.read(region)


@dataclass(frozen=True)
class GuardedSource:
    """An image source that lists only chosen images and asks a guard before each read."""

    source: ImageSource
    chosen: Collection[str]
    guard: Guard

    def images(self, targets: Sequence[str]) -> Iterator[ImageInfo]:
        """The chosen images in the targets."""
        return (image for image in self.source.images(targets) if image.key in self.chosen)

    @contextmanager
    def open(self, image: ImageInfo) -> Iterator[PixelReader]:
        """Tell the guard that work on the image begins, and open the image until the context ends."""
        self.guard.begin(image.key)
        with self.source.open(image) as reader:
            yield _GuardedReader(reader, self.guard)


@dataclass(frozen=True)
class _GuardedWriter:
    writer: ImageWriter
    guard: Guard

    def save_rois(self, outlines: Iterable[Outline], *, name: str, color: tuple[int, int, int]) -> NDArray[Any]:
        self.guard.check()
        return self.writer.save_rois(outlines, name=name, color=color)

    def save_image(self, result: ResultImage) -> None:
        self.guard.check()
        self.writer.save_image(result)

    def complete(self, record: RunRecord) -> None:
        self.guard.check()
        self.writer.complete(record)


@dataclass(frozen=True)
class GuardedSink:
    """A result sink that asks a guard before each call."""

    sink: ResultSink
    guard: Guard

    def prefetch(self, images: Sequence[ImageInfo], recipe: str) -> None:
        """Look up many images at once."""
        self.guard.check()
        self.sink.prefetch(images, recipe)

    def explain_refusal(self, image: ImageInfo) -> str | None:
        """Why results cannot be written for this image; None if they can."""
        self.guard.check()
        return self.sink.explain_refusal(image)

    def find_records(self, image: ImageInfo, recipe: str) -> Sequence[RunRecord]:
        """Earlier runs of a recipe on an image."""
        return self.sink.find_records(image, recipe)

    @contextmanager
    def begin(self, image: ImageInfo, record: RunRecord) -> Iterator[ImageWriter]:
        """Open the results of an image."""
        self.guard.check()
        with self.sink.begin(image, record) as writer:
            yield _GuardedWriter(writer, self.guard)

    def load_tables(self, container: str, recipe: str) -> Mapping[str, Table]:
        """The tables that earlier runs attached to a container."""
        self.guard.check()
        return self.sink.load_tables(container, recipe)

    def finish(
        self, container: str, record: RunRecord, tables: Mapping[str, Table], attachments: Sequence[Path]
    ) -> Mapping[str, str]:
        """Attach tables and files to a container."""
        self.guard.check()
        return self.sink.finish(container, record, tables, attachments)
