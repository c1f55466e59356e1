"""The embedded OMERO: start one, put images into it, throw one away."""

from __future__ import annotations

import gc
import os
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from omero_pixclf.cli.interrupts import advise_on_interrupt
from omero_pixclf.cli.options import pop_login, server_options
from omero_pixclf.cli.output import json_option, tell
from omero_pixclf.cli.path_types import UserPath, UserText

if TYPE_CHECKING:
    from omero_pixclf.app.file_import import FileImport

__all__ = ["embedded"]

_SOME_FAILED = 1  # exit code


@click.group(
    epilog="""\b
Examples:
  omero-pixclf embedded start --folder my-omero --port 4064
  omero-pixclf embedded import *.tif --dataset Stacks -s root@localhost
  omero-pixclf embedded reset --folder my-omero
"""
)
def embedded() -> None:
    """An OMERO-compatible server in Python, for trying out and for tests."""


@embedded.command(
    epilog="""\b
Examples:
  omero-pixclf embedded start --folder my-omero
  omero-pixclf embedded start --folder my-omero --port 0     a free port
"""
)
@click.option("--folder", type=UserPath(file_okay=False, path_type=Path), required=True, help="Where its data lies.")
@click.option("--port", type=click.IntRange(0, 65535), default=4064, show_default=True, help="SSL port; 0: a free one.")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@json_option
def start(folder: Path, port: int, host: str, machine: bool) -> None:
    """Run a server until interrupted (Ctrl-C).

    Root's password is that in OMERO_PASSWORD; without it the first start makes one up and shows it, this once, and
    later ones leave it as it is.
    """
    from omero_pixclf.embedded.server.server import start as start_server

    stopped: list[int] = []  # no Event: a second signal within its lock would wait for itself
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda got, _: stopped.append(got))
    with start_server(folder, port=port, host=host, password=os.environ.get("OMERO_PASSWORD")) as server:
        _spare_the_collector()
        if server.new_password:
            tell(machine, f"root's password, shown this once: {server.new_password}", password=server.new_password)
        if host not in ("127.0.0.1", "localhost", "::1"):
            click.echo(f"warning: {host} can be reached by others; this server is for trying out and tests", err=True)
        text = f"ready on {server.host}:{server.port} (root), data in {folder}; Ctrl-C stops"
        tell(machine, text, host=server.host, port=server.port, user="root", folder=str(folder))
        while not stopped:
            time.sleep(0.1)
    tell(machine, "stopped", stopped=True)


def _spare_the_collector() -> None:
    """A large answer makes objects by the ten thousand: look for cycles less often, and not among what stays."""
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)


@embedded.command(
    "import",
    short_help="Import image files into a dataset.",
    epilog="""\b
Examples:
  omero-pixclf embedded import *.ome.tif --dataset Stacks -s root@localhost
  omero-pixclf embedded import stack.npy --axes zyx -s root@localhost
""",
)
@click.argument("files", nargs=-1, required=True, type=UserPath(path_type=Path))
@click.option(
    "--dataset",
    type=UserText(),
    default="Imported",
    show_default=True,
    help="Name of the dataset; made where there is none.",
)
@click.option("--axes", help="Axes of files that do not say them, such as zyxc.")
@json_option
@server_options
def import_(files: tuple[Path, ...], dataset: str, axes: str | None, machine: bool, **options: Any) -> int:
    """Import image files, or those in folders, into a dataset; the server keeps them and reads them.

    TIFF, OME-TIFF with its pyramids and plates, PNG, JPEG, BMP, GIF, OME-Zarr with its plates, cellSens .vsi and
    Bio-Formats' .fake names are imported by OMERO's own protocol. HDF5 and NumPy, which OMERO has no format for, and
    files with --axes are uploaded as pixels. Plates lie in no dataset. A file that cannot be imported is named, and
    the others are imported; the exit code is 1 then.
    """
    from omero_pixclf.app.file_import import import_files

    failed, login = 0, pop_login(options)
    with advise_on_interrupt(lambda: "what is listed above is imported; import the other files again"):
        for done in import_files(login, files, dataset=dataset, axes=axes):
            failed += done.error is not None
            _tell_import(machine, done)
    return _SOME_FAILED if failed else 0


def _tell_import(machine: bool, done: FileImport) -> None:
    """What was made on stdout, for people what was not on stderr."""
    names = [str(file) for file in done.files]
    for key in done.keys:
        fact = {key.partition(":")[0].lower(): key}
        tell(machine, f"{key}\t{names[0]}", **fact, file=names[0], files=names)
    if machine:
        if done.error is not None or done.remarks:
            error = None if done.error is None else str(done.error)
            tell(machine, "", file=names[0], files=names, error=error, remarks=list(done.remarks))
        return
    for remark in done.remarks:
        click.echo(f"note: {names[0]}: {remark}", err=True)
    if done.error is not None:
        click.echo(f"error: {done.error}", err=True)


@embedded.command(
    short_help="A stand-in for Java, so that `omero import` works.",
    epilog="""\b
Examples:
  omero-pixclf embedded importer --folder my-java
  omero-pixclf embedded importer --folder my-java --user-cache
""",
)
@click.option(
    "--folder", type=UserPath(file_okay=False, path_type=Path), required=True, help="Where the program `java` goes."
)
@click.option(
    "--user-cache", is_flag=True, help="Also note it in omero-py's cache of jars, where `omero import` looks by itself."
)
@json_option
def importer(folder: Path, user_cache: bool, machine: bool) -> None:
    """Make a stand-in for Java, so that `omero import` works without it.

    It is used by PATH=my-java:$PATH omero import --clientdir my-java FILE, after --user-cache without --clientdir.

    OME's importer is a Java program that omero-py downloads. This one is not OME's: it is omero-pixclf's own importer
    behind the same command line, and has none of Bio-Formats' readers (see `omero-pixclf embedded import --help`).
    omero-py itself is not changed; nothing happens unless the folder is first in PATH.
    """
    from omero_pixclf.embedded.importer.source_folder import make_jar_cache_entry, make_java_folder

    made = make_java_folder(folder)
    about = made.with_name("README.txt")
    tell(machine, f"{made}: made; it is not Java and not OME's importer, see {about}", program=str(made))
    if user_cache:
        cache = make_jar_cache_entry()
        tell(machine, f"{cache}: noted in omero-py's cache of jars", cache=str(cache))
    where = "" if user_cache else f" --clientdir {made.parent}"
    command = f"PATH={made.parent}:$PATH omero import{where} FILE"
    tell(machine, f"use it with: {command}", command=command)


@embedded.command(
    epilog="""\b
Examples:
  omero-pixclf embedded reset --folder my-omero
  omero-pixclf embedded reset --folder my-omero --yes
"""
)
@click.option(
    "--folder", type=UserPath(exists=True, file_okay=False, path_type=Path), required=True, help="The server's data."
)
@click.option("--yes", is_flag=True, help="Do not ask.")
@json_option
def reset(folder: Path, yes: bool, machine: bool) -> None:
    """Delete a server's data, everything in it."""
    from omero_pixclf.embedded.storage.data_folder import check_removable, remove_server_folder

    check_removable(folder)
    if not yes:
        click.confirm(f"Delete all data in {folder}?", abort=True, err=True)
    remove_server_folder(folder)
    tell(machine, f"{folder}: deleted", folder=str(folder), deleted=True)
