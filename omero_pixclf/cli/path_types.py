"""Click parameter types for paths (with ``~``) and names of any encoding."""

from __future__ import annotations

import os
from typing import Any

import click

from omero_pixclf.text import expand_home, path_text

__all__ = ["UserPath", "UserText", "expand_home_in_targets"]


class UserPath(click.Path):
    """Click's path type that also replaces ``~`` by the home folder, which a shell does not do in ``--option=~/x``."""

    def convert(
        self, value: str | os.PathLike[str], param: click.Parameter | None, ctx: click.Context | None
    ) -> str | bytes | os.PathLike[str]:
        """Replace ``~`` and check the path as click does."""
        return super().convert(expand_home(os.fspath(value)), param, ctx)


class UserText(click.types.StringParamType):
    """A name that is not a path; decodes the lone surrogates that Python makes of it if the locale is not UTF-8."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the text that was typed."""
        text = super().convert(value, param, ctx)
        return path_text(text) if isinstance(text, str) else text


def expand_home_in_targets(_: click.Context, __: click.Parameter, value: Any) -> Any:
    """Replace ``~`` in targets, which are objects in OMERO, addresses or paths; a callback of click."""
    if isinstance(value, tuple):
        return tuple(expand_home(text) for text in value)
    return expand_home(value) if isinstance(value, str) else value
