"""Options shared by several commands: server and login, recipe, threads and memory, workers, mounted storage.

The recipe's options are made from the recipe's model, so that command line, TOML file and documentation are the same.
"""

from __future__ import annotations

import types
import typing
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import click
from click.core import ParameterSource
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from omero_pixclf.cli.path_types import UserPath, UserText, expand_home_in_targets
from omero_pixclf.config import ClassifierSettings, ObjectSettings, OutputSettings, Recipe, load_recipe, parse_size
from omero_pixclf.direct.mounts import DirectSettings, parse_mount
from omero_pixclf.image import parse_id

if TYPE_CHECKING:
    from omero_pixclf.connector.sessions.login import Login

__all__ = [
    "SECTIONS",
    "SERVER_NAMES",
    "Command",
    "pop_direct_settings",
    "pop_login",
    "pop_recipe",
    "recipe_options",
    "resource_options",
    "server_options",
    "storage_options",
    "worker_options",
]

Command = TypeVar("Command", bound=Callable[..., Any])

SERVER_NAMES = ("server", "port", "user", "group", "key", "sudo", "password_file", "ca_file")
"""Parameters of the server and the login."""

SECTIONS: dict[str, type[BaseModel]] = {
    "classifier": ClassifierSettings,
    "objects": ObjectSettings,
    "output": OutputSettings,
}


def server_options(command: Command) -> Command:
    """Add the options of server and login; none takes a password, which the environment, a file or a prompt gives."""
    options = [
        click.option(
            "-s",
            "--server",
            type=UserText(),
            envvar="OMERO_HOST",
            help="[USER@]HOST[:PORT] or wss://… (or OMERO_HOST; default: the session of `omero login`).",
        ),
        click.option("-p", "--port", type=int, envvar="OMERO_PORT", help="Port of the server (default: 4064)."),
        click.option("-u", "--user", type=UserText(), envvar="OMERO_USER", help="User name (or OMERO_USER)."),
        click.option(
            "-g",
            "--group",
            type=UserText(),
            envvar="OMERO_GROUP",
            help="Group to log in to (or OMERO_GROUP; default: the user's).",
        ),
        click.option(
            "-k", "--key", envvar="OMERO_SESSION_KEY", help="Key of a session to join (or OMERO_SESSION_KEY)."
        ),
        click.option(
            "--password-file",
            type=UserPath(exists=True, dir_okay=False, path_type=Path),
            help="File with the password that only you can read (mode 0600); otherwise OMERO_PASSWORD or a prompt.",
        ),
        click.option(
            "--ca-file",
            envvar="OMERO_PIXCLF_CA_FILE",
            type=UserPath(exists=True, dir_okay=False, path_type=Path),
            help="Trusted certificates (PEM) to verify the server with (or OMERO_PIXCLF_CA_FILE); without them the "
            "server is not verified.",
        ),
        click.option(
            "--sudo", type=UserText(), metavar="ADMIN", help="Log in as this administrator and act as --user."
        ),
    ]
    return _add(command, options)


def pop_login(options: dict[str, Any]) -> Login:
    """Remove the server's parameters from ``options`` and return them as a login.

    User and port in the argument ``-s ada@host:4064`` take precedence over the environment.
    """
    from omero_pixclf.connector.sessions.login import Login, parse_address

    given = {key: options.pop(key) for key in SERVER_NAMES}
    host = given.pop("server")
    context = click.get_current_context(silent=True)
    if host and context is not None and _is_from(context, "server", ParameterSource.COMMANDLINE):
        named = parse_address(Login(host))
        for key in ("user", "port"):
            if getattr(named, key) and _is_from(context, key, ParameterSource.ENVIRONMENT):
                given[key] = None
    return Login(host=host or "", **{key: value for key, value in given.items() if value is not None})


def _is_from(context: click.Context, name: str, source: ParameterSource) -> bool:
    return context.get_parameter_source(name) is source


def resource_options(command: Command) -> Command:
    """Add the options for threads and memory."""
    options = [
        click.option("--threads", type=click.IntRange(1), help="Number of threads (default: all cores)."),
        click.option("--memory", metavar="SIZE", callback=_size, help="Memory limit, such as 2G."),
    ]
    return _add(command, options)


def worker_options(command: Command) -> Command:
    """Add the options for worker processes, clusters and shards."""
    options = [
        click.option(
            "--workers",
            type=click.IntRange(1),
            help="Number of worker processes (default: by number of cores and images).",
        ),
        click.option(
            "--dask",
            metavar="ADDRESS|FILE",
            callback=expand_home_in_targets,
            help="Use the workers of this dask scheduler (tcp://host:8786), or jobs of Slurm or PBS described in a "
            "TOML file. --memory is the limit of each worker. Workers need omero_pixclf and the same folder "
            "OMERO_PIXCLF_STATE.",
        ),
        click.option(
            "--shard",
            metavar="I/N",
            callback=lambda _, __, value: None if value is None else _shard(value),
            help="Process only shard I of N; merge the shards afterwards with: omero-pixclf runs merge RUN…",
        ),
    ]
    return _add(command, options)


