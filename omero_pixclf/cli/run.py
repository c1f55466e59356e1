"""The main job on OMERO: ``run``, and ``check``, which looks first."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from omero_pixclf.app import (
    Preview,
    Request,
    plan_in_folder,
    plan_in_omero,
    resumed,
    run_in_folder,
    run_in_omero,
    runs_in,
)
from omero_pixclf.cli.options import (
    direct_from,
    login_from,
    machine_options,
    recipe_from,
    recipe_options,
    server_options,
    storage_options,
    worker_options,
)
from omero_pixclf.cli.sections import SectionedCommand
from omero_pixclf.cli.show import exit_code, show_events
from omero_pixclf.errors import UsageError
from omero_pixclf.wording import counted

if TYPE_CHECKING:
    from omero_pixclf.connector.login import Login

__all__ = ["check", "run"]

TARGETS = """TARGETS are Image:1 Dataset:2 Project:3 Plate:4 Screen:5 Well:6, any number of them; with --out, files
and folders."""


def folder_options(command: Any) -> Any:
    """Files in, files out, with the same recipe."""
    out = click.option(
        "--out",
        type=click.Path(file_okay=False, path_type=Path),
        help="Targets are files and folders, not in OMERO; results go to this folder.",
    )
    axes = click.option("--axes", help="With --out: axes of files that do not say them, such as zyxc.")
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
@click.argument("targets", nargs=-1)
@recipe_options
@click.option("--dry-run", is_flag=True, help="Show the plan with an estimate from two images, and stop.")
@click.option("--force", is_flag=True, help="Also repeat what stands already.")
@click.option("--resume", metavar="RUN", help="Go on with this run (see: omero-pixclf runs list).")
@click.option("--json", "machine", is_flag=True, help="One JSON object per line, for machines.")
@folder_options
@machine_options
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
    login, direct = login_from(options), direct_from(options)
    machinery: dict[str, Any] = {
        "threads": threads,
        "memory": memory,
        "workers": workers,
        "dask": dask or "",
        "direct": direct,
    }
    if bool(targets) == bool(resume):
        raise UsageError("name targets such as Plate:3, or a run to go on with: --resume RUN (one of the two)")
    if dask and workers:
        raise UsageError(
            "--workers are processes of this machine, --dask has workers of its own: choose one of the two"
        )
    if not out:
        _refuse_files(targets)
    if direct.mounts and out:
        raise UsageError("--direct is for images in OMERO, --out for files: choose one of the two")
    if resume and shard:
        raise UsageError("a run that is resumed keeps its share of the images: leave --shard out")
    if resume:
        request = resumed(resume, folder=runs_in(out) if out else None, **machinery)
    else:
        request = Request(targets, recipe_from(recipe_file, options), force, shard=shard, **machinery)
    if dry_run:
        return _show_plan(_preview(login, out, axes, request, samples=2), machine)
    events = run_in_folder(out, request, axes=axes) if out else run_in_omero(login, request)
    return exit_code(show_events(events, machine=machine))


def _refuse_files(targets: tuple[str, ...]) -> None:
    """Say what is missing where somebody names files, before a server is asked for."""
    file = next((target for target in targets if Path(target).exists()), None)
    if file is not None:
        raise UsageError(f"{file}: is a file here: name the folder for its results with --out, or images as Image:1")


def _preview(login: Login, out: Path | None, axes: str | None, request: Request, *, samples: int) -> Preview:
    if out is not None:
        return plan_in_folder(out, request, axes=axes, samples=samples)
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
@click.argument("targets", nargs=-1, required=True)
@recipe_options
@click.option("--json", "machine", is_flag=True, help="One JSON object per line, for machines.")
@folder_options
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
    login, direct = login_from(options), direct_from(options)
    if not out:
        _refuse_files(targets)
    request = Request(targets, recipe_from(recipe_file, options), direct=direct)
    preview = _preview(login, out, axes, request, samples=0)
    project = preview.project
    if not machine:
        classes = ", ".join(c.name for c in project.classes)
        version = f"ilastik {project.ilastik_version}"
        click.echo(f"{project.name}: {version}, {counted(project.channels, 'channel')}, labels: {classes}")
    return _show_plan(preview, machine)


def _show_plan(preview: Preview, machine: bool) -> int:
    """Print the plan; 1 where an image is refused."""
    items = preview.items
    for item in items:
        if machine:
            fact = {"image": item.image.key, "name": item.image.name, "shape": item.image.shape}
            click.echo(json.dumps({**fact, "decision": item.decision, "reason": item.reason}))
        elif item.decision != "due" or len(items) <= 50:
            click.echo(f"{item.image.key:<12} {item.decision:<8} {item.image.name}  {item.reason}".rstrip())
    decisions = [i.decision for i in items]
    expected, crew = preview.estimate, preview.crew
    if machine and preview.direct:
        click.echo(json.dumps({"direct": preview.direct}))
    if machine and expected is not None:
        click.echo(json.dumps({"estimate": {**asdict(expected), "crew": asdict(crew)}}))
    elif not machine:
        counts = ", ".join(f"{decisions.count(d)} {d}" for d in ("due", "replace", "done", "refused") if d in decisions)
        click.echo(f"{counted(len(items), 'image')}: {counts}")
        if preview.direct:
            click.echo(f"tried: {preview.direct}")
        if expected is not None:
            found = ", ".join(f"{n} {name}" for name, n in expected.objects.items())
            tried = ", ".join(expected.sampled)
            click.echo(f"about {expected.seconds:.0f} s without writing, about {found} (from {tried})")
        size, share = f"up to {crew.expected / 2**20:.0f} MB", f", images that they share: {crew.shared}"
        together = share if crew.shared else ""
        click.echo(f"workers: {crew.workers}, threads of each: {crew.threads}, memory of each: {size}{together}")
    return 1 if "refused" in decisions else 0
