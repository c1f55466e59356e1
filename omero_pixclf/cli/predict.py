"""``omero-pixclf predict``: files in, files out, with the options of headless ilastik."""

from __future__ import annotations

import ast
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

from omero_pixclf.cli.ilastik_arguments import IlastikCommand, memory_of_environment, threads_of_environment
from omero_pixclf.cli.path_types import UserText
from omero_pixclf.errors import InputError, OutputError, PixclfError, UsageError
from omero_pixclf.home_paths import expand_home

if TYPE_CHECKING:
    from omero_pixclf.files.export.image_writer import ExportSettings
    from omero_pixclf.headless.batch import BatchInputs, BatchResult, Engine, Progress

__all__ = ["predict"]

_DTYPES = ["uint8", "uint16", "uint32", "int8", "int16", "int32", "float32", "float64"]
_OTHER_FILE = "Choose another file"


def _option(name: str, *more: Any, **facts: Any) -> Callable[[Any], Any]:
    """An option under both spellings, ``--output_format`` and ``--output-format``."""
    spellings = dict.fromkeys((f"--{name}", f"--{name.replace('_', '-')}"))
    return click.option(*spellings, name, *more, **facts)


def _literal(_: click.Context, parameter: click.Parameter, value: str | None) -> Any:
    """A Python literal of tuples, numbers and None, as ilastik takes it."""
    if value is None:
        return None
    try:
        return ast.literal_eval(value)
    except (ValueError, SyntaxError, RecursionError, MemoryError) as error:
        raise click.BadParameter(f"{value!r} is not of the form (0.0,1.0) or [(0,0),(9,9)]", param=parameter) from error


def _range(ctx: click.Context, parameter: click.Parameter, value: str | None) -> tuple[float, float] | None:
    pair = _literal(ctx, parameter, value)
    if pair is None:
        return None
    if not (isinstance(pair, (tuple, list)) and len(pair) == 2 and all(_is_number(v) for v in pair)):
        raise click.BadParameter(f"{value!r}: expected two numbers, as (0.0,1.0)", param=parameter)
    return (pair[0], pair[1])


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _cut(ctx: click.Context, parameter: click.Parameter, value: str | None) -> Any:
    ends = _literal(ctx, parameter, value)
    if ends is None:
        return None
    fits = isinstance(ends, (tuple, list)) and len(ends) == 2 and all(isinstance(e, (tuple, list)) for e in ends)
    if not fits or not all(n is None or (isinstance(n, int) and n >= 0) for e in ends for n in e):
        raise click.BadParameter(f"{value!r}: expected [(start, ...), (stop, ...)] of whole numbers", param=parameter)
    return tuple(ends[0]), tuple(ends[1])


def _lower(_: click.Context, __: click.Parameter, value: str | None) -> str | None:
    return value.lower() if value else value


def _engine(_: click.Context, parameter: click.Parameter, value: str) -> Path | None:
    """The path of an ilastik, or None for our own engine."""
    name, _equals, path = value.partition("=")
    if value == "native":
        return None
    if name != "ilastik" or not path:
        raise click.BadParameter(f"{value!r}: expected native, or ilastik=/path/to/run_ilastik.sh", param=parameter)
    return Path(expand_home(path))


_EXAMPLES = """\b
Examples:
  omero-pixclf predict --project nuclei.ilp stack.h5/data
  omero-pixclf predict --project nuclei.ilp stack.h5/data --json
  omero-pixclf predict --project nuclei.ilp --output_format tiff \\
      --export_source "Simple Segmentation" \\
      --output_filename_format "results/{nickname}_seg" *.tif
"""


def _hidden(name: str, **facts: Any) -> Callable[[Any], Any]:
    """One of ilastik's options that has no effect on what is computed here."""
    return _option(name, hidden=True, expose_value=False, **facts)


def _path(_: click.Context, __: click.Parameter, value: str | None) -> Path | None:
    """A path; ``~`` stands for the home folder even where the shell leaves it in, as in ``--project=~/nuclei.ilp``."""
    return None if value is None else Path(expand_home(value))


def _version(ctx: click.Context, _: click.Parameter, wanted: bool) -> None:
    if wanted:
        from omero_pixclf import __version__

        click.echo(f"omero_pixclf {__version__}")
        ctx.exit()


