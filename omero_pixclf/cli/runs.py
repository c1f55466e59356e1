"""``omero-pixclf runs`` and ``omero-pixclf undo``: list, show, compare, merge and undo runs."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import click

from omero_pixclf.cli.interrupts import advise_on_interrupt
from omero_pixclf.cli.options import pop_login, server_options
from omero_pixclf.cli.output import json_option, print_result
from omero_pixclf.cli.path_types import UserPath
from omero_pixclf.errors import UsageError
from omero_pixclf.text import pluralize, to_one_line

__all__ = ["diff", "list_", "merge", "out_option", "runs", "show", "undo"]

out_option = click.option(
    "--out",
    type=UserPath(exists=True, file_okay=False, path_type=Path),
    help="Folder with the results of runs over files (instead of runs in OMERO).",
)


@click.group(
    epilog="""\b
Examples:
  omero-pixclf runs list
  omero-pixclf runs show 20261121T053012-ab12cd
  omero-pixclf runs diff 20261121T053012-ab12cd 20261121T061540-88ef01
"""
)
def runs() -> None:
    """List, show, compare and merge earlier runs, in OMERO or in a results folder."""


@runs.command(
    "list",
    short_help="List your runs, newest first.",
    epilog="""\b
Examples:
  omero-pixclf runs list
  omero-pixclf runs list --json -s ada@omero.example.org
  omero-pixclf runs list --out results
""",
)
@out_option
@json_option
@server_options
def list_(out: Path | None, as_json: bool, **options: Any) -> None:
    """List your runs, newest first: number of complete images, and of containers with tables."""
    from omero_pixclf.app.history import list_runs, list_runs_in_folder

    for run in list_runs_in_folder(out) if out else list_runs(pop_login(options)):
        if as_json:
            click.echo(json.dumps(run.as_dict()))
        else:
            found = ", ".join(f"{n} {name}" for name, n in run.objects.items())
            done = f"{run.complete} of {pluralize(run.images, 'image')} complete" if run.images else "tables only"
            tables = f", tables of {pluralize(run.tables, 'container')}" if run.tables else ""
            click.echo(to_one_line(f"{run.run_id}  {run.recipe:<20} {done}{tables}  {found}".rstrip()))


@runs.command(
    short_help="Show a run's result for each image.",
    epilog="""\b
Examples:
  omero-pixclf runs show 20261121T053012-ab12cd
  omero-pixclf runs show 20261121T053012-ab12cd --json
""",
)
@click.argument("run_id", metavar="RUN")
@out_option
@json_option
@server_options
def show(run_id: str, out: Path | None, as_json: bool, **options: Any) -> None:
    """Show a run's result for each image, with the reason of each failure."""
    from omero_pixclf.app.history import show_run, show_run_in_folder

    for line in show_run_in_folder(out, run_id) if out else show_run(pop_login(options), run_id):
        click.echo(json.dumps(line) if as_json else "  ".join(str(v) for v in line.values() if v != ""))


@runs.command(
    short_help="Compare two runs.",
    epilog="""\b
Examples:
  omero-pixclf runs diff 20261121T053012-ab12cd 20261121T061540-88ef01
""",
)
@click.argument("one", metavar="RUN")
@click.argument("other", metavar="RUN")
@out_option
@json_option
@server_options
def diff(one: str, other: str, out: Path | None, as_json: bool, **options: Any) -> None:
    """Show the differences between two runs: settings, and number of objects of each image."""
    from omero_pixclf.app.history import diff_runs, diff_runs_in_folder

    found = diff_runs_in_folder(out, one, other) if out else diff_runs(pop_login(options), one, other)
    if as_json:
        click.echo(json.dumps(found))
    for what, (left, right) in ({} if as_json else found).items():
        click.echo(f"{what:<28} {left}  →  {right}")
    if not found and not as_json:
        click.echo("no differences")


@runs.command(
    short_help="Merge the shards of a run.",
    epilog="""\b
Examples:
  omero-pixclf runs merge 20261121T053012-ab12cd 20261121T053013-88ef01
  omero-pixclf runs merge 20261121T053012-ab12cd --out results
""",
)
@click.argument("run_ids", metavar="RUN…", nargs=-1, required=True)
@out_option
@click.option("--axes", help="With --out: axes as given to the runs; by default as stored in them.")
@json_option
@server_options
def merge(run_ids: tuple[str, ...], out: Path | None, axes: str | None, as_json: bool, **options: Any) -> int:
    """Merge the shards of a run (--shard): write tables and pictures of their containers."""
    from omero_pixclf.app.merge import merge_in_folder, merge_in_omero
    from omero_pixclf.cli.progress import exit_code, options_for, show_events

    login = pop_login(options)
    events = merge_in_folder(out, run_ids, axes=axes) if out else merge_in_omero(login, run_ids)
    repeat = f"omero-pixclf runs merge {' '.join(run_ids)}{options_for(out)}"
    with advise_on_interrupt(lambda: f"no run was changed; repeat: {repeat}"):
        return exit_code(show_events(events, as_json=as_json, where=options_for(out), resumable=False))


@click.command(
    epilog="""\b
Examples:
  omero-pixclf undo 20261121T053012-ab12cd
  omero-pixclf undo 20261121T053012-ab12cd --yes
  omero-pixclf undo 20261121T053012-ab12cd --out results
"""
)
@click.argument("run_id", metavar="RUN")
@click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
@out_option
@json_option
@server_options
def undo(run_id: str, yes: bool, out: Path | None, as_json: bool, **options: Any) -> int:
    """Remove exactly what a run wrote: its ROIs, tables, files, images and ledger entries.

    New images of the run on which others have drawn ROIs are kept, and the exit code is 1. When those ROIs are
    removed, undo the run again.
    """
    from omero_pixclf.app.history import undo_in_folder, undo_run
    from omero_pixclf.cli.progress import options_for

    if not yes and not sys.stdin.isatty():
        raise UsageError("cannot ask for confirmation (no terminal); use --yes")
    if not yes:
        click.confirm(f"Remove everything that run {run_id} wrote?", abort=True, err=True)
    again = f"omero-pixclf undo {run_id}{options_for(out)}"
    with advise_on_interrupt(lambda: f"part of the run may be removed; to remove the rest, repeat: {again}"):
        undone = undo_in_folder(out, run_id) if out else undo_run(pop_login(options), run_id)
    counts = {kind: n for kind, n in undone.removed.items() if n}
    removed = ", ".join(f"{n} {kind}" for kind, n in counts.items())
    kept = "".join(f"\nkept: {line}" for line in undone.kept)
    print_result(as_json, f"removed: {removed or 'nothing'}{kept}", run=run_id, removed=counts, kept=undone.kept)
    return 1 if undone.kept else 0
