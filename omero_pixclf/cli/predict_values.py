"""Parse values of predict's options: ranges, subregions, engines and paths, in ilastik's notation."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

import click

from omero_pixclf.text import expand_home

__all__ = ["parse_engine", "parse_path", "parse_range", "parse_subregion", "to_lower"]


def _parse_literal(_: click.Context, parameter: click.Parameter, value: str | None) -> Any:
    """Parse a Python literal of tuples, numbers and None, as ilastik does."""
    if value is None:
        return None
    try:
        return ast.literal_eval(value)
    except (ValueError, SyntaxError, RecursionError, MemoryError) as error:
        raise click.BadParameter(f"{value!r}: expected the form (0.0,1.0) or [(0,0),(9,9)]", param=parameter) from error


def parse_range(ctx: click.Context, parameter: click.Parameter, value: str | None) -> tuple[float, float] | None:
    """Parse ``(0.0,1.0)``; a callback of click."""
    pair = _parse_literal(ctx, parameter, value)
    if pair is None:
        return None
    if not (isinstance(pair, (tuple, list)) and len(pair) == 2 and all(_is_number(v) for v in pair)):
        raise click.BadParameter(f"{value!r}: expected two numbers, as (0.0,1.0)", param=parameter)
    return (pair[0], pair[1])


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def parse_subregion(ctx: click.Context, parameter: click.Parameter, value: str | None) -> Any:
    """Parse ``[(start, ...), (stop, ...)]``, with None for an open end; a callback of click."""
    ends = _parse_literal(ctx, parameter, value)
    if ends is None:
        return None
    is_pair = isinstance(ends, (tuple, list)) and len(ends) == 2 and all(isinstance(e, (tuple, list)) for e in ends)
    if not is_pair or not all(n is None or (isinstance(n, int) and n >= 0) for e in ends for n in e):
        raise click.BadParameter(f"{value!r}: expected [(start, ...), (stop, ...)] of whole numbers", param=parameter)
    return tuple(ends[0]), tuple(ends[1])


def to_lower(_: click.Context, __: click.Parameter, value: str | None) -> str | None:
    """Convert to lower case; a callback of click."""
    return value.lower() if value else value


def parse_engine(_: click.Context, parameter: click.Parameter, value: str) -> Path | None:
    """The path of an ilastik, or None for this program's engine."""
    name, _equals, path = value.partition("=")
    if value == "native":
        return None
    if name != "ilastik" or not path:
        raise click.BadParameter(f"{value!r}: expected native, or ilastik=/path/to/run_ilastik.sh", param=parameter)
    return Path(expand_home(path))


def parse_path(_: click.Context, __: click.Parameter, value: str | None) -> Path | None:
    """A path, with ``~`` replaced by the home folder, which a shell does not do in ``--project=~/nuclei.ilp``."""
    return None if value is None else Path(expand_home(value))