@click.command(cls=IlastikCommand, epilog=_EXAMPLES, context_settings={"help_option_names": ["-h", "--help"]})
@_option("project", required=True, callback=_path, help="The trained project (.ilp).")
@_option(
    "raw_data",
    multiple=True,
    metavar="FILE...",
    help="Images: h5 (with /name of the array), tif, png, npy, zarr; globs are stacked. Also without this option.",
)
@_option("prediction_mask", multiple=True, metavar="FILE...", help="One mask per image: nothing is computed where 0.")
@_option("export_source", default="Probabilities", show_default=True, help="What to write; wrong names list all.")
@_option("output_format", help="hdf5, compressed hdf5, numpy, tiff, multipage tiff, png, single-scale OME-Zarr, ...")
@_option(
    "output_filename_format",
    help="File name; {dataset_dir} {nickname} {result_type} {roi} {x_start} {x_stop} ... {slice_index} are filled in.",
)
@_option("output_internal_path", help="Name of the array in an HDF5 file (default: exported_data).")
@_option("export_dtype", type=click.Choice(_DTYPES), metavar="TYPE", help=f"Stored type: {', '.join(_DTYPES)}.")
@_option("pipeline_result_drange", callback=_range, metavar="(MIN,MAX)", help="Range of the result, as (0.0,1.0) ...")
@_option("export_drange", callback=_range, metavar="(MIN,MAX)", help="... and the one it is mapped onto, as (0,255).")
@_option("output_axis_order", callback=_lower, help="Axes of the file, as cyx; axes left out must have size 1.")
@_option(
    "cutout_subregion",
    callback=_cut,
    metavar="[(START),(STOP)]",
    help="Part to write, along the result's own axes with channels, as [(0,0,0),(100,200,2)]; None: to the end.",
)
@_option("input_axes", help="Axes of the images (and, after a comma, of the masks), as zyxc.")
@_option("ignore_training_axistags", is_flag=True, help="Take the files' own axes, not those of the training image.")
@click.option(
    "--channels",
    type=UserText(),
    help="Channels in the project's order, by name or number from 0: dapi,gfp or 1,0.",
)
@_option("stack_along", type=click.Choice(list("tzyxc")), default="z", show_default=True, help="Axis for globs.")
@_option("engine", default="native", callback=_engine, help="ilastik=/path/to/run_ilastik.sh: let that ilastik do it.")
@click.option("--compare", is_flag=True, help="With --engine ilastik=...: write ours, and tell how ilastik's differs.")
@click.option("--threads", type=click.IntRange(1), help="Threads for the computation (default: all cores).")
@click.option("--memory", metavar="SIZE", help="Memory to stay within, such as 2G.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document per image, and one for all at the end.")
@_option("exit_on_failure", is_flag=True, help="Stop at the first image that fails.")
@_option("logfile", callback=_path, metavar="FILE", help="Write log lines to this file too.")
@_option("redirect_output", callback=_path, metavar="FILE", help="Append what is printed to this file instead.")
@_option("process_name", metavar="NAME", help="Write this name before each log line.")
@click.option("--debug", is_flag=True, help="Write all log lines.")
@click.option("--version", is_flag=True, is_eager=True, expose_value=False, callback=_version, help="Show the version.")
@_hidden("headless", is_flag=True)
@_hidden("preconvert_stacks", is_flag=True)
@_hidden("clean_paths", is_flag=True)
@_hidden("hbp", is_flag=True)
@_hidden("print_labels_by_slice", is_flag=True)
@_hidden("label_search_value")
@_hidden("variable_importance_path")
@_hidden("filter")
@_hidden("sys_tmp_dir")
@_hidden("tiktorch_executable")
@_hidden("nn_device")
@click.argument("files", nargs=-1)
def predict(files: tuple[str, ...], **given: Any) -> int:
    """Apply an ilastik project to FILES and write the results as headless ilastik does.

    One file that fails does not stop the others. Exit code: 0 all done, 1 some failed, 2 wrong usage or refused input.
    """
    signal.signal(signal.SIGTERM, _interrupt)
    inputs = _inputs(files, given)
    _check_logs(inputs, given)
    with _redirected(given["redirect_output"]), _logged(given):
        outcomes = _outcomes(inputs, given)
        done, failed = 0, []
        for outcome in outcomes:
            _report(outcome, as_json=given["as_json"])
            done += outcome.error is None
            failed += [outcome] if outcome.error is not None else []
        _report_all(len(inputs.images), done, len(failed), as_json=given["as_json"])
    return _exit_code(done, failed)


def _report_all(total: int, done: int, failed: int, *, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps({"done": done, "failed": failed, "not_tried": total - done - failed}))
    elif total > 1:
        click.echo(f"{done} of {total} images done" + (f", {failed} failed" if failed else ""))


