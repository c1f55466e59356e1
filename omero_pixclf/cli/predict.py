"""``omero-pixclf predict``: apply a classifier to image files, with the options of headless ilastik."""

from __future__ import annotations

import json
import logging
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import (
    AbstractContextManager,
    ExitStack,
    contextmanager,
    nullcontext,
    redirect_stderr,
    redirect_stdout,
)
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import click

from omero_pixclf.cli.ilastik_arguments import IlastikCommand, memory_from_environment, threads_from_environment
from omero_pixclf.cli.output import print_version
from omero_pixclf.cli.path_types import UserText
from omero_pixclf.cli.predict_values import parse_engine, parse_path, parse_range, parse_subregion, to_lower
from omero_pixclf.errors import InputError, OutputError, PixclfError, UsageError

if TYPE_CHECKING:
    from omero_pixclf.files.export.image_writer import ExportSettings
    from omero_pixclf.headless.batch import BatchInputs, BatchResult, Engine, Progress

__all__ = ["predict"]

_DTYPES = ["uint8", "uint16", "uint32", "int8", "int16", "int32", "float32", "float64"]
_OTHER_FILE = "Choose another file"


def _option(name: str, *more: Any, **attributes: Any) -> Callable[[Any], Any]:
    """An option with both spellings, ``--output_format`` and ``--output-format``."""
    spellings = dict.fromkeys((f"--{name}", f"--{name.replace('_', '-')}"))
    return click.option(*spellings, name, *more, **attributes)


_EXAMPLES = """\b
Examples:
  omero-pixclf predict --project nuclei.ilp stack.h5/data
  omero-pixclf predict --project nuclei.ilp stack.h5/data --json
  omero-pixclf predict --project nuclei.ilp --output_format tiff \\
      --export_source "Simple Segmentation" \\
      --output_filename_format "results/{nickname}_seg" *.tif
"""


def _ignored_option(name: str, **attributes: Any) -> Callable[[Any], Any]:
    """An option of ilastik that has no effect here."""
    return _option(name, hidden=True, expose_value=False, **attributes)


@click.command(cls=IlastikCommand, epilog=_EXAMPLES, context_settings={"help_option_names": ["-h", "--help"]})
@_option("project", required=True, callback=parse_path, help="The trained project (.ilp).")
@_option(
    "raw_data",
    multiple=True,
    metavar="FILE...",
    help="Images: h5 (with /name of the array), tif, png, npy, zarr; globs are stacked. The same as FILES.",
)
@_option(
    "prediction_mask", multiple=True, metavar="FILE...", help="One mask per image; pixels with 0 are not computed."
)
@_option(
    "export_source", default="Probabilities", show_default=True, help="Result to write; an unknown name lists all."
)
@_option("output_format", help="hdf5, compressed hdf5, numpy, tiff, multipage tiff, png, single-scale OME-Zarr, ...")
@_option(
    "output_filename_format",
    help="File name with the fields {dataset_dir} {nickname} {result_type} {roi} {x_start} {x_stop} ... {slice_index}.",
)
@_option("output_internal_path", help="Name of the array in an HDF5 file (default: exported_data).")
@_option("export_dtype", type=click.Choice(_DTYPES), metavar="TYPE", help=f"Data type: {', '.join(_DTYPES)}.")
@_option(
    "pipeline_result_drange", callback=parse_range, metavar="(MIN,MAX)", help="Range of the result, as (0.0,1.0) ..."
)
@_option(
    "export_drange", callback=parse_range, metavar="(MIN,MAX)", help="... and the range it is mapped to, as (0,255)."
)
@_option("output_axis_order", callback=to_lower, help="Axes of the file, as cyx; missing axes must have size 1.")
@_option(
    "cutout_subregion",
    callback=parse_subregion,
    metavar="[(START),(STOP)]",
    help="Part to write, along the result's axes with channels, as [(0,0,0),(100,200,2)]; None: to the end.",
)
@_option("input_axes", help="Axes of the images (after a comma: of the masks), as zyxc.")
@_option("ignore_training_axistags", is_flag=True, help="Use the axes stored in the files, not the training image's.")
@click.option(
    "--channels",
    type=UserText(),
    help="Channels in the project's order, by name or 0-based number: dapi,gfp or 1,0.",
)
@_option(
    "stack_along",
    type=click.Choice(list("tzyxc")),
    default="z",
    show_default=True,
    help="Axis along which globs are stacked.",
)
@_option("engine", default="native", callback=parse_engine, help="ilastik=/path/to/run_ilastik.sh uses that ilastik.")
@click.option(
    "--compare", is_flag=True, help="With --engine ilastik=...: write this program's results and report differences."
)
@click.option("--threads", type=click.IntRange(1), help="Number of threads (default: all cores).")
@click.option("--memory", metavar="SIZE", help="Memory limit, such as 2G.")
@click.option("--json", "as_json", is_flag=True, help="Write one JSON object per image, and one for all at the end.")
@_option("exit_on_failure", is_flag=True, help="Stop at the first image that fails.")
@_option("logfile", callback=parse_path, metavar="FILE", help="Also write log lines to this file.")
@_option("redirect_output", callback=parse_path, metavar="FILE", help="Append the output to this file instead.")
@_option("process_name", metavar="NAME", help="Start each log line with this name.")
@click.option("--debug", is_flag=True, help="Write all log lines.")
@click.option(
    "--version", is_flag=True, is_eager=True, expose_value=False, callback=print_version, help="Show the version."
)
@_ignored_option("headless", is_flag=True)
@_ignored_option("preconvert_stacks", is_flag=True)
@_ignored_option("clean_paths", is_flag=True)
@_ignored_option("hbp", is_flag=True)
@_ignored_option("print_labels_by_slice", is_flag=True)
@_ignored_option("label_search_value")
@_ignored_option("variable_importance_path")
@_ignored_option("filter")
@_ignored_option("sys_tmp_dir")
@_ignored_option("tiktorch_executable")
@_ignored_option("nn_device")
@click.argument("files", nargs=-1)
def predict(files: tuple[str, ...], **given: Any) -> int:
    """Apply an ilastik project to FILES and write the results as headless ilastik does.

    A file that fails does not stop the others. Exit code: 0 all done, 1 some failed, 2 wrong usage or invalid input.
    """
    signal.signal(signal.SIGTERM, _interrupt)
    inputs = _inputs(files, given)
    _check_logs(inputs, given)
    with _redirect_output(given["redirect_output"]), _configure_logging(given):
        results = _run_batch(inputs, given)
        done, failed = 0, []
        for result in results:
            _print_result(result, as_json=given["as_json"])
            done += result.error is None
            failed += [result] if result.error is not None else []
        _print_totals(len(inputs.images), done, len(failed), as_json=given["as_json"])
    return _exit_code(done, failed)


