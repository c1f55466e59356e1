"""Convert arguments written for ilastik's command line to the form that click parses.

ilastik uses argparse: an option may have several values (``--raw_data a.h5 b.h5``), a flag may have a value
(``--readonly 1``), names may be abbreviated (``--proj``). Callers of ilastik use all of these.
"""

from __future__ import annotations

import configparser
import os
from collections.abc import Collection, Iterator
from pathlib import Path

import click

from omero_pixclf.errors import UsageError

__all__ = ["IlastikCommand", "memory_from_environment", "threads_from_environment"]

_LISTS = ("raw_data", "prediction_mask")
_OPTIONAL_FLAGS = ("readonly",)  # ilastik's OptionalFlagAction: with or without a value
_SWITCH_WORDS = tuple(configparser.ConfigParser.BOOLEAN_STATES)

_TRAINING = "predict does not train; train in ilastik and save the project"
_NEW_PROJECT = "predict does not create projects; create and train them in ilastik"
_OBJECTS = "an option of ilastik's object classification and tracking; predict only does pixel classification"
_REFUSED = {
    "retrain": "predict does not train; train the project in ilastik and save it",
    "tree_count": _TRAINING,
    "label_proportion": _TRAINING,
    "generate_random_labels": _TRAINING,
    "new_project": _NEW_PROJECT,
    "workflow": _NEW_PROJECT,
    "configfile": "predict does not read ilastik's settings files; use --threads and --memory",
    "distributed": "not supported by predict; use omero-pixclf run --shard, or one command per image",
    "table_only": _OBJECTS,
    "prediction_maps": _OBJECTS,
    "segmentation_image": _OBJECTS,
    "binary_image": _OBJECTS,
    "probabilities": "an option of ilastik's multicut, which is not supported",
    "export_plugin": _OBJECTS,
}


class IlastikCommand(click.Command):
    """A command that reads its arguments as ilastik does."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Convert the arguments to click's form and parse them."""
        names = {name for p in self.get_params(ctx) for name in p.opts if name.startswith("--")}
        return super().parse_args(ctx, list(_convert(args, names)))


def _convert(args: list[str], names: Collection[str]) -> Iterator[str]:
    """Yield arguments with full option names, one value per option, and without remaining quotation marks."""
    values_of: str | None = None
    rest = list(args)
    while rest:
        arg = rest.pop(0)
        if arg == "--":
            yield from (arg, *rest)
            return
        if not arg.startswith("--"):
            yield from ((values_of, arg) if values_of else (_unquote_file(arg),))
            continue
        written, equals, value = arg.partition("=")
        name = _full_name(written, names)
        key = name[2:].replace("-", "_")
        values_of = name if key in _LISTS and not equals else None
        if key in _OPTIONAL_FLAGS:
            _check_switch(written, value if equals else _pop_switch(rest))
        elif key not in _LISTS or equals:
            yield f"{name}={_unquote(value)}" if equals else name


def _full_name(written: str, names: Collection[str]) -> str:
    """Find the option with this name, or the only one that starts with it."""
    key = written[2:].replace("-", "_")
    if key in _REFUSED:
        raise click.UsageError(f"{written}: {_REFUSED[key]}")
    if written in names or len(key) < 3:
        return written
    known = {n[2:].replace("-", "_") for n in names} | {*_OPTIONAL_FLAGS}
    if key in known:
        return written
    matching = sorted(n for n in known if n.startswith(key))
    if len(matching) > 1:
        options = ", ".join("--" + n for n in matching)
        raise click.UsageError(f"{written} is ambiguous: {options}; write the whole name")
    return f"--{matching[0]}" if matching else written


def _pop_switch(rest: list[str]) -> str | None:
    """Remove the optional value of a flag from the arguments; file names are not removed."""
    return rest.pop(0) if rest and rest[0].lower() in _SWITCH_WORDS else None


def _check_switch(written: str, value: str | None) -> None:
    if value is not None and value.lower() not in _SWITCH_WORDS:
        raise click.UsageError(f"{written}: {value!r} is not a boolean; expected one of {', '.join(_SWITCH_WORDS)}")


def _unquote(value: str) -> str:
    """Remove quotation marks around a value; programs written for the shell of Windows pass them on."""
    return value[1:-1] if len(value) > 1 and value[0] == value[-1] and value[0] in "'\"" else value


def _unquote_file(value: str) -> str:
    return value if os.path.lexists(Path(value)) else _unquote(value)


def threads_from_environment() -> int | None:
    """Number of threads from ilastik's variable ``LAZYFLOW_THREADS``; None if it is not set.

    Raises
    ------
    UsageError
        It is not a number.
    """
    count = _number_in_environment("LAZYFLOW_THREADS")
    return None if count is None or count < 0 else max(1, count)


def memory_from_environment() -> int | None:
    """Memory limit in bytes from ilastik's variable ``LAZYFLOW_TOTAL_RAM_MB``; None if it is not set or 0.

    Raises
    ------
    UsageError
        It is not a number.
    """
    count = _number_in_environment("LAZYFLOW_TOTAL_RAM_MB")
    return count * 2**20 if count and count > 0 else None


def _number_in_environment(name: str) -> int | None:
    text = os.environ.get(name, "").strip()
    if not text:
        return None
    try:
        return int(text)
    except ValueError as error:
        raise UsageError(f"{name}={text!r} in the environment: expected a whole number; correct or unset it") from error
