"""Run an installed ilastik as a process, for its results or for a comparison.

ilastik executes pickled code in a project file: use it only with projects that you trust.
"""

from __future__ import annotations

import logging
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from omero_pixclf.errors import OutputError, PixclfError, UsageError
from omero_pixclf.files.atomic import hidden_name, remove_path, write_atomically
from omero_pixclf.files.export.image_writer import ExportSettings
from omero_pixclf.files.hdf5.hdf5_writer import move_array_into_hdf5
from omero_pixclf.headless.batch import BatchInputs, BatchTask, Engine, Progress, native_engine
from omero_pixclf.headless.compare import compare_metadata, compare_pixels
from omero_pixclf.text import pluralize

__all__ = ["comparing_engine", "ilastik_command", "ilastik_engine", "log"]

log = logging.getLogger(__name__)

_LAST_LINES = 15


def ilastik_engine(program: Path, project: Path, inputs: BatchInputs, export: ExportSettings) -> Engine:
    """Return an engine that makes ilastik compute and write the results.

    Each image is processed by a separate process, so one bad file does not stop the others. ilastik writes to a
    temporary folder next to the final file; the result is moved when ilastik has succeeded.

    Raises
    ------
    UsageError
        If the program does not exist.
    """
    _check_options(program, inputs)

    def run(task: BatchTask, progress: Progress) -> tuple[str, ...]:
        progress(0, 1)
        with _run_ilastik(program, project, inputs, export, task) as files:
            for file in files:
                _move_result(file, task)
        progress(1, 1)
        return ()

    return run


def comparing_engine(program: Path, project: Path, inputs: BatchInputs, export: ExportSettings) -> Engine:
    """Return an engine that writes our result and reports how ilastik's result of the same task differs.

    Raises
    ------
    UsageError
        If the program does not exist, or the format is a sequence of files.
    """
    if export.output_format.endswith("sequence"):
        raise UsageError(f"--compare does not compare {export.output_format!r}; choose a format of one file")
    _check_options(program, inputs)

    def run(task: BatchTask, progress: Progress) -> tuple[str, ...]:
        native_engine(task, progress)
        with _run_ilastik(program, project, inputs, export, task) as files:
            theirs = f"{files[0]}/{task.planned.inside}" if files[0].suffix == ".h5" else str(files[0])
            return tuple(_describe_differences(task.planned.address, theirs))

    return run


def _check_options(program: Path, inputs: BatchInputs) -> None:
    if not program.is_file():
        raise UsageError(f"{program}: no such program; --engine ilastik=/path/to/run_ilastik.sh")
    if inputs.channels:
        raise UsageError("--channels: ilastik has no such option, leave --engine or --channels out")


def _describe_differences(ours: str, theirs: str) -> Iterator[str]:
    found = compare_pixels(ours, theirs)
    if found is None:
        yield "pixels: cannot be compared, the shapes differ"
    else:
        yield f"pixels: {found.differing} of {found.total} values differ, by {found.largest:g} at most"
    for difference in compare_metadata(ours, theirs):
        yield f"{difference.fact}: ours {difference.ours!r}, ilastik's {difference.theirs!r}"


def ilastik_command(
    program: Path, project: Path, inputs: BatchInputs, export: ExportSettings, task: BatchTask, output: Path
) -> list[str]:
    """Return the command that runs ilastik for a task, with the result in ``output`` (without extension)."""
    command = [str(program), "--headless", "--readonly", f"--project={project.absolute()}"]
    command += [f"--export_source={task.source.name}", f"--output_format={export.output_format}"]
    command += [f"--output_filename_format={output}", f"--output_internal_path={task.planned.inside}"]
    command += [
        f"--{name}={value}"
        for name, value in (
            ("export_dtype", export.export_dtype),
            ("output_axis_order", export.output_axis_order),
            ("pipeline_result_drange", _format_range(export.pipeline_result_drange)),
            ("export_drange", _format_range(export.export_drange)),
            ("cutout_subregion", _format_region(export)),
            ("input_axes", ",".join(a or "None" for a in inputs.axes) if any(inputs.axes) else None),
            ("stack_along", inputs.stack_along if inputs.stack_along != "z" else None),
        )
        if value is not None
    ]
    if inputs.ignore_training_axes:
        command.append("--ignore_training_axistags")
    if task.mask_path is not None:
        command += ["--prediction_mask", task.mask_path]
    return [*command, "--raw_data", task.image_path]


def _format_range(pair: tuple[float, float] | None) -> str | None:
    return None if pair is None else f"({pair[0]},{pair[1]})"


def _format_region(export: ExportSettings) -> str | None:
    if export.cutout_subregion is None:
        return None
    start, stop = ("(" + ",".join(str(n) for n in end) + ")" for end in export.cutout_subregion)
    return f"[{start},{stop}]"


@contextmanager
def _run_ilastik(
    program: Path, project: Path, inputs: BatchInputs, export: ExportSettings, task: BatchTask
) -> Iterator[list[Path]]:
    """Run ilastik for a task; yields the files that it wrote, in a folder that is removed with the context."""
    final = task.planned.path
    try:
        final.parent.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(prefix=hidden_name(final.stem[:40], "."), suffix=".part", dir=final.parent))
    except OSError as error:
        raise OutputError(f"{final}: could not be written: {error.strerror or error}") from error
    try:
        command = ilastik_command(program, project, inputs, export, task, folder / final.stem)
        log.info("running %s", " ".join(command))
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
        made = sorted(folder.iterdir())
        if done.returncode != 0 or not made:
            last = "\n".join(done.stdout.splitlines()[-_LAST_LINES:])
            raise PixclfError(
                f"{task.image_path}: ilastik ended with exit code {done.returncode}, "
                f"and wrote {pluralize(len(made), 'file')}:\n"
                f"{last}"
            )
        yield made
    except OSError as error:
        raise OutputError(f"{final}: {error.strerror or error}") from error
    finally:
        remove_path(folder)


def _move_result(file: Path, task: BatchTask) -> None:
    """Move a result to its final name; other arrays of an existing HDF5 file are kept."""
    final = task.planned.path.with_name(file.name)
    task.protected.check(final, task.planned.array, of=task.image_path)
    if final.is_dir():
        raise OutputError(f"{final}: exists already; a folder is not overwritten; remove it or choose another name")
    if file.suffix == ".h5":
        move_array_into_hdf5(file, final, task.planned.inside)
        return
    with write_atomically(final) as part:
        file.replace(part)