def _print_totals(total: int, done: int, failed: int, *, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps({"done": done, "failed": failed, "not_tried": total - done - failed}))
    elif total > 1:
        click.echo(f"{done} of {total} images done" + (f", {failed} failed" if failed else ""))


def _exit_code(done: int, failed: list[BatchResult]) -> int:
    """The exit code: 2 if every image was refused as invalid input, 1 if some images failed, otherwise 0."""
    if not failed:
        return 0
    refused = all(isinstance(o.error, (InputError, UsageError)) for o in failed)
    return 2 if refused and not done else 1


def _interrupt(*_: object) -> None:
    """Raise KeyboardInterrupt at SIGTERM, so that partial files are removed."""
    raise KeyboardInterrupt


def _inputs(files: tuple[str, ...], given: dict[str, Any]) -> BatchInputs:
    from omero_pixclf.headless.batch import BatchInputs

    if files and given["raw_data"]:
        raise UsageError(f"images are given twice, with --raw_data and as {files}; give them once")
    return BatchInputs(
        images=given["raw_data"] or files,
        masks=given["prediction_mask"],
        axes=_input_axes(given["input_axes"]),
        ignore_training_axes=given["ignore_training_axistags"],
        stack_along=given["stack_along"],
        channels=tuple(c.strip() for c in given["channels"].split(",")) if given["channels"] else (),
    )


def _check_logs(inputs: BatchInputs, given: dict[str, Any]) -> None:
    """Refuse to append log lines to an image, a mask or the project."""
    from omero_pixclf.headless.batch import protected_files

    logs = {f"--{name}": given[name] for name in ("logfile", "redirect_output") if given[name] is not None}
    if logs:
        protected = protected_files(inputs, given["project"])
        for option, path in logs.items():
            protected.check(path, of=option, what="it", advice=_OTHER_FILE)


def _run_batch(inputs: BatchInputs, given: dict[str, Any]) -> Iterator[BatchResult]:
    from omero_pixclf.headless.batch import run_batch
    from omero_pixclf.headless.export_sources import get_export_source
    from omero_pixclf.headless.project_settings import export_settings
    from omero_pixclf.ilastik.project import read_project

    project = read_project(given["project"])
    source = get_export_source(project, given["export_source"])
    export = export_settings(given["project"], {k: given[k] for k in _EXPORT if given[k] is not None})
    return run_batch(
        project,
        source,
        inputs,
        export,
        engine=_create_engine(given, inputs, export),
        project_file=given["project"],
        memory=_parse_memory(given["memory"]) or memory_from_environment(),
        threads=given["threads"] or threads_from_environment(),
        progress=_progress(given["as_json"]),
        stop_on_failure=given["exit_on_failure"],
    )


