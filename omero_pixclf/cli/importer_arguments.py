"""The command line of OMERO's importer, as `omero import` passes it on to Java."""

from __future__ import annotations

import getopt
from collections.abc import Sequence
from dataclasses import dataclass, field

from omero_pixclf.errors import UsageError

__all__ = ["CLASS", "ImporterArguments", "parse_importer", "split_java"]

CLASS = "ome.formats.importer.cli.CommandLineImporter"
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
    """What an import was asked to do; see the fields' names in `omero import --help`."""

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
    goes_on: bool = False
    shows_files: bool = False
    shows_help: bool = False
    sends_reports: bool = False
    exclude: str | None = None
    namespaces: list[str] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)
    annotations: list[int] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)


def split_java(arguments: Sequence[str]) -> tuple[str, list[str], int]:
    """Java's own arguments taken off: the class to run, its arguments, and how deep folders are searched.

    >>> split_java(["-Xmx1024M", "-cp", "a.jar", "-Domero.import.depth=2", CLASS, "-f", "a.tif"])[1:]
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


def parse_importer(arguments: Sequence[str], depth: int = ImporterArguments.depth) -> ImporterArguments:
    """The arguments of OMERO's importer.

    Raises
    ------
    UsageError
        Where they cannot be understood, or ask for what only OME's importer can do.
    """
    long = [f"{name}=" for name in (*_TAKES_VALUE, "debug")] + list(_FLAGS)
    try:
        options, paths = getopt.gnu_getopt([_dashed(a) for a in arguments], _SHORT, long)
    except getopt.GetoptError as error:
        raise UsageError(str(error)) from error
    made = ImporterArguments(depth=depth, paths=paths)
    for option, value in options:
        _take(made, option.lstrip("-"), value)
    if len(made.namespaces) != len(made.texts):
        raise UsageError(f"{len(made.namespaces)} namespaces of annotations and {len(made.texts)} texts")
    return made


def _dashed(argument: str) -> str:
    """Long options may be written with underscores, ``--debug`` without a value."""
    if argument == "--debug":
        return "--debug=DEBUG"
    name, equals, value = argument.partition("=")
    return name.replace("_", "-") + equals + value if argument.startswith("--") else argument


def _take(made: ImporterArguments, option: str, value: str) -> None:
    match option:
        case "s":
            made.host = value
        case "p":
            made.port = _number(value, "port")
        case "k":
            made.key = value
        case "u":
            made.user = value
        case "w":
            made.password = value
        case "d":
            made.target = _target("Dataset", value)
        case "r":
            made.target = _target("Screen", value)
        case "T" | "target":
            made.target = value
        case "n" | "name" | "plate-name":
            made.name = value
        case "x" | "description" | "plate-description":
            made.description = value
        case "c":
            made.goes_on = True
        case "f":
            made.shows_files = True
        case "h" | "advanced-help":
            made.shows_help = True
        case "output":
            made.output = _one_of(value, _OUTPUTS, "output")
        case "exclude":
            made.exclude = _one_of(value, _EXCLUSIONS, "exclude")
        case "checksum-algorithm":
            made.algorithm = value
        case "no-thumbnails":
            made.thumbnails = False
        case "no-stats-info":
            made.statistics = False
        case "annotation-ns":
            made.namespaces.append(value)
        case "annotation-text":
            made.texts.append(value)
        case "annotation-link":
            made.annotations.append(_number(value, "annotation"))
        case "report" | "upload" | "logs" | "email":
            made.sends_reports = True
        case "transfer":
            _check_transfer(value)
        case "l":
            raise UsageError(f"-l {value}: Bio-Formats' lists of readers mean nothing to this importer")
        case _:  # debug, encrypted, agent, numbers of threads, upgrade check: nothing to do for them
            pass


def _check_transfer(value: str) -> None:
    if value != "upload":
        raise UsageError(f"--transfer={value}: this importer uploads files and changes nothing here")


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
