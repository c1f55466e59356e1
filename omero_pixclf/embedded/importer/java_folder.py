"""The folder with the replacement for Java, and its entry in omero-py's cache of jars."""

from __future__ import annotations

import shlex
import sys
import zipfile
from pathlib import Path

from omero_pixclf.errors import OutputError, UsageError

__all__ = ["make_jar_cache_entry", "make_java_folder"]

_JAR = "omero_pixclf-importer.jar"
_ABOUT = """This folder replaces Java for `omero import`. It was created by: omero-pixclf embedded importer

It is NOT OME's importer and has none of Bio-Formats' readers: it imports TIFF, OME-TIFF, PNG, JPEG, BMP, GIF, OME-Zarr,
cellSens .vsi and Bio-Formats' .fake names. The .jar file is empty; omero-py requires one.

    PATH={folder}:$PATH omero import --clientdir {folder} FILE...

Remove it from PATH, or delete the folder, to use real Java again.
"""
_JAVA = """#!/bin/sh
# omero_pixclf's replacement for Java for `omero import`; see README.txt in this folder
exec {python} {program} "$@"
"""
_PROGRAM = """import sys

from omero_pixclf.embedded.importer.run_import import run_java

sys.exit(run_java(sys.argv[1:]))
"""
_MARK = "omero_pixclf-importer"


def make_java_folder(folder: Path) -> Path:
    """Write the program ``java`` and an empty jar into a folder; return the program's path.

    Raises
    ------
    UsageError
        The folder contains another ``java``.
    OutputError
        The folder cannot be written.
    """
    folder = folder.resolve()
    program = folder / "java"
    if program.exists() and _MARK not in _text(folder / "README.txt") and "omero_pixclf" not in _text(program):
        raise UsageError(f"{program}: exists and was not created by omero_pixclf; choose another folder")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "README.txt").write_text(_ABOUT.format(folder=folder), encoding="utf-8")
        inner = folder / "importer.py"
        inner.write_text(_PROGRAM, encoding="utf-8")
        text = _JAVA.format(python=shlex.quote(sys.executable), program=shlex.quote(str(inner)))
        program.write_text(text, encoding="utf-8")
        program.chmod(0o755)
        _write_jar(folder / _JAR)
    except OSError as error:
        raise OutputError(f"{folder}: cannot be written: {error.strerror}") from error
    return program


def make_jar_cache_entry() -> Path:
    """Register the empty jar in omero-py's cache of jars (below OMERO_USERDIR if set); return its folder.

    Raises
    ------
    UsageError
        The cache already contains OME's jars.
    OutputError
        The cache cannot be written.
    """
    from omero.util import get_omero_user_cache_dir

    jars = Path(str(get_omero_user_cache_dir())) / "jars"
    note = jars / "OMERO.java.txt"
    if note.exists() and _text(note).strip() != _MARK:
        raise UsageError(f"{note}: refers to {_text(note).strip()}, OME's own importer; it is not changed")
    libraries = jars / _MARK / "libs"
    try:
        libraries.mkdir(parents=True, exist_ok=True)
        _write_jar(libraries / _JAR)
        note.write_text(_MARK, encoding="utf-8")
    except OSError as error:
        raise OutputError(f"{jars}: cannot be written: {error.strerror}") from error
    return libraries


def _write_jar(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as jar:
        jar.writestr("META-INF/MANIFEST.MF", "Manifest-Version: 1.0\nCreated-By: omero_pixclf (a placeholder)\n")


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""
