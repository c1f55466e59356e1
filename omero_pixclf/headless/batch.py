"""Apply a project to several files; a file that fails does not stop the others."""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from omero_pixclf.errors import ImageError, PixclfError, UsageError
from omero_pixclf.files.axes import axis_keys, tzyxc_shape
from omero_pixclf.files.export.formats import get_format
from omero_pixclf.files.export.image_writer import ExportPlan, ExportSettings, output_address, plan_export, write_result
from omero_pixclf.files.export.naming import SLICE_INDEX, template_fields
from omero_pixclf.files.opening import open_image, open_stored
from omero_pixclf.files.paths import DataPath, dataset_nickname, expand_paths
from omero_pixclf.files.protection import ProtectedFiles, file_identities
from omero_pixclf.files.stored_array import FileReader
from omero_pixclf.headless.export_sources import ComputeOptions, ExportSource
from omero_pixclf.image import ChannelReader, PixelReader, Region
from omero_pixclf.text import pluralize

if TYPE_CHECKING:
    from omero_pixclf.ilastik.project import Project

__all__ = [
    "BatchInputs",
    "BatchResult",
    "BatchTask",
    "Engine",
    "Identity",
    "Progress",
    "log",
    "native_engine",
    "protected_files",
    "run_batch",
]

log = logging.getLogger(__name__)

Identity = tuple[object, ...]
Progress = Callable[[int, int], None]
"""``progress(done, total)`` in pixels of one image."""


@dataclass(frozen=True)
class BatchInputs:
    """The files of a batch and their axes.

    Attributes
    ----------
    images, masks
        Paths, globs or lists joined by the path separator; no masks, or as many as images.
    axes
        Axes of images and of masks; None for ilastik's rules.
    ignore_training_axes
        Use the axes of the files instead of those of the project's training image.
    stack_along
        The axis along which the files of a glob are stacked.
    channels
        The image's channels in the order of the project, by name or number from 0; empty for all channels.
    """

    images: tuple[str, ...]
    masks: tuple[str, ...] = ()
    axes: tuple[str | None, str | None] = (None, None)
    ignore_training_axes: bool = False
    stack_along: str = "z"
    channels: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.images:
            raise UsageError("no images: give --raw_data FILE ... or the files at the end")
        if self.masks and len(self.masks) != len(self.images):
            raise UsageError(
                f"{pluralize(len(self.masks), 'prediction mask')} for {pluralize(len(self.images), 'image')}"
            )


@dataclass(frozen=True)
class BatchResult:
    """The result of one image: its output, or the error.

    Attributes
    ----------
    image, output
        The path as given, and the path of the result (None after an error).
    error
        The error; None on success.
    seconds
        Time from opening the image until the result is complete.
    notes
        Remarks on automatic choices, and differences found by a comparison.
    """

    image: str
    output: str | None
    error: PixclfError | None
    seconds: float
    notes: tuple[str, ...] = field(default=())


@dataclass(frozen=True)
class BatchTask:
    """One open image and the plan of its result; ``pixels`` has the selected channels."""

    project: Project
    source: ExportSource
    image: FileReader
    pixels: PixelReader
    image_path: str
    planned: ExportPlan
    computation: ComputeOptions
    protected: ProtectedFiles
    mask_path: str | None = None


Engine = Callable[[BatchTask, Progress], tuple[str, ...]]
"""Writes the planned file of a task; returns notes for the report."""


def native_engine(task: BatchTask, progress: Progress) -> tuple[str, ...]:
    """Compute and write the result of a task, block by block.

    Raises
    ------
    ImageError, OutputError
        If the project does not fit the image, or the result cannot be written.
    """
    region = task.planned.region
    total = _pixels(region)
    done = 0
    progress(0, total)
    with write_result(task.planned) as take:
        for part, block in task.source.blocks(task.source.project, task.pixels, task.computation):
            take(part, block)
            done += _pixels(part)
            progress(min(done, total), total)
    return ()


def _pixels(region: Region) -> int:
    t, z, y, x, _ = region.shape
    return t * z * y * x


def run_batch(
    project: Project,
    source: ExportSource,
    inputs: BatchInputs,
    export: ExportSettings,
    *,
    engine: Engine = native_engine,
    project_file: Path | None = None,
    memory: int | None = None,
    threads: int | None = None,
    progress: Callable[[str], AbstractContextManager[Progress]] = lambda _: nullcontext(_ignore_progress),
    stop_on_failure: bool = False,
) -> Iterator[BatchResult]:
    """Apply a project to every input; yields the result of each image as soon as it is complete.

    ``project_file`` is the file of the project; ``progress`` returns, for the path of an image, a context manager that
    yields a function for reporting progress.

    Raises
    ------
    UsageError
        Before anything is computed, if a result would overwrite an image, a mask or the project.
    """
    protected = protected_files(inputs, project_file)
    _check_outputs(protected, project, source, inputs, export)
    batch = _Batch(project, source, inputs, export, protected, (memory, threads))
    return _run_images(batch, engine, progress, stop_on_failure)


