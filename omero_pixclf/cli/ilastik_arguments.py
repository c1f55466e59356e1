"""ilastik's way of writing a command line, brought into the form that click reads.

ilastik parses with argparse, several times over: an option may have several values (``--raw_data a.h5 b.h5``), a flag
may have one (``--readonly 1``), names may be cut short (``--proj``). Its callers use all of it.
"""

from __future__ import annotations

import configparser
import os
from collections.abc import Collection, Iterator
from pathlib import Path

import click

from omero_pixclf.errors import UsageError

__all__ = ["IlastikCommand", "memory_of_environment", "threads_of_environment"]

_LISTS = ("raw_data", "prediction_mask")
_OPTIONAL_FLAGS = ("readonly",)  # ilastik's OptionalFlagAction: with or without a value
_SWITCH_WORDS = tuple(configparser.ConfigParser.BOOLEAN_STATES)

_TRAINING = "training is not part of predict; train in ilastik and save the project"
_OBJECTS = "belongs to ilastik's object classification and tracking, of which predict does the pixel part only"
_REFUSED = {
    "retrain": "a project is applied as it is stored; train it in ilastik and save it",
    "tree_count": _TRAINING,
    "label_proportion": _TRAINING,
    "generate_random_labels": _TRAINING,
    "new_project": "projects are not made here",
    "workflow": "projects are not made here",
    "configfile": "ilastik's settings files are not read; use --threads and --memory",
    "distributed": "not done by predict; use omero-pixclf run --shard, or one command per image",
    "table_only": _OBJECTS,
    "prediction_maps": _OBJECTS,
    "segmentation_image": _OBJECTS,
    "binary_image": _OBJECTS,
    "probabilities": "belongs to ilastik's multicut, which is not done here",
    "export_plugin": _OBJECTS,
}


class IlastikCommand(click.Command):
    """A command that reads its arguments as ilastik does."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse arguments after they were brought into click's form."""
        names = {name for p in self.get_params(ctx) for name in p.opts if name.startswith("--")}
        return super().parse_args(ctx, list(_rewritten(args, names)))


def _rewritten(args: list[str], names: Collection[str]) -> Iterator[str]:
    """Arguments with full names, one value behind each option, and without quotation marks that a shell left."""
    values_of: str | None = None
    rest = list(args)
    while rest:
        arg = rest.pop(0)
        if arg == "--":
            yield from (arg, *rest)
            return
        if not arg.startswith("--"):
            yield from ((values_of, arg) if values_of else (_unquoted_file(arg),))
            continue
        written, equals, value = arg.partition("=")
        name = _full_name(written, names)
        key = name[2:].replace("-", "_")
        values_of = name if key in _LISTS and not equals else None
        if key in _OPTIONAL_FLAGS:
            _check_switch(written, value if equals else _taken_switch(rest))
        elif key not in _LISTS or equals:
            yield f"{name}={_unquoted(value)}" if equals else name


def _full_name(written: str, names: Collection[str]) -> str:
    """The option that is meant: its own name, or the only one that begins so."""
    key = written[2:].replace("-", "_")
    if key in _REFUSED:
        raise click.UsageError(f"{written}: {_REFUSED[key]}")
    if written in names or len(key) < 3:
        return written
    meant = {n[2:].replace("-", "_") for n in names} | {*_OPTIONAL_FLAGS}
    if key in meant:
        return written
    near = sorted(n for n in meant if n.startswith(key))
    if len(near) > 1:
        raise click.UsageError(f"{written} may be any of {', '.join('--' + n for n in near)}: write the whole name")
    return f"--{near[0]}" if near else written


def _taken_switch(rest: list[str]) -> str | None:
    """The value of a flag that may have one, taken from the arguments; a file's name stays with the files."""
    return rest.pop(0) if rest and rest[0].lower() in _SWITCH_WORDS else None


def _check_switch(written: str, value: str | None) -> None:
    if value is not None and value.lower() not in _SWITCH_WORDS:
        raise click.UsageError(f"{written}: {value!r} is neither yes nor no; choose one of {', '.join(_SWITCH_WORDS)}")


def _unquoted(value: str) -> str:
    """A value without the quotation marks around it: programs that write for Windows' shell leave them in."""
    return value[1:-1] if len(value) > 1 and value[0] == value[-1] and value[0] in "'\"" else value


def _unquoted_file(value: str) -> str:
    return value if os.path.lexists(Path(value)) else _unquoted(value)


def threads_of_environment() -> int | None:
    """Threads by ilastik's variable ``LAZYFLOW_THREADS``, None where it is not set.

    Raises
    ------
    UsageError
        Where it is no number.
    """
    count = _number_of_environment("LAZYFLOW_THREADS")
    return None if count is None or count < 0 else max(1, count)


def memory_of_environment() -> int | None:
    """Bytes by ilastik's variable ``LAZYFLOW_TOTAL_RAM_MB``, None where it is not set or 0.

    Raises
    ------
    UsageError
        Where it is no number.
    """
    count = _number_of_environment("LAZYFLOW_TOTAL_RAM_MB")
    return count * 2**20 if count and count > 0 else None


def _number_of_environment(name: str) -> int | None:
    text = os.environ.get(name, "").strip()
    if not text:
        return None
    try:
        return int(text)
    except ValueError as error:
        raise UsageError(f"{name}={text!r} in the environment: expected a whole number; correct or unset it") from error
