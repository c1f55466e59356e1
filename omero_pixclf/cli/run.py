"""``omero-pixclf run`` and ``omero-pixclf check``: apply a classifier to images, or show what a run would do."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from omero_pixclf.app.execute import run_in_folder, run_in_omero
from omero_pixclf.app.plan import RunPreview, plan_in_folder, plan_in_omero
from omero_pixclf.app.request import RunRequest, load_resumed_request, results_state_folder
from omero_pixclf.cli.help_sections import SectionedCommand
from omero_pixclf.cli.options import (
    SERVER_NAMES,
    pop_direct_settings,
    pop_login,
    pop_recipe,
    recipe_options,
    resource_options,
    server_options,
    storage_options,
    worker_options,
)
from omero_pixclf.cli.output import json_option
from omero_pixclf.cli.path_types import UserPath, expand_home_in_targets
from omero_pixclf.cli.progress import exit_code, options_for, show_events
from omero_pixclf.direct.mounts import DirectSettings
from omero_pixclf.errors import UsageError
from omero_pixclf.runs.planning.plan import format_decisions
from omero_pixclf.runs.planning.plan_notes import format_notes
from omero_pixclf.runs.planning.workers import WorkerAllocation
from omero_pixclf.text import format_size, pluralize, to_one_line

if TYPE_CHECKING:
    from omero_pixclf.connector.sessions.login import Login

__all__ = ["ALLOWED_WITH_RESUME", "TARGETS", "check", "file_options", "run"]

TARGETS = """TARGETS are one or more of Image:1 Dataset:2 Project:3 Plate:4 Screen:5 Well:6. With --out they are files
and folders."""


def file_options(command: Any) -> Any:
    """Add the options for image files."""
    out = click.option(
        "--out",
        type=UserPath(file_okay=False, path_type=Path),
        help="Process files and folders instead of images in OMERO, and write the results to this folder.",
    )
    axes = click.option("--axes", help="With --out: axes of the files, such as zyxc (default: as stored in each file).")
    return out(axes(command))


@click.command(
    cls=SectionedCommand,
    help=f"""Apply a classifier to images in OMERO and store the results there.

{TARGETS}

Images that already have results of the same recipe are skipped. Results of an earlier version of the recipe (same
name, other settings) are replaced after the new ones are complete.""",
    epilog="""\b
