"""The main job on OMERO: ``run``, and ``check``, which looks first."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from omero_pixclf.app.runs import (
    RunPreview,
    RunRequest,
    load_resumed_request,
    plan_in_folder,
    plan_in_omero,
    run_in_folder,
    run_in_omero,
    run_state_folder,
)
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
from omero_pixclf.cli.path_types import UserPath, expand_home_in_targets
from omero_pixclf.cli.progress import exit_code, options_for, show_events
from omero_pixclf.direct.mounts import DirectSettings
from omero_pixclf.errors import UsageError
from omero_pixclf.runs.planning.plan import format_decisions
from omero_pixclf.runs.planning.plan_notes import format_notes
from omero_pixclf.text import format_size, pluralize, to_one_line

if TYPE_CHECKING:
    from omero_pixclf.connector.sessions.login import Login

__all__ = ["check", "run"]

TARGETS = """TARGETS are Image:1 Dataset:2 Project:3 Plate:4 Screen:5 Well:6, any number of them; with --out, files
and folders."""


def file_options(command: Any) -> Any:
    """Files in, files out, with the same recipe."""
    out = click.option(
        "--out",
        type=UserPath(file_okay=False, path_type=Path),
        help="Targets are files and folders, not in OMERO; results go to this folder.",
    )
    axes = click.option("--axes", help="With --out: the axes of the files, such as zyxc (default: as each file says).")
    return out(axes(command))


@click.command(
    cls=SectionedCommand,
    help=f"""Apply a classifier to images in OMERO and write what it finds back.

{TARGETS}

What stands already is skipped; results of another version of the same recipe are replaced once the new ones stand.""",
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
@click.option("--dry-run", is_flag=True, help="Show the plan with an estimate from two images, and stop.")
@click.option("--force", is_flag=True, help="Also repeat what stands already.")
@click.option("--resume", metavar="RUN", help="Go on with this run (see: omero-pixclf runs list).")
@click.option("--json", "machine", is_flag=True, help="One JSON object per line, for machines.")
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
    machine: bool,
    threads: int | None,
    memory: int | None,
    workers: int | None,
    dask: str | None,
    shard: tuple[int, int] | None,
    **options: Any,
) -> int:
    """Apply a classifier to images in OMERO."""
    login, direct = pop_login(options), pop_direct_settings(options)
    _refuse_contradictions(targets, out=out, resume=resume, direct=direct, axes=axes, several=bool(dask and workers))
    machinery: dict[str, Any] = {
        "threads": threads,
        "memory": memory,
        "workers": workers,
        "dask": dask or "",
        "direct": direct,
    }
    if resume is not None:
        request = load_resumed_request(resume, folder=run_state_folder(out) if out else None, **machinery)
        if axes not in (None, request.axes):
            raise UsageError(
                f"run {resume} reads its files as {request.axes or 'they say'}, not as {axes}: leave out --axes, or "
                "start a new run"
            )
    else:
        request = RunRequest(targets, pop_recipe(recipe_file, options), force, shard=shard, axes=axes, **machinery)
    if dry_run:
        return _show_plan(_preview(login, out, request, samples=2), machine)
    events = run_in_folder(out, request) if out else run_in_omero(login, request)
    return exit_code(show_events(events, machine=machine, where=options_for(out)))


def _refuse_contradictions(
    targets: tuple[str, ...],
    *,
    out: Path | None,
    resume: str | None,
    direct: DirectSettings,
    axes: str | None,
    several: bool,
) -> None:
    """Refuse what cannot be meant, before anything is opened or a server is asked for."""
    if resume is not None:
        _refuse_changes(click.get_current_context())
    elif not targets:
        raise UsageError("name targets such as Plate:3, or a run to go on with: --resume RUN")
    if several:
        raise UsageError(
            "--workers are processes of this machine, --dask has workers of its own: choose one of the two"
        )
    if not out:
        _refuse_files(targets, axes)
    if direct.mounts and out:
        raise UsageError("--direct is for images in OMERO, --out for files: choose one of the two")


ALLOWED_WITH_RESUME = frozenset(
    {"resume", "out", "axes", "dry_run", "machine", "threads", "memory", "workers", "dask", "mounted", "direct_check"}
    | set(SERVER_NAMES)
)
"""Options that say where and how a run goes on; all others say which run it is, and that is known.