def protected_files(inputs: BatchInputs, project_file: Path | None) -> ProtectedFiles:
    """Return all files that a batch reads, for the check that no result overwrites one of them."""
    protected = ProtectedFiles()
    if project_file is not None:
        protected.add("project", project_file)
    protected.add_images("image", inputs.images)
    protected.add_images("mask", inputs.masks)
    return protected


def _check_outputs(
    protected: ProtectedFiles, project: Project, source: ExportSource, inputs: BatchInputs, export: ExportSettings
) -> None:
    """Refuse the whole batch if any result would overwrite an input; images that cannot be read fail later."""
    for path in inputs.images:
        address = None
        with suppress(PixclfError):
            address = _address(project, source, inputs, export, path)
        if address is not None:
            protected.check(*address, of=path)


def _address(
    project: Project, source: ExportSource, inputs: BatchInputs, export: ExportSettings, path: str
) -> tuple[Path, str | None]:
    """Return the file of an image's result and the array in it.

    The image is opened only if a template contains its extent.
    """
    known = {**_name_fields(expand_paths(path)), "result_type": source.name}
    templates = f"{export.output_filename_format}/{export.output_internal_path}"
    if template_fields(templates) <= {*known, SLICE_INDEX}:
        file, inside = output_address(export, known)
        return file, inside if file.suffix == ".h5" else None
    with open_image(path, axes=_axes(project, inputs), stack_along=inputs.stack_along) as image:
        planned = _plan_image(source, image, export, path)
        return planned.path, planned.array


def _plan_image(source: ExportSource, image: FileReader, export: ExportSettings, path: str) -> ExportPlan:
    made = source.describe(source.project, image, source.name)
    return plan_export(export, made, **_name_fields(expand_paths(path)))


def _name_fields(files: Sequence[DataPath]) -> dict[str, str]:
    """Return the fields of the templates that depend on the image's path."""
    return {"dataset_dir": str(files[0].file.absolute().parent), "nickname": dataset_nickname(files)}


@dataclass(frozen=True)
class _Batch:
    """The settings of all images of a batch; ``limits`` are memory in bytes and threads."""

    project: Project
    source: ExportSource
    inputs: BatchInputs
    export: ExportSettings
    protected: ProtectedFiles
    limits: tuple[int | None, int | None]


def _run_images(
    batch: _Batch,
    engine: Engine,
    progress: Callable[[str], AbstractContextManager[Progress]],
    stop_on_failure: bool,
) -> Iterator[BatchResult]:
    inputs = batch.inputs
    masks: Sequence[str | None] = inputs.masks or (None,) * len(inputs.images)
    written: dict[Identity, str] = {}
    for path, mask in zip(inputs.images, masks, strict=True):
        started = time.monotonic()
        output: str | None = None
        error: PixclfError | None = None
        notes: tuple[str, ...] = ()
        try:
            with ExitStack() as opened:
                task = _open_task(opened, batch, path, mask)
                _check_unique_output(written, task)
                notes = (*_describe_implicit_choices(batch, path), *engine(task, opened.enter_context(progress(path))))
                output = task.planned.address
        except PixclfError as problem:
            log.debug("%s failed", path, exc_info=True)
            error = problem
            if isinstance(problem, ImageError) and (other := _suggest_axes(batch.project, inputs, path)):
                error = ImageError(f"{problem}; {other}")
        except Exception as problem:
            log.warning("%s failed", path, exc_info=True)
            error = PixclfError(f"{path}: unexpected {type(problem).__name__}: {problem}")
        yield BatchResult(path, output, error, time.monotonic() - started, notes)
        if error is not None and stop_on_failure:
            return


def _ignore_progress(_done: int, _total: int) -> None:
    """Do nothing with progress."""


def _check_unique_output(written: dict[Identity, str], task: BatchTask) -> None:
    """Refuse to overwrite a result of the same batch: two images with the same result file."""
    planned = task.planned
    before = written.setdefault((*file_identities(planned.path)[0], planned.array), task.image_path)
    if before != task.image_path:
        raise UsageError(
            f"{task.image_path}: its result would overwrite that of {before}, {planned.address}; "
            f"{_distinguishing_field(before, task.image_path)} in --output_filename_format"
        )


def _distinguishing_field(one: str, other: str) -> str:
    """Return which field of a file name template gives two images different result files."""
    names = [_name_fields(expand_paths(path)) for path in (one, other)]
    if names[0]["nickname"] != names[1]["nickname"]:
        return "use {nickname}"
    if names[0]["dataset_dir"] != names[1]["dataset_dir"]:
        return "both have the same name: use {dataset_dir}, the image's folder,"
    return "both have the same folder and name: apply the project to each separately, with different names"


