"""``omero-pixclf embedded``: start an embedded OMERO server, import images into it, delete its data."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from omero_pixclf.cli.interrupts import advise_on_interrupt
from omero_pixclf.cli.options import pop_login, server_options
from omero_pixclf.cli.output import json_option, print_result
from omero_pixclf.cli.path_types import UserPath, UserText

if TYPE_CHECKING:
    from omero_pixclf.embedded.importer.file_import import FileImport

__all__ = ["embedded", "import_", "importer", "reset", "start"]

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
    """Start and fill an OMERO-compatible server in Python, for tests and trials."""


@embedded.command(
    epilog="""\b
Examples:
  omero-pixclf embedded start --folder my-omero
  omero-pixclf embedded start --folder my-omero --port 0     a free port
"""
)
@click.option(
    "--folder", type=UserPath(file_okay=False, path_type=Path), required=True, help="Folder for the server's data."
)
@click.option(
    "--port", type=click.IntRange(0, 65535), default=4064, show_default=True, help="SSL port; 0: a free port."
)
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@json_option
def start(folder: Path, port: int, host: str, as_json: bool) -> None:
    """Run a server until it is interrupted (Ctrl-C).

    OMERO_PASSWORD sets root's password. Without it, the first start generates a password and shows it once; later
    starts do not change it.
    """
    from omero_pixclf.embedded.server.serve import StopSignals, serve
    from omero_pixclf.embedded.server.server import is_loopback

    stop = StopSignals()
    with serve(folder, port=port, host=host, password=os.environ.get("OMERO_PASSWORD")) as server:
        if server.new_password:
            text = f"root's password, not shown again: {server.new_password}"
            print_result(as_json, text, password=server.new_password)
        if not is_loopback(host):
            click.echo(f"warning: others can reach {host}; this server is for tests and trials only", err=True)
        text = f"ready on {server.host}:{server.port} (root), data in {folder}; Ctrl-C stops"
        print_result(as_json, text, host=server.host, port=server.port, user="root", folder=str(folder))
        stop.wait()
    print_result(as_json, "stopped", stopped=True)


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
    help="Name of the dataset; created if it does not exist.",
)
@click.option("--axes", help="Axes of files that do not store them, such as zyxc.")
@json_option
@server_options
def import_(files: tuple[Path, ...], dataset: str, axes: str | None, as_json: bool, **options: Any) -> int:
    """Import image files, or those in folders, into a dataset.

    TIFF, OME-TIFF (with pyramids and plates), PNG, JPEG, BMP, GIF, OME-Zarr (with plates), cellSens .vsi and
    Bio-Formats' .fake names are imported with OMERO's import protocol: the server stores the files and reads them.
    HDF5 and NumPy, which OMERO cannot read, and files with --axes are uploaded as pixels. Plates belong to no dataset.
    A file that cannot be imported is reported and the others are imported; the exit code is then 1.
    """
    from omero_pixclf.app.backends import open_session
    from omero_pixclf.embedded.importer.file_import import import_files

    failed, login = 0, pop_login(options)
    advice = "the files listed above are imported; import the others again"
    with advise_on_interrupt(lambda: advice), open_session(login) as session:
        for done in import_files(session, files, dataset=dataset, axes=axes):
            failed += done.error is not None
            _print_import(as_json, done)
    return _SOME_FAILED if failed else 0


def _print_import(as_json: bool, done: FileImport) -> None:
    """Print new images on stdout; notes and errors on stderr, or with JSON on stdout, too."""
    names = [str(file) for file in done.files]
    for key in done.keys:
        fields = {key.partition(":")[0].lower(): key}
        print_result(as_json, f"{key}\t{names[0]}", **fields, file=names[0], files=names)
    if as_json:
        if done.error is not None or done.remarks:
            error = None if done.error is None else str(done.error)
            print_result(as_json, "", file=names[0], files=names, error=error, remarks=list(done.remarks))
        return
    for remark in done.remarks:
        click.echo(f"note: {names[0]}: {remark}", err=True)
    if done.error is not None:
        click.echo(f"error: {done.error}", err=True)


@embedded.command(
    short_help="Make `omero import` work without Java.",
    epilog="""\b
Examples:
  omero-pixclf embedded importer --folder my-java
  omero-pixclf embedded importer --folder my-java --user-cache
""",
)
@click.option(
    "--folder", type=UserPath(file_okay=False, path_type=Path), required=True, help="Folder for the program `java`."
)
@click.option(
    "--user-cache", is_flag=True, help="Also register it in omero-py's cache of jars, where `omero import` finds it."
)
@json_option
def importer(folder: Path, user_cache: bool, as_json: bool) -> None:
    """Create a replacement for Java, so that `omero import` works without Java.

    Use it with PATH=my-java:$PATH omero import --clientdir my-java FILE; after --user-cache without --clientdir.

    OME's importer is a Java program that omero-py downloads. This replacement is not OME's: it is omero-pixclf's
    importer with the same command line, and has none of Bio-Formats' readers (see `omero-pixclf embedded import
    --help`). omero-py itself is not changed; the replacement is only used if the folder is first in PATH.
    """
    from omero_pixclf.embedded.importer.java_folder import make_jar_cache_entry, make_java_folder

    made = make_java_folder(folder)
    about = made.with_name("README.txt")
    print_result(as_json, f"{made}: created; it is not Java and not OME's importer, see {about}", program=str(made))
    if user_cache:
        cache = make_jar_cache_entry()
        print_result(as_json, f"{cache}: registered in omero-py's cache of jars", cache=str(cache))
    where = "" if user_cache else f" --clientdir {made.parent}"
    command = f"PATH={made.parent}:$PATH omero import{where} FILE"
    print_result(as_json, f"use it with: {command}", command=command)


@embedded.command(
    epilog="""\b
Examples:
  omero-pixclf embedded reset --folder my-omero
  omero-pixclf embedded reset --folder my-omero --yes
"""
)
@click.option(
    "--folder",
    type=UserPath(exists=True, file_okay=False, path_type=Path),
    required=True,
    help="Folder with the server's data.",
)
@click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
@json_option
def reset(folder: Path, yes: bool, as_json: bool) -> None:
    """Delete all data of a server."""
    from omero_pixclf.embedded.storage.data_folder import check_removable, remove_server_folder

    check_removable(folder)
    if not yes:
        click.confirm(f"Delete all data in {folder}?", abort=True, err=True)
    remove_server_folder(folder)
    print_result(as_json, f"{folder}: deleted", folder=str(folder), deleted=True)
