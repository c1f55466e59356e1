"""Paths and names as the command line takes them."""

from __future__ import annotations

import os
from typing import Any

import click

from omero_pixclf.home_paths import expand_home
from omero_pixclf.text import path_text

__all__ = ["UserPath", "UserText", "expand_home_in_targets"]


class UserPath(click.Path):
    """click's path, where ``~`` stands for the home folder even if the shell leaves it in."""

    def convert(
        self, value: str | os.PathLike[str], param: click.Parameter | None, ctx: click.Context | None
    ) -> str | bytes | os.PathLike[str]:
        """The path, checked as click does."""
        return super().convert(expand_home(os.fspath(value)), param, ctx)


class UserText(click.types.StringParamType):
    """A name that is no path. Where the locale is not UTF-8 Python hands its letters over as lone surrogates."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The text that was typed."""
        text = super().convert(value, param, ctx)
        return path_text(text) if isinstance(text, str) else text


def expand_home_in_targets(_: click.Context, __: click.Parameter, value: Any) -> Any:
    """A callback for texts that may be paths: addresses, images in OMERO or files."""
    if isinstance(value, tuple):
        return tuple(expand_home(text) for text in value)
    return expand_home(value) if isinstance(value, str) else value