``axes`` may be repeated, but not changed.
"""


def _refuse_changes(context: click.Context) -> None:
    """Refuse options that a resumed run would not follow: it goes on with what it was asked for at first."""
    given = [
        parameter.opts[0] if isinstance(parameter, click.Option) else "TARGETS"
        for parameter in context.command.params
        if parameter.name not in ALLOWED_WITH_RESUME
        and context.get_parameter_source(parameter.name or "") is click.core.ParameterSource.COMMANDLINE
        and context.params.get(parameter.name or "") != ()
    ]
    if given:
        raise UsageError(
            f"--resume goes on with what the run was asked for at first: leave out {', '.join(given)}; "
            "for other settings or targets start a new run"
        )


def _refuse_files(targets: tuple[str, ...], axes: str | None = None) -> None:
    """Say what is missing where somebody names files, before a server is asked for."""
    file = next((target for target in targets if Path(target).exists()), None)
    if file is not None:
        raise UsageError(f"{file}: is a file here: name the folder for its results with --out, or images as Image:1")
    if axes is not None:
        raise UsageError("--axes is for image files: name the folder for their results with --out, or leave --axes out")


def _preview(login: Login, out: Path | None, request: RunRequest, *, samples: int) -> RunPreview:
    if out is not None:
        return plan_in_folder(out, request, samples=samples)
    return plan_in_omero(login, request, samples=samples)


@click.command(
    cls=SectionedCommand,
    help=f"""See what a run would do: project against images, permissions, what stands already. Nothing is written.

{TARGETS}""",
    epilog="""\b
Examples:
  omero-pixclf check Plate:3 --project nuclei.ilp
  omero-pixclf check Dataset:7 --recipe nuclei.toml --json
""",
)
@click.argument("targets", nargs=-1, required=True, callback=expand_home_in_targets)
@recipe_options
@click.option("--json", "machine", is_flag=True, help="One JSON object per line, for machines.")
@file_options
@storage_options
@server_options
def check(
    targets: tuple[str, ...],
    recipe_file: Path | None,
    machine: bool,
    out: Path | None,
    axes: str | None,
    **options: Any,
) -> int:
    """See what a run would do."""
    login, direct = pop_login(options), pop_direct_settings(options)
    if not out:
        _refuse_files(targets, axes)
    request = RunRequest(targets, pop_recipe(recipe_file, options), direct=direct, axes=axes)
    preview = _preview(login, out, request, samples=0)
    project = preview.project
    if not machine:
        classes = ", ".join(c.name for c in project.classes)
        version = f"ilastik {project.ilastik_version}"
        click.echo(f"{project.name}: {version}, {pluralize(project.channels, 'channel')}, labels: {classes}")
    return _show_plan(preview, machine)


def _show_plan(preview: RunPreview, machine: bool) -> int:
    """Print the plan; 1 where an image is refused."""
    items = preview.items
    for item in items:
        if machine:
            fact = {"image": item.image.key, "name": item.image.name, "shape": item.image.shape}
            click.echo(json.dumps({**fact, "decision": item.decision, "reason": item.reason, "note": item.note}))
        elif item.decision != "due" or len(items) <= 50:
            click.echo(f"{item.image.key:<12} {item.decision:<8} {item.image.name}  {item.reason}".rstrip())
    decisions = [i.decision for i in items]
    expected, crew = preview.estimate, preview.crew
    if machine and preview.direct:
        click.echo(json.dumps({"direct": preview.direct}))
    if machine and expected is not None:
        click.echo(json.dumps({"estimate": {**asdict(expected), "crew": asdict(crew)}}))
    elif not machine:
        click.echo(f"{pluralize(len(items), 'image')}: {format_decisions(items)}")
        for note in format_notes(item.note for item in items):
            click.echo(to_one_line(note))
        if preview.direct:
            click.echo(f"tried: {preview.direct}")
        if expected is not None:
            found = ", ".join(f"{n} {name}" for name, n in expected.objects.items())
            tried = ", ".join(expected.sampled)
            click.echo(f"about {expected.seconds:.0f} s without writing, about {found} (from {tried})")
        size, share = f"up to {format_size(crew.expected)}", f", images that they share: {crew.shared}"
        together = share if crew.shared else ""
        click.echo(f"workers: {crew.workers}, threads of each: {crew.threads}, memory of each: {size}{together}")
    return 1 if "refused" in decisions else 0
