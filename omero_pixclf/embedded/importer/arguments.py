"""Parser of the importer's command line, as `omero import` passes it to Java."""

from __future__ import annotations

import getopt
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from omero_pixclf.errors import UsageError

__all__ = ["IMPORTER_CLASS", "ImporterArguments", "find_anchors", "parse_importer_arguments", "split_java_arguments"]

IMPORTER_CLASS = "ome.formats.importer.cli.CommandLineImporter"
_SHORT = "cfl:s:u:w:d:r:T:k:x:n:p:h"
# fmt: off
_TAKES_VALUE = (
    "agent", "annotation-link", "annotation-ns", "annotation-text", "checksum-algorithm", "description", "email",
    "encrypted", "exclude", "name", "output", "parallel-fileset", "parallel-upload", "plate-description", "plate-name",
    "qa-baseurl", "target", "transfer",
)
_FLAGS = ("advanced-help", "logs", "no-stats-info", "no-thumbnails", "no-upgrade-check", "report", "upload")
# fmt: on
_DEPTH = "-Domero.import.depth="
_OUTPUTS = ("ids", "legacy", "yaml")
_EXCLUSIONS = ("filename", "clientpath")


@dataclass
class ImporterArguments:
    """Parsed arguments of an import; see the options in `omero import --help`."""

    host: str = ""
    port: int | None = None
    key: str = ""
    user: str = ""
    password: str = field(default="", repr=False)
    target: str | None = None
    name: str | None = None
    description: str | None = None
    output: str = "ids"
    algorithm: str | None = None
    depth: int = 4
    thumbnails: bool = True
    statistics: bool = True
    continue_on_error: bool = False
    list_only: bool = False
    show_help: bool = False
    send_reports: bool = False
    exclude: str | None = None
    namespaces: list[str] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)
    annotations: list[int] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)


def split_java_arguments(arguments: Sequence[str]) -> tuple[str, list[str], int]:
    """Split a call of Java: return the class to run, its arguments, and the depth of the search in folders.

    >>> split_java_arguments(["-Xmx1024M", "-cp", "a.jar", "-Domero.import.depth=2", IMPORTER_CLASS, "-f", "a.tif"])[1:]
    (['-f', 'a.tif'], 2)
    """
    depth = ImporterArguments.depth
    left = list(arguments)
    while left and left[0].startswith("-"):
        option = left.pop(0)
        if option in ("-cp", "-classpath", "--class-path") and left:
            left.pop(0)
        elif option.startswith(_DEPTH):
            depth = _number(option.removeprefix(_DEPTH), "depth")
    return (left[0] if left else ""), left[1:], depth


def parse_importer_arguments(arguments: Sequence[str], depth: int = ImporterArguments.depth) -> ImporterArguments:
    """Parse the arguments of OMERO's importer.

    Raises
    ------
    UsageError
        An argument is invalid, or only OME's importer supports it.
    """
    long = [f"{name}=" for name in (*_TAKES_VALUE, "debug")] + list(_FLAGS)
    try:
        options, paths = getopt.gnu_getopt([_normalize(a) for a in arguments], _SHORT, long)
    except getopt.GetoptError as error:
        raise UsageError(str(error)) from error
    made = ImporterArguments(depth=depth, paths=paths)
    for option, value in options:
        _apply_option(made, option.lstrip("-"), value)
    if len(made.namespaces) != len(made.texts):
        raise UsageError(
            f"{len(made.namespaces)} annotation namespaces and {len(made.texts)} texts, expected the same number"
        )
    return made


def find_anchors(paths: Sequence[str]) -> tuple[Path, ...]:
    """Return the folders before ``/./``, which marks the part of a path that the server keeps.

    >>> find_anchors(["/data/./plate/a.tif", "/other/b.tif"])
    (PosixPath('/data'),)
    """
    marked = (path.partition("/./") for path in paths)
    found = (Path(os.path.abspath(head or "/")) for head, mark, _ in marked if mark)  # noqa: PTH100 - as `client_path`
    return tuple(dict.fromkeys(found))


def _normalize(argument: str) -> str:
    """Return an option with dashes instead of underscores; ``--debug`` gets a value."""
    if argument == "--debug":
        return "--debug=DEBUG"
    name, equals, value = argument.partition("=")
    return name.replace("_", "-") + equals + value if argument.startswith("--") else argument


def _apply_option(made: ImporterArguments, option: str, value: str) -> None:
    """Apply one option; options that are not in the tables have no effect here."""
    if option in _TEXTS:
        setattr(made, _TEXTS[option], value)
    elif option in _SWITCHES:
        setattr(made, *_SWITCHES[option])
    elif option in _READ:
        name, read = _READ[option]
        setattr(made, name, read(value))
    elif option in _GATHERED:
        name, read = _GATHERED[option]
        getattr(made, name).append(read(value))
    elif option in _CHECKED:
        _CHECKED[option](value)


def _check_transfer(value: str) -> None:
    if value != "upload":
        raise UsageError(f"--transfer={value}: this importer only uploads files")


def _refuse_readers(value: str) -> None:
    raise UsageError(f"-l {value}: this importer does not use Bio-Formats' lists of readers")


def _target(kind: str, value: str) -> str:
    return f"{kind}:{_number(value.removeprefix(kind + ':'), kind)}"


def _one_of(value: str, known: tuple[str, ...], name: str) -> str:
    if value not in known:
        raise UsageError(f"--{name}={value}: expected one of {', '.join(known)}")
    return value


def _number(text: str, name: str) -> int:
    try:
        return int(text)
    except ValueError as error:
        raise UsageError(f"{name} {text!r}: expected a number") from error


_TEXTS = {
    "s": "host", "k": "key", "u": "user", "w": "password", "T": "target", "target": "target",
    "n": "name", "name": "name", "plate-name": "name",
    "x": "description", "description": "description", "plate-description": "description",
    "checksum-algorithm": "algorithm",
}  # fmt: skip
_SWITCHES = {
    "c": ("continue_on_error", True), "f": ("list_only", True),
    "no-thumbnails": ("thumbnails", False), "no-stats-info": ("statistics", False),
    **dict.fromkeys(("h", "advanced-help"), ("show_help", True)),
    **dict.fromkeys(("report", "upload", "logs", "email"), ("send_reports", True)),
}  # fmt: skip
_READ: dict[str, tuple[str, Callable[[str], object]]] = {
    "p": ("port", lambda value: _number(value, "port")),
    "d": ("target", lambda value: _target("Dataset", value)),
    "r": ("target", lambda value: _target("Screen", value)),
    "output": ("output", lambda value: _one_of(value, _OUTPUTS, "output")),
    "exclude": ("exclude", lambda value: _one_of(value, _EXCLUSIONS, "exclude")),
}
_GATHERED: dict[str, tuple[str, Callable[[str], object]]] = {
    "annotation-ns": ("namespaces", str),
    "annotation-text": ("texts", str),
    "annotation-link": ("annotations", lambda value: _number(value, "annotation")),
}
_CHECKED = {"transfer": _check_transfer, "l": _refuse_readers}
