"""The watcher's settings, from one TOML file, validated once."""

from __future__ import annotations

import fnmatch
import ipaddress
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from omero_pixclf.config import Recipe, load_recipe, read_toml
from omero_pixclf.direct.mounts import DirectSettings, parse_mount
from omero_pixclf.errors import UsageError
from omero_pixclf.home_paths import from_home
from omero_pixclf.text import format_validation_error

__all__ = ["Server", "Service", "Settings", "StatusPage", "Watch", "load_settings", "recipes_of"]

_PATHS = (("server", "password_file"), ("server", "ca_file"), ("service", "runs"), ("status", "token_file"))
_TARGET = re.compile(r"(Project|Dataset|Screen|Plate|Well|Image):\d+")


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Server(_Frozen):
    """Which OMERO, as whom; else ``OMERO_HOST``, ``OMERO_PORT``, ``OMERO_USER``, ``OMERO_GROUP``.

    The password comes from a file, ``OMERO_PASSWORD`` or ``omero login``'s session.
    """

    host: str = Field("", description="host, user@host:port or wss://… (default: where `omero login` was last)")
    port: int | None = Field(None, description="SSL port (default: 4064, or as host says)")
    user: str = Field("", description="whom to work as; results are theirs")
    group: str = Field("", description="group to log in to (default: the user's)")
    password_file: Path | None = Field(None, description="a file of mode 0600 whose first line is the password")
    ca_file: Path | None = Field(
        None, description="certificates (PEM) that the server's must be signed by or be one of; default: not verified"
    )