def _open_task(opened: ExitStack, batch: _Batch, path: str, mask: str | None) -> BatchTask:
    inputs, project, source = batch.inputs, batch.project, batch.source
    image = opened.enter_context(open_image(path, axes=_axes(project, inputs), stack_along=inputs.stack_along))
    pixels = _select_channels(image, inputs.channels)
    planned = _plan_image(source, image, batch.export, path)
    batch.protected.check(planned.path, planned.array, of=path)
    inside = (
        opened.enter_context(open_image(mask, axes=inputs.axes[1], stack_along=inputs.stack_along)) if mask else None
    )
    planned, memory = _divide_memory(planned, image, batch.limits[0])
    computation = ComputeOptions(memory, batch.limits[1], inside, planned.region)
    return BatchTask(project, source, image, pixels, path, planned, computation, batch.protected, mask)


def _divide_memory(planned: ExportPlan, image: FileReader, memory: int | None) -> tuple[ExportPlan, int | None]:
    """Divide the allowed memory between reading, writing and the computation."""
    if memory is None:
        return planned, None
    target = replace(planned.target, buffer_bytes=min(planned.target.buffer_bytes, memory // 4))
    writing = get_format(planned.output_format).buffer_bytes(target)
    if writing > memory:
        log.warning(
            "%s: writing %s may take %d MiB, more than the %d MiB allowed; 'multipage tiff' is written in pieces",
            planned.path,
            planned.output_format,
            writing >> 20,
            memory >> 20,
        )
    left = memory - writing - image.array.cache_bytes
    return replace(planned, target=target), max(left, memory // 8)


def _select_channels(image: FileReader, channels: tuple[str, ...]) -> PixelReader:
    """Return the image with the selected channels."""
    if not channels:
        return image
    names, count = image.info.channels, image.info.shape[4]
    indices = []
    for wanted in channels:
        if names.count(wanted) == 1:
            indices.append(names.index(wanted))
        elif wanted.isdecimal() and int(wanted) < count:
            indices.append(int(wanted))
        else:
            shown = f" ({', '.join(n or '?' for n in names)})" if any(names) else ""
            raise ImageError(f"{image.info.key}: no channel {wanted!r} by name or number from 0; it has {count}{shown}")
    return ChannelReader(image, tuple(indices))


def _suggest_axes(project: Project, inputs: BatchInputs, path: str) -> str:
    """Return advice if an image has the project's number of channels by its own axes, but not by the training axes."""
    imposed = _axes(project, inputs)
    if imposed is None or imposed == inputs.axes[0]:
        return ""
    with suppress(PixclfError), open_stored(path, stack_along=inputs.stack_along) as stored:
        own = axis_keys(stored.axes)
        counts = [tzyxc_shape(stored.shape, keys)[4] for keys in (own, imposed) if len(keys) == len(stored.shape)]
        if counts[0] == project.channels and counts[1:] != counts[:1]:
            return (
                f"its axes were taken as {imposed}, those of the training image; with its own axes, {own}, it has "
                f"{pluralize(counts[0], 'channel')}: --ignore_training_axistags uses those"
            )
    return ""


def _describe_implicit_choices(batch: _Batch, path: str) -> Iterator[str]:
    """Yield remarks on choices that ilastik makes silently, and that predict makes alike: axes, and order of files."""
    files = expand_paths(path)
    names = [str(data) for data in files]
    counted_order = sorted(names, key=_natural_sort_key)
    if names != counted_order:
        first = next(i for i, (a, b) in enumerate(zip(names, counted_order, strict=True)) if a != b)
        yield (
            f"stacked in alphabetical order, as ilastik does: {Path(names[first]).name} comes before "
            f"{Path(counted_order[first]).name}; if that is wrong, write the numbers with leading zeros"
        )
    imposed = _axes(batch.project, batch.inputs)
    if imposed is None or imposed == batch.inputs.axes[0]:
        return
    with open_stored(path, stack_along=batch.inputs.stack_along) as stored:
        own = axis_keys(stored.axes)
        if stored.has_named_axes and own != imposed:
            yield (
                f"its axes are {own} in the file, but taken as {imposed}, those of the project's training image, as "
                "ilastik does; --ignore_training_axistags uses those of the file"
            )


def _natural_sort_key(name: str) -> list[tuple[int, int, str]]:
    """Return a key that sorts ``f_2`` before ``f_10``."""
    parts = re.split(r"(\d+)", name)
    return [(1, int(p), "") if p.isascii() and p.isdigit() else (0, 0, p) for p in parts]


def _axes(project: Project, inputs: BatchInputs) -> str | None:
    """Return the axes of an image: the given ones, else those of the training image; None for those of the file."""
    if inputs.axes[0] is not None or inputs.ignore_training_axes:
        return inputs.axes[0]
    return project.axes or None