def storage_options(command: Command) -> Command:
    """Add the options for pixels from mounted storage."""
    options = [
        click.option(
            "--direct",
            "mounted",
            metavar="[SERVER_PATH=]PATH",
            multiple=True,
            help="Read pixels from the server's files: PATH is the mount point of its ManagedRepository or data "
            "directory, or of SERVER_PATH. Repeatable. Images without a file there, or with different pixels in it, "
            "are read through the server.",
        ),
        click.option(
            "--direct-check",
            type=click.Choice(["sample", "all"]),
            default="sample",
            show_default=True,
            help="With --direct: compare a sample or all of each image's pixels with the server's.",
        ),
    ]
    return _add(command, options)


def pop_direct_settings(options: dict[str, Any]) -> DirectSettings:
    """Remove the parameters of mounted storage from ``options`` and return them as settings."""
    mounts = tuple(parse_mount(text) for text in options.pop("mounted"))
    return DirectSettings(mounts, options.pop("direct_check"))


def _shard(text: str) -> tuple[int, int]:
    from omero_pixclf.runs.planning.shards import parse_shard

    return parse_shard(text)


def _size(_: click.Context, __: click.Parameter, value: str | None) -> int | None:
    return None if value is None else parse_size(value)


def recipe_options(command: Command) -> Command:
    """Add ``--recipe FILE``, ``--name``, and one option for every key of a recipe."""
    options = [
        click.option(
            "-r",
            "--recipe",
            "recipe_file",
            type=UserPath(exists=True, dir_okay=False, path_type=Path),
            help="Recipe file (TOML); the options below override its keys.",
        ),
        click.option("--name", type=UserText(), help=_sentence(Recipe.model_fields["name"].description or "")),
    ]
    for section, model in SECTIONS.items():
        for key, field in model.model_fields.items():
            options.append(_option(section, key, field))
    return _add(command, options)


def pop_recipe(recipe_file: Path | None, options: dict[str, Any]) -> Recipe:
    """Remove the recipe's keys from ``options`` and return the recipe: the file, overridden by these options."""
    changes: dict[str, Any] = {}
    for section, model in SECTIONS.items():
        for key in model.model_fields:
            value = options.pop(_parameter(section, key), None)
            if value is None or value == ():
                continue
            changes[f"{section}.{key}"] = _CONVERTERS.get(key, lambda v: v)(value)
    name = options.pop("name", None)
    if name is not None:
        changes["name"] = name
    return load_recipe(recipe_file, changes)


def _whole_numbers(values: tuple[str, ...]) -> tuple[int | str, ...]:
    return tuple(int(v) if parse_id(v) is not None else v for text in values for v in text.split(","))


_CONVERTERS: dict[str, Callable[[Any], Any]] = {"channels": _whole_numbers, "connectivity": int}


def _parameter(section: str, key: str) -> str:
    return f"{section}_{key}"


def _option(section: str, key: str, field: FieldInfo) -> Callable[[Any], Any]:
    """A click option for one key, with the type, choices, default and description of the model."""
    kind, multiple = _click_type(field.annotation)
    kind = str if key == "project" else kind  # a path: its bytes are kept
    flag = f"--{key.replace('_', '-')}"
    text = field.description or ""
    if field.default is not None and field.default != () and not field.is_required():
        text = f"{text} (default: {_format_default(field.default)})"
    text = _sentence(text)
    name = _parameter(section, key)
    if kind is bool:
        return click.option(f"{flag}/--no-{key.replace('_', '-')}", name, default=None, help=text)
    if key == "smooth":
        return click.option(flag, name, type=float, nargs=3, default=None, metavar="Z Y X", help=text)
    return click.option(flag, name, type=kind, multiple=multiple, default=None, help=text)


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}."


def _format_default(value: Any) -> str:
    """A default value as it is written on the command line."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, tuple):
        return " ".join(f"{v:g}" for v in value)
    return f"{value:g}" if isinstance(value, float) else str(value)


def _click_type(annotation: Any) -> tuple[Any, bool]:
    """The click type of an annotation, and whether it may be given several times."""
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Annotated:
        return _click_type(arguments[0])
    if origin in (types.UnionType, typing.Union):
        return _click_type(next(a for a in arguments if a is not type(None)))
    if origin is Literal:
        return click.Choice([str(a) for a in arguments]), False
    if origin is tuple:
        return UserText(), True
    return UserText() if annotation is str else annotation, False


def _add(command: Command, options: list[Callable[[Any], Any]]) -> Command:
    for option in reversed(options):
        command = option(command)
    return command