class Service(_Frozen):
    """How the watcher works; times in seconds."""

    every: float = Field(60, ge=1, description="from one pass over everything to the next")
    settle: float = Field(60, ge=0, description="how long an image must have stayed the same before it is worked on")
    grace: float = Field(60, ge=1, description="how long a stop may take")
    attempts: int = Field(3, ge=1, description="how often an image that fails is tried before it is set aside")
    backoff: float = Field(60, ge=0, description="wait after the first failure; doubles with each")
    backoff_longest: float = Field(3600, ge=0, description="longest wait")
    late: float = Field(3600, ge=10, description="without any progress for so long, the watcher is not healthy")
    state: str = Field("", description="SQLAlchemy URL (or OMERO_PIXCLF_WATCH_STATE); default: SQLite beside the runs")
    runs: Path | None = Field(None, description="where run folders are kept (default: as for omero-pixclf run)")
    keep_runs: int = Field(500, ge=1, description="how many finished runs stay known, with their folders")
    opt_in: bool = Field(True, description="serve containers with an omero_pixclf/watch annotation")
    requests: bool = Field(True, description="serve omero_pixclf/request annotations")
    threads: int | None = Field(None, ge=1, description="threads for the computation (default: all cores)")
    memory: str | None = Field(None, description="memory to stay within, such as 2G")
    direct: tuple[str, ...] = Field(
        (), description="where the server's storage is mounted: folders, or SERVER_PATH=LOCAL_PATH (see scaling.md)"
    )
    direct_check: Literal["sample", "all"] = Field("sample", description="which pixels of files are compared")

    @field_validator("direct")
    @classmethod
    def _mounts(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for text in value:
            try:
                parse_mount(text)
            except UsageError as error:
                raise ValueError(str(error)) from error
        return value

    @property
    def reading(self) -> DirectSettings:
        """What may be read past the server."""
        return DirectSettings(tuple(map(parse_mount, self.direct)), self.direct_check)


def _network(text: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network:
    """An address or a network; IPv4 that is written as IPv6 (``::ffff:10.0.0.5``) is IPv4."""
    network = ipaddress.ip_network(text)
    first = network.network_address
    if isinstance(first, ipaddress.IPv6Address) and first.ipv4_mapped and network.prefixlen >= 96:
        return ipaddress.ip_network((first.ipv4_mapped, network.prefixlen - 96))
    return network


class StatusPage(_Frozen):
    """The page, ``/healthz`` and ``/metrics``."""

    enabled: bool = Field(True, description="serve the page at all")
    host: str = Field("127.0.0.1", description="address to listen on; beyond this machine only with one of the below")
    port: int = Field(8787, ge=0, le=65535, description="port to listen on; 0: a free one, which the log names")
    names: tuple[str, ...] = Field((), description="host names under which the page is reached, beside the address")
    token_file: Path | None = Field(None, description="a file of mode 0600 with the token that people log in with")
    proxy_header: str = Field("", description="header in which a proxy names the user it has let in, X-Remote-User")
    proxies: tuple[str, ...] = Field(
        ("127.0.0.1", "::1"), description="addresses or networks from which that header counts"
    )

    @field_validator("proxies")
    @classmethod
    def _addresses(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for text in value:
            try:
                _network(text)
            except ValueError as error:
                raise ValueError(f"{error}; expected an address or a network, 10.0.0.5 or 10.0.0.0/24") from error
        return value

    @model_validator(mode="after")
    def _guarded(self) -> StatusPage:
        if not self.loopback and not self.token_file and not self.proxy_header:
            raise ValueError(f"host {self.host} is not loopback: set token_file or proxy_header")
        return self

    @property
    def proxy_networks(self) -> tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...]:
        """The proxies as networks, of one address or many."""
        return tuple(map(_network, self.proxies))

    @property
    def loopback(self) -> bool:
        """Whether only this machine reaches the page."""
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost"


class Watch(_Frozen):
    """Containers to look after: by id, or all of a kind whose names fit a pattern."""

    name: str = Field(description="what the page and the log call it")
    recipe: str = Field(description="a name under [recipes], or a recipe's file")
    targets: tuple[str, ...] = Field((), description="Project:1, Dataset:2, Screen:3, Plate:4")
    kind: Literal["Project", "Dataset", "Screen", "Plate"] | None = Field(
        None, description="with pattern: of which kind"
    )
    pattern: str = Field("", description="shell pattern on names, such as *_DAPI")

    @field_validator("targets")
    @classmethod
    def _known(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for target in value:
            if not _TARGET.fullmatch(target):
                raise ValueError(f"{target!r}: expected Project:1, Dataset:2, Screen:3, Plate:4")
        return value

    @model_validator(mode="after")
    def _something(self) -> Watch:
        if bool(self.kind) != bool(self.pattern):
            raise ValueError("kind and pattern belong together")
        if not self.targets and not self.pattern:
            raise ValueError("needs targets, or kind and pattern")
        fnmatch.translate(self.pattern)
        return self


class Settings(_Frozen):
    """All of a watcher's settings; ``recipes``: name and file of the recipes that people may name in OMERO."""

    server: Server = Server()
    service: Service = Service()
    status: StatusPage = StatusPage()
    recipes: dict[str, Path] = {}
    watches: tuple[Watch, ...] = ()


def load_settings(path: Path) -> Settings:
    """The settings in a TOML file; paths in it are relative to it.

    Raises
    ------
    UsageError
        Where it cannot be read, or a key is unknown or has a bad value; says which.
    """
    try:
        return Settings.model_validate(_placed(read_toml(path), path.parent))
    except ValidationError as error:
        raise UsageError(format_validation_error(error, Settings, str(path))) from error


def _placed(content: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Paths made absolute, as people mean them: relative to the settings' file."""
    for section, key in _PATHS:
        held = content.get(section)
        if isinstance(held, dict) and isinstance(held.get(key), str):
            held[key] = _from(folder, held[key])
    if isinstance(content.get("recipes"), dict):
        content["recipes"] = {n: _from(folder, p) if isinstance(p, str) else p for n, p in content["recipes"].items()}
    for watch in content.get("watches", []) if isinstance(content.get("watches"), list) else []:
        recipe = watch.get("recipe") if isinstance(watch, dict) else None
        if isinstance(recipe, str) and recipe not in content.get("recipes", {}):
            watch["recipe"] = _from(folder, recipe)
    return content


def _from(folder: Path, path: str) -> str:
    return str(folder / from_home(path, str(folder)))


def recipes_of(settings: Settings) -> Mapping[str, Recipe]:
    """The recipes that annotations may name, and those of the watches, by what the settings call them.

    Raises
    ------
    UsageError
        Where one cannot be read or is none.
    """
    known = {name: load_recipe(path, {}) for name, path in settings.recipes.items()}
    files = {w.recipe for w in settings.watches} - set(known)
    return known | {file: load_recipe(Path(file), {}) for file in files}