_EXPORT = (
    "output_format",
    "output_filename_format",
    "output_internal_path",
    "export_dtype",
    "pipeline_result_drange",
    "export_drange",
    "output_axis_order",
    "cutout_subregion",
)


def _input_axes(text: str | None) -> tuple[str | None, str | None]:
    """Axes of images and masks; one value is for both, ``None`` means the default axes."""
    if text is None:
        return (None, None)
    parts = [None if p.strip() in ("", "None") else p.strip().lower() for p in text.split(",")]
    if len(parts) > 2:
        raise UsageError(f"--input_axes {text!r}: expected one value, or two for images and masks")
    return (parts[0], parts[-1])


def _create_engine(given: dict[str, Any], inputs: BatchInputs, export: ExportSettings) -> Engine:
    from omero_pixclf.headless.batch import native_engine

    program = given["engine"]
    if program is None:
        if given["compare"]:
            raise UsageError("--compare needs --engine ilastik=/path/to/run_ilastik.sh to compare with")
        return native_engine
    from omero_pixclf.headless.ilastik_process import comparing_engine, ilastik_engine

    make = comparing_engine if given["compare"] else ilastik_engine
    return make(program, given["project"], inputs, export)


def _parse_memory(size: str | None) -> int | None:
    if size is None:
        return None
    from omero_pixclf.config import parse_size

    return parse_size(size)


@contextmanager
def _redirect_output(path: Path | None) -> Iterator[None]:
    """Append output to a file, also the message of an error, which is printed as well."""
    if path is None:
        yield
        return
    with _open_for_append(path) as file, redirect_stdout(file), redirect_stderr(file):
        try:
            yield
        except PixclfError as error:
            click.echo(f"error: {error}", err=True)
            raise


def _open_for_append(path: Path) -> TextIO:
    try:
        return path.open("a", encoding="utf-8", errors="surrogateescape")
    except OSError as error:
        raise OutputError(f"{path}: could not be written: {error.strerror or error}; choose another file") from error


@contextmanager
def _configure_logging(given: dict[str, Any]) -> Iterator[None]:
    """Configure logging by ilastik's options: log file, level and process name."""
    logger = logging.getLogger("omero_pixclf")
    name = f"{given['process_name']} " if given["process_name"] else ""
    form = logging.Formatter(f"{name.replace('%', '%%')}%(asctime)s %(levelname)s %(name)s: %(message)s")
    to_stderr = bool(given["debug"] or name or given["redirect_output"])
    with ExitStack() as stack:
        streams: list[TextIO] = [stack.enter_context(_open_for_append(given["logfile"]))] if given["logfile"] else []
        for stream in [*streams, *([sys.stderr] if to_stderr else [])]:
            handler = logging.StreamHandler(stream)
            handler.setFormatter(form)
            logger.addHandler(handler)
            stack.callback(logger.removeHandler, handler)
        stack.callback(setattr, logger, "propagate", logger.propagate)
        logger.propagate = not to_stderr  # each line once
        if given["debug"]:
            stack.callback(logger.setLevel, logger.level)
            logger.setLevel(logging.DEBUG)
        yield


def _print_result(result: BatchResult, *, as_json: bool) -> None:
    if as_json:
        fields = {
            "image": result.image,
            "state": "failed" if result.error else "done",
            "output": result.output,
            "seconds": round(result.seconds, 3),
            "error": None if result.error is None else str(result.error),
            "notes": list(result.notes),
        }
        click.echo(json.dumps(fields))
        return
    if result.error is not None:
        click.echo(f"failed: {result.error}", err=True)
        return
    click.echo(f"{result.image} -> {result.output} ({result.seconds:.1f} s)")
    for note in result.notes:
        click.echo(f"    {note}")


def _progress(as_json: bool) -> Callable[[str], AbstractContextManager[Progress]]:
    """A progress bar per image on a terminal, otherwise none: each image has a line at its end."""
    if as_json or not sys.stderr.isatty():
        return lambda _: nullcontext(lambda *_: None)
    return _bar


@contextmanager
def _bar(path: str) -> Iterator[Progress]:
    from rich.console import Console
    from rich.progress import BarColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f} %"),
        TimeRemainingColumn(),
    )
    with Bar(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(Path(path).name or path, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
