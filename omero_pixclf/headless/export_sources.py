"""ilastik's export sources: the results of a project that can be exported."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from omero_pixclf.errors import ImageError, UsageError
from omero_pixclf.files.export.image_writer import ResultDescription
from omero_pixclf.files.export.output_array import LabelValue
from omero_pixclf.files.stored_array import FileReader
from omero_pixclf.ilastik.workflows import PIXEL_AND_OBJECT
from omero_pixclf.image import PixelReader, Region

if TYPE_CHECKING:
    from omero_pixclf.ilastik.project import Project

__all__ = ["Block", "ComputeOptions", "ExportSource", "export_source_names", "get_export_source"]

Block = tuple[Region, NDArray[Any]]
_OBJECT_SOURCES = ("object", "blockwise object")  # beginnings of names


@dataclass(frozen=True)
class ComputeOptions:
    """Options for computing blocks: see `omero_pixclf.pixels.predict.predict_blocks`."""

    memory: int | None = None
    threads: int | None = None
    mask: PixelReader | None = None
    region: Region | None = None


@dataclass(frozen=True)
class ExportSource:
    """One export source of one project.

    Attributes
    ----------
    name
        ilastik's name, ``"Simple Segmentation"``.
    project
        The project up to the stage of the source.
    describe
        Returns the description of the result for an image.
    blocks
        Yields the result block by block.
    """

    name: str
    project: Project
    describe: Callable[[Project, FileReader, str], ResultDescription]
    blocks: Callable[[Project, PixelReader, ComputeOptions], Iterator[Block]]


def export_source_names(project: Project) -> list[str]:
    """Return the names of the export sources of a project, in ilastik's order.

    For Autocontext, the names contain the stage; the last stage comes first.
    """
    if len(project.stages) == 1:
        return list(_KINDS)
    numbers = range(len(project.stages), 0, -1)
    staged = [f"{kind} Stage {n}" for n in numbers for kind in (*_KINDS, *_STAGE_ONLY)]
    return [*staged, *_ALL_STAGES]


def get_export_source(project: Project, name: str) -> ExportSource:
    """Return the export source of this name, ignoring case.

    Raises
    ------
    UsageError
        If there is none; the message lists all.
    """
    known = export_source_names(project)
    wanted = name.lower()
    if project.workflow == PIXEL_AND_OBJECT and wanted == "pixel probabilities":
        wanted = "probabilities"  # the name in that workflow
    called = next((k for k in known if k.lower() == wanted), None)
    if called is None:
        objects = "; object classification is not supported" if wanted.startswith(_OBJECT_SOURCES) else ""
        raise UsageError(
            f"export source {name!r} is unknown for {project.name}; choose one of: {', '.join(known)}{objects}"
        )
    if called in _ALL_STAGES:
        return ExportSource(called, project, *_ALL_STAGES[called])
    kind, _, number = called.partition(" Stage ")
    stage = project.stage(int(number)) if number else project
    return ExportSource(called, stage, *{**_KINDS, **_STAGE_ONLY}[kind])


def _describe_segmentation(project: Project, image: FileReader, name: str) -> ResultDescription:
    stored = image.array
    values = tuple(LabelValue(n, c.name, c.color) for n, c in enumerate(project.classes, 1))
    return ResultDescription.like(name, stored.axes, stored.shape, 1, "uint8", drange=(0.0, 1.0), labels=values)


def _describe_one_channel(
    dtype: str, drange: tuple[float, float], display: str = "grayscale"
) -> Callable[[Project, FileReader, str], ResultDescription]:
    def describe(_: Project, image: FileReader, name: str) -> ResultDescription:
        stored = image.array
        return ResultDescription.like(name, stored.axes, stored.shape, 1, dtype, drange=drange, display_mode=display)

    return describe


def _describe_probabilities(project: Project, image: FileReader, name: str) -> ResultDescription:
    names, colors = tuple(c.name for c in project.classes), tuple(c.color for c in project.classes)
    stored, more = image.array, {"channels": names, "colors": colors}
    return ResultDescription.like(name, stored.axes, stored.shape, len(names), "float32", drange=(0.0, 1.0), **more)


def _describe_all_stages(project: Project, image: FileReader, name: str) -> ResultDescription:
    names = tuple(f"{c.name} {n}" for n, stage in enumerate(project.stages, 1) for c in stage.classes)
    stored = image.array
    return ResultDescription.like(
        name, stored.axes, stored.shape, len(names), "float32", drange=(0.0, 1.0), channels=names
    )


def _describe_features(project: Project, image: FileReader, name: str) -> ResultDescription:
    """Describe feature maps; their range of values is that of the image, as in ilastik."""
    stage = project.stages[-1]
    stored = image.array
    names = stage.selection.feature_names(image.info.shape[1], stage.channels)
    drange = _image_range(image)
    count = stage.forests.column_count
    channels = tuple(names) if len(names) == count else ()
    return ResultDescription.like(name, stored.axes, stored.shape, count, "float32", drange=drange, channels=channels)


def _image_range(image: FileReader) -> tuple[float, float] | None:
    return image.array.drange or ((0, 255) if image.array.dtype == np.uint8 else None)


def _describe_input(_: Project, image: FileReader, name: str) -> ResultDescription:
    stored = image.array
    return ResultDescription.like(
        name,
        stored.axes,
        stored.shape,
        image.info.shape[4],
        stored.dtype.name,
        drange=_image_range(image),
        display_mode="default",
    )


def _probability_blocks(project: Project, image: PixelReader, how: ComputeOptions) -> Iterator[Block]:
    from omero_pixclf.pixels.predict import predict_blocks

    yield from predict_blocks(project, image, memory=how.memory, threads=how.threads, mask=how.mask, region=how.region)


def _segmentation_blocks(project: Project, image: PixelReader, how: ComputeOptions) -> Iterator[Block]:
    from omero_pixclf.pixels.exports import simple_segmentation

    for region, block in _probability_blocks(project, image, how):
        yield _without_channels(region), simple_segmentation(block)


def _uncertainty_blocks(project: Project, image: PixelReader, how: ComputeOptions) -> Iterator[Block]:
    from omero_pixclf.pixels.exports import uncertainty

    for region, block in _probability_blocks(project, image, how):
        yield _without_channels(region), uncertainty(block)


def _without_channels(region: Region) -> Region:
    return Region(region.start, (*region.stop[:4], 1))


def _feature_blocks(project: Project, image: PixelReader, how: ComputeOptions) -> Iterator[Block]:
    from omero_pixclf.pixels.predict import feature_blocks

    if how.mask is not None:
        raise ImageError("features are not masked: leave --prediction_mask out")
    yield from feature_blocks(project, image, memory=how.memory, threads=how.threads, region=how.region)


def _label_blocks(_: Project, image: PixelReader, how: ComputeOptions) -> Iterator[Block]:
    """Yield zeros: an image that is not part of the project has no labels, and ilastik exports zeros."""
    whole = how.region or Region.whole(image.info.shape)
    for t in range(whole.start[0], whole.stop[0]):
        for z in range(whole.start[1], whole.stop[1]):
            region = Region((t, z, *whole.start[2:4], 0), (t + 1, z + 1, *whole.stop[2:4], 1))
            yield region, np.zeros(region.shape, np.uint8)


def _input_blocks(_: Project, image: PixelReader, how: ComputeOptions) -> Iterator[Block]:
    """Yield the image itself, for any stage: ilastik exports it as the input of a stage."""
    whole = how.region or Region.whole(image.info.shape)
    channels = image.info.shape[4]
    for t in range(whole.start[0], whole.stop[0]):
        for z in range(whole.start[1], whole.stop[1]):
            region = Region((t, z, *whole.start[2:4], 0), (t + 1, z + 1, *whole.stop[2:4], channels))
            yield region, image.read(region)


def _all_stages_blocks(project: Project, image: PixelReader, how: ComputeOptions) -> Iterator[Block]:
    """Yield the probabilities of all stages, one after the other along the channels."""
    first = 0
    for number, stage in enumerate(project.stages, 1):
        count = len(stage.classes)
        for region, block in _probability_blocks(project.stage(number), image, how):
            yield Region((*region.start[:4], first), (*region.stop[:4], first + count)), block
        first += count


_Kind = tuple[
    Callable[["Project", FileReader, str], ResultDescription],
    Callable[["Project", PixelReader, ComputeOptions], Iterator[Block]],
]

_KINDS: dict[str, _Kind] = {
    "Probabilities": (_describe_probabilities, _probability_blocks),
    "Simple Segmentation": (_describe_segmentation, _segmentation_blocks),
    "Uncertainty": (_describe_one_channel("float32", (0.0, 1.0)), _uncertainty_blocks),
    "Features": (_describe_features, _feature_blocks),
    "Labels": (_describe_one_channel("uint8", (0, 255), "default"), _label_blocks),
}
_STAGE_ONLY: dict[str, _Kind] = {"Input": (_describe_input, _input_blocks)}
_ALL_STAGES: dict[str, _Kind] = {"Probabilities All Stages": (_describe_all_stages, _all_stages_blocks)}
