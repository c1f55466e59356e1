"""Options that several commands share: the server, the recipe, the machine.

The recipe's options are made from the recipe's own model, so that the command line, the TOML file and the
documentation cannot come apart.
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
    "SERVER_NAMES",
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
"""Parameters that say which server and as whom."""

SECTIONS: dict[str, type[BaseModel]] = {
    "classifier": ClassifierSettings,
    "objects": ObjectSettings,
    "output": OutputSettings,
}


def server_options(command: Command) -> Command:
    """Which OMERO, as whom. The password comes from the environment, a file or a prompt, never from an argument."""
    options = [
        click.option(
            "-s",
            "--server",
            type=UserText(),
            envvar="OMERO_HOST",
            help="[USER@]HOST[:PORT] or wss://… (or OMERO_HOST).",
        ),
        click.option("-p", "--port", type=int, envvar="OMERO_PORT", help="The server's port (default 4064)."),
        click.option("-u", "--user", type=UserText(), envvar="OMERO_USER", help="User name."),
        click.option(
            "-g", "--group", type=UserText(), envvar="OMERO_GROUP", help="Group to log in to (default: the user's)."
        ),
        click.option("-k", "--key", envvar="OMERO_SESSION_KEY", help="Join this session (a UUID)."),
        click.option(
            "--password-file",
            type=UserPath(exists=True, dir_okay=False, path_type=Path),
            help="A file that only you can read (mode 0600) holding the password; else OMERO_PASSWORD or a prompt.",
        ),
        click.option(
            "--ca-file",
            envvar="OMERO_PIXCLF_CA_FILE",
            type=UserPath(exists=True, dir_okay=False, path_type=Path),
            help="Certificates (PEM) to verify the server's by (or OMERO_PIXCLF_CA_FILE); without, it is not verified.",
        ),
        click.option(
            "--sudo", type=UserText(), metavar="ADMIN", help="Log in as this administrator, and act as --user."
        ),
    ]
    return _add(command, options)


def pop_login(options: dict[str, Any]) -> Login:
    """The login of a command's arguments; takes them out of ``options``.

    A user and a port in a server given as an argument (``-s ada@host:4064``) win over those of the environment.
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
    """How much of the machine to use."""
    options = [
        click.option("--threads", type=click.IntRange(1), help="Threads for the computation (default: all cores)."),
        click.option("--memory", metavar="SIZE", callback=_size, help="Memory to stay within, such as 2G."),
    ]
    return _add(command, options)


def worker_options(command: Command) -> Command:
    """Who does the work."""
    options = [
        click.option(
            "--workers",
            type=click.IntRange(1),
            help="Processes that work (default: as many as cores and images are good for).",
        ),
        click.option(
            "--dask",
            metavar="ADDRESS|FILE",
            callback=expand_home_in_targets,
            help="Let the workers of this dask scheduler (tcp://host:8786) do the work, or jobs of Slurm or PBS as a "
            "TOML file says; --memory is for each of them. They need omero_pixclf and the same folder "
            "OMERO_PIXCLF_STATE.",
        ),
        click.option(
            "--shard",
            metavar="I/N",
            callback=lambda _, __, value: None if value is None else _shard(value),
            help="Only the I-th of N shares of the images; put them together with: omero-pixclf runs merge RUN…",
        ),
    ]
    return _add(command, options)


def storage_options(command: Command) -> Command:
    """Where the server's storage is mounted."""
    options = [
        click.option(
            "--direct",
            "mounted",
            metavar="[SERVER_PATH=]PATH",
            multiple=True,
            help="Read pixels straight from the server's files: PATH is where its ManagedRepository or its data "
            "directory is mounted here, or what is mounted of another SERVER_PATH of it. Repeatable. What is not "
            "there, or gives other pixels than the server, comes through the server.",
        ),
        click.option(
            "--direct-check",
            type=click.Choice(["sample", "all"]),
            default="sample",
            show_default=True,
            help="With --direct: compare a few places of each image with what the server gives, or all pixels.",
        ),
    ]
    return _add(command, options)


def pop_direct_settings(options: dict[str, Any]) -> DirectSettings:
    """What may be read past the server by a command's arguments; takes them out of ``options``."""
    mounts = tuple(parse_mount(text) for text in options.pop("mounted"))
    return DirectSettings(mounts, options.pop("direct_check"))


def _shard(text: str) -> tuple[int, int]:
    from omero_pixclf.runs.planning.shards import parse_shard

    return parse_shard(text)


def _size(_: click.Context, __: click.Parameter, value: str | None) -> int | None:
    return None if value is None else parse_size(value)


def recipe_options(command: Command) -> Command:
    """``--recipe FILE``, ``--name``, and one option for every key of a recipe."""
    options = [
        click.option(
            "-r",
            "--recipe",
            "recipe_file",
            type=UserPath(exists=True, dir_okay=False, path_type=Path),
            help="A recipe (TOML); single keys can be changed by the options below.",
        ),
        click.option("--name", type=UserText(), help=_sentence(Recipe.model_fields["name"].description or "")),
    ]
    for section, model in SECTIONS.items():
        for key, field in model.model_fields.items():
            options.append(_option(section, key, field))
    return _add(command, options)


def pop_recipe(recipe_file: Path | None, options: dict[str, Any]) -> Recipe:
    """The recipe of a command's arguments: the file, with the given options over it.

    Takes the recipe's own keys out of ``options``.
    """
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
    """One click option for one key: its type, choices, default and help are the model's."""
    kind, multiple = _click_type(field.annotation)
    kind = str if key == "project" else kind  # a path: its bytes stay as they are
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
    """A default as one would give it on the command line."""
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