Examples:
  omero-pixclf run Plate:3 --project nuclei.ilp --threshold 0.6
  omero-pixclf run Dataset:7 Dataset:8 --recipe nuclei.toml --json
  omero-pixclf run Plate:3 --project FileAnnotation:12 --rois mask
  omero-pixclf run Plate:3 --recipe nuclei.toml --dry-run
  omero-pixclf run stacks/*.tif --out results --recipe nuclei.toml
  omero-pixclf run Plate:3 --recipe nuclei.toml --direct /mnt/omero
  omero-pixclf run --resume 20261121T053012-ab12cd
""",
)
@click.argument("targets", nargs=-1, callback=expand_home_in_targets)
@recipe_options
@click.option("--dry-run", is_flag=True, help="Show the plan and an estimate from two images; write nothing.")
@click.option("--force", is_flag=True, help="Reprocess images that already have results.")
@click.option("--resume", metavar="RUN", help="Continue this interrupted run (see: omero-pixclf runs list).")
@json_option
@file_options
@resource_options
@worker_options
@storage_options
@server_options
def run(
    targets: tuple[str, ...],
    recipe_file: Path | None,
    out: Path | None,
    axes: str | None,
    dry_run: bool,
    force: bool,
    resume: str | None,
    as_json: bool,
    threads: int | None,
    memory: int | None,
    workers: int | None,
    dask: str | None,
    shard: tuple[int, int] | None,
    **options: Any,
) -> int:
    """Apply a classifier to images in OMERO."""
    login, direct = pop_login(options), pop_direct_settings(options)
    _check_combinations(
        targets, out=out, resume=resume, direct=direct, axes=axes, has_dask_and_workers=bool(dask and workers)
    )
    resources: dict[str, Any] = {
        "threads": threads,
        "memory": memory,
        "workers": workers,
        "dask": dask or "",
        "direct": direct,
    }
    if resume is not None:
        request = load_resumed_request(resume, folder=results_state_folder(out) if out else None, **resources)
        if axes not in (None, request.axes):
            raise UsageError(
                f"run {resume} reads its files with axes {request.axes or 'as stored in them'}, not {axes}: leave out "
                "--axes, or start a new run"
            )
    else:
        request = RunRequest(targets, pop_recipe(recipe_file, options), force, shard=shard, axes=axes, **resources)
    if dry_run:
        return _show_plan(_preview(login, out, request, samples=2), as_json)
    events = run_in_folder(out, request) if out else run_in_omero(login, request)
    return exit_code(show_events(events, as_json=as_json, where=options_for(out)))


def _check_combinations(
    targets: tuple[str, ...],
    *,
    out: Path | None,
    resume: str | None,
    direct: DirectSettings,
    axes: str | None,
    has_dask_and_workers: bool,
) -> None:
    """Refuse arguments that do not fit together, before files are opened or a server is needed."""
    if resume is not None:
        _refuse_changes(click.get_current_context())
    elif not targets:
        raise UsageError("give targets such as Plate:3, or an interrupted run with --resume RUN")
    if has_dask_and_workers:
        raise UsageError("--workers starts processes on this machine, --dask uses its own workers: give only one")
    if not out:
        _refuse_files(targets, axes)
    if direct.mounts and out:
        raise UsageError("--direct is for images in OMERO, --out for files: give only one")


ALLOWED_WITH_RESUME = frozenset(
    {"resume", "out", "axes", "dry_run", "as_json", "threads", "memory", "workers", "dask", "mounted", "direct_check"}
    | set(SERVER_NAMES)
)
"""Options that are allowed with --resume; all others are settings of the run, which cannot change.

``axes`` may be given again with the same value.
"""


def _refuse_changes(context: click.Context) -> None:
    """Refuse options that a resumed run would ignore: it continues with its first settings."""
    given = [
        parameter.opts[0] if isinstance(parameter, click.Option) else "TARGETS"
        for parameter in context.command.params
        if parameter.name not in ALLOWED_WITH_RESUME
        and context.get_parameter_source(parameter.name or "") is click.core.ParameterSource.COMMANDLINE
        and context.params.get(parameter.name or "") != ()
    ]
    if given:
        raise UsageError(
            f"--resume continues with the first settings and targets of the run: leave out {', '.join(given)}, "
            "or start a new run"
        )


def _refuse_files(targets: tuple[str, ...], axes: str | None = None) -> None:
    """Refuse files without --out, before a server is needed."""
    file = next((target for target in targets if Path(target).exists()), None)
    if file is not None:
        raise UsageError(f"{file} is a file: give a folder for its results with --out, or images in OMERO as Image:1")
    if axes is not None:
        raise UsageError("--axes is for image files: give a folder for their results with --out, or leave out --axes")


def _preview(login: Login, out: Path | None, request: RunRequest, *, samples: int) -> RunPreview:
    if out is not None:
        return plan_in_folder(out, request, samples=samples)
    return plan_in_omero(login, request, samples=samples)


@click.command(
    cls=SectionedCommand,
    help=f"""Show what a run would do and any problems: whether images fit the project, permissions, existing results.

Nothing is written. {TARGETS}""",
    epilog="""\b
Examples:
  omero-pixclf check Plate:3 --project nuclei.ilp
  omero-pixclf check Dataset:7 --recipe nuclei.toml --json
""",
)
@click.argument("targets", nargs=-1, required=True, callback=expand_home_in_targets)
@recipe_options
@json_option
@file_options
@storage_options
@server_options
def check(
    targets: tuple[str, ...],
    recipe_file: Path | None,
    as_json: bool,
    out: Path | None,
    axes: str | None,
    **options: Any,
) -> int:
    """Show what a run would do and any problems."""
    login, direct = pop_login(options), pop_direct_settings(options)
    if not out:
        _refuse_files(targets, axes)
    request = RunRequest(targets, pop_recipe(recipe_file, options), direct=direct, axes=axes)
    preview = _preview(login, out, request, samples=0)
    project = preview.project
    if not as_json:
        classes = ", ".join(c.name for c in project.classes)
        version = f"ilastik {project.ilastik_version}"
        click.echo(f"{project.name}: {version}, {pluralize(project.channels, 'channel')}, labels: {classes}")
    return _show_plan(preview, as_json)


def _show_plan(preview: RunPreview, as_json: bool) -> int:
    """Print the plan; returns the exit code, 1 if an image is refused."""
    items = preview.items
    for item in items:
        if as_json:
            fields = {"image": item.image.key, "name": item.image.name, "shape": item.image.shape}
            click.echo(json.dumps({**fields, "decision": item.decision, "reason": item.reason, "note": item.note}))
        elif item.decision != "due" or len(items) <= 50:
            click.echo(f"{item.image.key:<12} {item.decision:<8} {item.image.name}  {item.reason}".rstrip())
    decisions = [i.decision for i in items]
    expected, workers = preview.estimate, preview.workers
    if as_json and preview.direct:
        click.echo(json.dumps({"direct": preview.direct}))
    if as_json and expected is not None:
        click.echo(json.dumps({"estimate": {**asdict(expected), "crew": _crew_fields(workers)}}))
    elif not as_json:
        click.echo(f"{pluralize(len(items), 'image')}: {format_decisions(items)}")
        for note in format_notes(item.note for item in items):
            click.echo(to_one_line(note))
        if preview.direct:
            click.echo(f"tried: {preview.direct}")
        if expected is not None:
            found = ", ".join(f"{n} {name}" for name, n in expected.objects.items())
            tried = ", ".join(expected.sampled)
            click.echo(f"about {expected.seconds:.0f} s without writing, about {found} (from {tried})")
        size, share = f"up to {format_size(workers.expected)}", f", images that they share: {workers.shared}"
        together = share if workers.shared else ""
        click.echo(f"workers: {workers.workers}, threads of each: {workers.threads}, memory of each: {size}{together}")
    return 1 if "refused" in decisions else 0


def _crew_fields(workers: WorkerAllocation) -> dict[str, Any]:
    """The workers as ``--json`` has them: the number of images that one processes at a time is called ``lanes``."""
    fields = asdict(workers)
    return {("lanes" if name == "concurrency" else name): value for name, value in fields.items()}
