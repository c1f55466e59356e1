"""``omero-pixclf demo``: start an embedded OMERO, upload simulated images, run three classifiers, show the results."""

from __future__ import annotations

import re
import secrets
import shutil
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from omero_pixclf.cli.output import json_option, print_result
from omero_pixclf.cli.path_types import UserPath
from omero_pixclf.errors import PixclfError, UsageError

if TYPE_CHECKING:
    from rich.console import Console

    from omero_pixclf.connector.sessions.login import Login
    from omero_pixclf.demo.seed import DemoData
    from omero_pixclf.embedded.server.server import Server
    from omero_pixclf.runs.run import RunFinished

__all__ = ["LAB", "RECIPES", "USER", "demo"]

# project: (the container that it is run on, settings that differ from a recipe's defaults)
RECIPES: dict[str, tuple[str, dict[str, Any]]] = {
    "plate": ("Plate:{plate}", {"objects.min_size": 40}),
    "stack": ("Dataset:{stacks}", {"objects.min_size": 60, "output.probabilities": "attachment"}),
    "lapse": ("Dataset:{lapses}", {"objects.min_size": 40, "output.segmentation": "attachment"}),
}
USER, LAB = "demo", "Demo lab"
_MADE = re.compile(r"omero|runs|(Plate|Dataset)_[0-9]+_.*")
"""Names of the files and folders that a demo makes in its folder."""


@click.command(
    epilog="""\b
Examples:
  omero-pixclf demo
  omero-pixclf demo --folder /tmp/demo --serve      keeps the server running
  omero-pixclf demo --json > demo.jsonl
"""
)
@click.option(
    "--folder",
    type=UserPath(file_okay=False, path_type=Path),
    default=Path("demo"),
    show_default=True,
    help="Folder for the server's data and the pictures; an earlier demo in it is replaced.",
)
@click.option("--serve", is_flag=True, help="Keep the server running at the end, until Ctrl-C.")
@json_option
def demo(folder: Path, serve: bool, as_json: bool) -> int:
    """Show a whole run on an OMERO server of its own, without Java or Docker.

    Starts an embedded OMERO server, uploads simulated images (a plate, z-stacks, a time-lapse), runs three trained
    classifiers on them, reads the results with a second client, and prints them next to the true numbers.
    """
    from rich.console import Console

    from omero_pixclf.demo.report import print_results

    console = Console(highlight=False, width=None if sys.stdout.isatty() else 110, stderr=as_json)
    start = time.monotonic()
    _remove_earlier_demo(folder)
    password = secrets.token_urlsafe(9)
    with _start_server(folder / "omero", console) as (server, root), _create_user(server, root, password) as login:
        data = _upload_data(login, console)
        finished = [_run_recipe(login, data, name, folder, console, as_json) for name in RECIPES]
        print_results(console, server.host, server.port, (USER, password), data, folder)
        failed = any(one.failed for one in finished)
        console.print(f"\n{'Some images failed' if failed else 'All done'} in {time.monotonic() - start:.0f} s.")
        if as_json:
            server_at = {"host": server.host, "port": server.port, "user": USER, "password": password}
            containers = {"plate": data.plate, "stacks": data.stacks, "lapses": data.lapses}
            print_result(
                as_json, "", event="demo", folder=str(folder.resolve()), failed=failed, **server_at, **containers
            )
        if serve:
            console.print(
                f"The server runs until Ctrl-C: omero login {USER}@{server.host}:{server.port}, password {password}"
                f"\n(its administrator is root, password {root})",
                soft_wrap=True,
            )
            threading.Event().wait()
    return int(failed)


def _remove_earlier_demo(folder: Path) -> None:
    """Remove the folder of an earlier demo; refuse a folder that contains anything else."""
    from omero_pixclf.embedded.storage.data_folder import is_running, is_server_folder, remove_server_folder

    if not folder.exists():
        return
    if not is_server_folder(folder / "omero"):
        raise UsageError(f"{folder.resolve()} exists and is not a demo; choose another folder with --folder")
    if is_running(folder / "omero"):
        raise UsageError(f"a demo is running in {folder.resolve()}; stop it first, or choose another --folder")
    foreign = sorted(p.name for p in folder.iterdir() if not _MADE.fullmatch(p.name))
    if foreign:
        raise UsageError(
            f"{folder.resolve()} also contains {', '.join(foreign[:3])}, which no demo made; "
            "choose another folder with --folder"
        )
    remove_server_folder(folder / "omero")
    shutil.rmtree(folder)


@contextmanager
def _step(console: Console, what: str) -> Iterator[None]:
    """Print a step and the seconds that it took."""
    start = time.monotonic()
    console.print(f"{what} … ", end="")
    yield
    console.print(f"{time.monotonic() - start:.1f} s")


@contextmanager
def _start_server(folder: Path, console: Console) -> Iterator[tuple[Server, str]]:
    """Start the embedded OMERO; yields the server and root's password."""
    from omero_pixclf.embedded.server.server import start

    password = secrets.token_urlsafe(9)
    with _step(console, "starting the embedded OMERO"):
        server = start(folder, port=0, password=password)
    with server:
        console.print(f"it listens on {server.host}:{server.port}, its data is in {folder}")
        yield server, password


@contextmanager
def _create_user(server: Server, root_password: str, password: str) -> Iterator[Login]:
    """Create a user; yields a login that joins the user's session, which ends with the context."""
    from omero_pixclf.connector.sessions.login import Login
    from omero_pixclf.connector.sessions.session import connect
    from omero_pixclf.demo.seed import create_user

    root = Login(host=server.host, port=server.port, user="root")
    with connect(root, environ={"OMERO_PASSWORD": root_password}, ask=None) as admin:
        create_user(admin, USER, password, LAB)
    person = Login(host=server.host, port=server.port, user=USER)
    with connect(person, environ={"OMERO_PASSWORD": password}, ask=None) as session:
        yield Login(host=server.host, port=server.port, key=session.key)


def _upload_data(login: Login, console: Console) -> DemoData:
    from omero_pixclf.connector.sessions.session import connect
    from omero_pixclf.demo.seed import simulate_scenes, upload_scenes

    with _step(console, "simulating a plate, z-stacks and a time-lapse"):
        scenes = list(simulate_scenes())
    with _step(console, f"uploading {len(scenes)} images"), connect(login, environ={}, ask=None) as session:
        return upload_scenes(session, scenes)


def _run_recipe(login: Login, data: DemoData, name: str, folder: Path, console: Console, as_json: bool) -> RunFinished:
    """Run one project over its container, with the same functions as `omero-pixclf run`."""
    from omero_pixclf.app.execute import run_in_omero
    from omero_pixclf.app.request import RunRequest
    from omero_pixclf.cli.progress import show_events
    from omero_pixclf.config import load_recipe

    target, changes = RECIPES[name]
    target = target.format(plate=data.plate, stacks=data.stacks, lapses=data.lapses)
    project = Path(str(files("omero_pixclf.demo") / f"{name}.ilp"))
    recipe = load_recipe(None, {"classifier.project": str(project), "objects.label": "Nucleus", **changes})
    console.print(f"\n[bold]omero-pixclf run {target} --project {name}.ilp --label Nucleus[/bold]")
    end = show_events(run_in_omero(login, RunRequest((target,), recipe, folder=folder / "runs")), as_json=as_json)
    for outcome in end.outcomes:
        if outcome.state != "done":
            raise PixclfError(f"{outcome.image.name}: {outcome.state}: {outcome.reason}")
    return end