def _exit_code(done: int, failed: list[BatchResult]) -> int:
    """2 where all there was to do was refused for what it is; 1 where some failed."""
    if not failed:
        return 0
    refused = all(isinstance(o.error, (InputError, UsageError)) for o in failed)
    return 2 if refused and not done else 1


def _interrupt(*_: object) -> None:
    """A polite kill is an interruption: what is half-written is removed."""
    raise KeyboardInterrupt


def _inputs(files: tuple[str, ...], given: dict[str, Any]) -> BatchInputs:
    from omero_pixclf.headless.batch import BatchInputs

    if files and given["raw_data"]:
        raise UsageError(f"images are given twice, by --raw_data and as {files}")
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


def _outcomes(inputs: BatchInputs, given: dict[str, Any]) -> Iterator[BatchResult]:
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
        engine=_chosen(given, inputs, export),
        project_file=given["project"],
        memory=_bytes(given["memory"]) or memory_of_environment(),
        threads=given["threads"] or threads_of_environment(),
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
    """Axes of images and masks; one value holds for both, ``None`` leaves one to the rules."""
    if text is None:
        return (None, None)
    parts = [None if p.strip() in ("", "None") else p.strip().lower() for p in text.split(",")]
    if len(parts) > 2:
        raise UsageError(f"--input_axes {text!r}: expected one value, or two for images and masks")
    return (parts[0], parts[-1])


def _chosen(given: dict[str, Any], inputs: BatchInputs, export: ExportSettings) -> Engine:
    from omero_pixclf.headless.batch import native_engine

    program = given["engine"]
    if program is None:
        if given["compare"]:
            raise UsageError("--compare needs --engine ilastik=/path/to/run_ilastik.sh to compare with")
        return native_engine
    from omero_pixclf.headless.ilastik_process import comparing_engine, ilastik_engine

    make = comparing_engine if given["compare"] else ilastik_engine
    return make(program, given["project"], inputs, export)


def _bytes(size: str | None) -> int | None:
    if size is None:
        return None
    from omero_pixclf.config import parse_size

    return parse_size(size)


@contextmanager
def _redirected(path: Path | None) -> Iterator[None]:
    """What is printed goes to a file, also the message of an error; that is shown as well."""
    if path is None:
        yield
        return
    with _appended(path) as file, redirect_stdout(file), redirect_stderr(file):
        try:
            yield
        except PixclfError as error:
            click.echo(f"error: {error}", err=True)
            raise


def _appended(path: Path) -> TextIO:
    try:
        return path.open("a", encoding="utf-8", errors="surrogateescape")
    except OSError as error:
        raise OutputError(f"{path}: could not be written: {error.strerror or error}") from error


@contextmanager
def _logged(given: dict[str, Any]) -> Iterator[None]:
    """Log lines as ilastik's options ask for: to a file, all of them, with a name."""
    logger = logging.getLogger("omero_pixclf")
    name = f"{given['process_name']} " if given["process_name"] else ""
    form = logging.Formatter(f"{name.replace('%', '%%')}%(asctime)s %(levelname)s %(name)s: %(message)s")
    own = bool(given["debug"] or name or given["redirect_output"])
    with ExitStack() as opened:
        streams: list[TextIO] = [opened.enter_context(_appended(given["logfile"]))] if given["logfile"] else []
        for stream in [*streams, *([sys.stderr] if own else [])]:
            handler = logging.StreamHandler(stream)
            handler.setFormatter(form)
            logger.addHandler(handler)
            opened.callback(logger.removeHandler, handler)
        opened.callback(setattr, logger, "propagate", logger.propagate)
        logger.propagate = not own  # each line once
        if given["debug"]:
            opened.callback(logger.setLevel, logger.level)
            logger.setLevel(logging.DEBUG)
        yield


def _report(outcome: BatchResult, *, as_json: bool) -> None:
    if as_json:
        facts = {
            "image": outcome.image,
            "state": "failed" if outcome.error else "done",
            "output": outcome.output,
            "seconds": round(outcome.seconds, 3),
            "error": None if outcome.error is None else str(outcome.error),
            "notes": list(outcome.notes),
        }
        click.echo(json.dumps(facts))
        return
    if outcome.error is not None:
        click.echo(f"failed: {outcome.error}", err=True)
        return
    click.echo(f"{outcome.image} -> {outcome.output} ({outcome.seconds:.1f} s)")
    for note in outcome.notes:
        click.echo(f"    {note}")


def _progress(as_json: bool) -> Callable[[str], AbstractContextManager[Progress]]:
    """A bar per image on a terminal; nothing where nobody looks (each image then has its line at the end)."""
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
