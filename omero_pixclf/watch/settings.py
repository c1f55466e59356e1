"""The watcher's settings, read from one TOML file and validated."""

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
from omero_pixclf.text import expand_home, format_validation_error

__all__ = [
    "ServerSettings",
    "ServiceSettings",
    "StatusPageSettings",
    "WatchSettings",
    "WatcherSettings",
    "load_recipes",
    "load_settings",
]

_PATHS = (("server", "password_file"), ("server", "ca_file"), ("service", "runs"), ("status", "token_file"))
_TARGET = re.compile(r"(Project|Dataset|Screen|Plate|Well|Image):\d+")


class _SettingsModel(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ServerSettings(_SettingsModel):
    """OMERO server and login. Defaults: ``OMERO_HOST``, ``OMERO_PORT``, ``OMERO_USER``, ``OMERO_GROUP``.

    The password is read from a file or ``OMERO_PASSWORD``; without one, the session of ``omero login`` is used.
    """

    host: str = Field("", description="host, user@host:port or wss://… (default: the server of the last `omero login`)")
    port: int | None = Field(None, description="SSL port (default: the one in host, or 4064)")
    user: str = Field("", description="user to log in as; results belong to this user")
    group: str = Field("", description="group to log in to (default: the user's default group)")
    password_file: Path | None = Field(None, description="file of mode 0600 with the password in its first line")
    ca_file: Path | None = Field(
        None, description="trusted certificates (PEM) for the server's certificate; default: not verified"
    )


class ServiceSettings(_SettingsModel):
    """Intervals, limits and storage of the watcher; times in seconds."""

    every: float = Field(60, ge=1, description="interval between two passes")
    settle: float = Field(
        60, ge=0, description="time without changes after which the import of an image counts as finished"
    )
    grace: float = Field(60, ge=1, description="longest duration of a stop")
    attempts: int = Field(3, ge=1, description="attempts before a failing image is set aside")
    backoff: float = Field(60, ge=0, description="delay after the first failure; doubled after each further one")
    backoff_longest: float = Field(3600, ge=0, description="longest delay")
    late: float = Field(3600, ge=10, description="time without progress after which the watcher is unhealthy")
    state: str = Field(
        "",
        description="SQLAlchemy URL of the state database, or OMERO_PIXCLF_WATCH_STATE (default: SQLite next to runs)",
    )
    runs: Path | None = Field(None, description="folder of the run folders (default: as for omero-pixclf run)")
    keep_runs: int = Field(500, ge=1, description="finished runs to keep, with their folders")
    opt_in: bool = Field(True, description="watch containers that have an omero_pixclf/watch annotation")
    requests: bool = Field(True, description="process requests (omero_pixclf/request annotations)")
    threads: int | None = Field(None, ge=1, description="number of threads (default: all cores)")
    memory: str | None = Field(None, description="memory limit, such as 2G")
    direct: tuple[str, ...] = Field(
        (), description="mount points of the server's storage: folders, or SERVER_PATH=LOCAL_PATH (see scaling.md)"
    )
    direct_check: Literal["sample", "all"] = Field(
        "sample", description="which pixels of the mounted files are compared with the server's"
    )

    @field_validator("direct")
    @classmethod
    def _check_mounts(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for text in value:
            try:
                parse_mount(text)
            except UsageError as error:
                raise ValueError(str(error)) from error
        return value

    @property
    def direct_access(self) -> DirectSettings:
        """The mounted storage from which pixels are read directly."""
        return DirectSettings(tuple(map(parse_mount, self.direct)), self.direct_check)


def _parse_network(text: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network:
    """Parse an address or a network; an IPv4-mapped IPv6 address (``::ffff:10.0.0.5``) becomes IPv4."""
    network = ipaddress.ip_network(text)
    first = network.network_address
    if isinstance(first, ipaddress.IPv6Address) and first.ipv4_mapped and network.prefixlen >= 96:
        return ipaddress.ip_network((first.ipv4_mapped, network.prefixlen - 96))
    return network


class StatusPageSettings(_SettingsModel):
    """Web server for the status page, ``/healthz`` and ``/metrics``."""

    enabled: bool = Field(True, description="start the web server")
    host: str = Field(
        "127.0.0.1",
        description="address to listen on; one that other machines can reach requires token_file or proxy_header",
    )
    port: int = Field(8787, ge=0, le=65535, description="port to listen on; 0: any free port, written to the log")
    names: tuple[str, ...] = Field((), description="further host names of the page, besides the address")
    token_file: Path | None = Field(None, description="file of mode 0600 with the token that users log in with")
    proxy_header: str = Field(
        "", description="header in which a proxy sends the name of the authenticated user, such as X-Remote-User"
    )
    proxies: tuple[str, ...] = Field(
        ("127.0.0.1", "::1"), description="addresses or networks of the proxies whose header is accepted"
    )

    @field_validator("proxies")
    @classmethod
    def _check_addresses(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for text in value:
            try:
                _parse_network(text)
            except ValueError as error:
                raise ValueError(f"{error}; expected an address or a network, 10.0.0.5 or 10.0.0.0/24") from error
        return value

    @model_validator(mode="after")
    def _check_protected(self) -> StatusPageSettings:
        if not self.loopback and not self.token_file and not self.proxy_header:
            raise ValueError(f"host {self.host} is not loopback: set token_file or proxy_header")
        return self

    @property
    def proxy_networks(self) -> tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...]:
        """The addresses of the proxies as networks."""
        return tuple(map(_parse_network, self.proxies))

    @property
    def loopback(self) -> bool:
        """Whether only this machine can reach the page."""
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost"


class WatchSettings(_SettingsModel):
    """Containers to watch: by id, or all containers of a kind with matching names."""

    name: str = Field(description="name for the status page and the log")
    recipe: str = Field(description="name under [recipes], or path of a recipe")
    targets: tuple[str, ...] = Field((), description="Project:1, Dataset:2, Screen:3, Plate:4")
    kind: Literal["Project", "Dataset", "Screen", "Plate"] | None = Field(
        None, description="with pattern: kind of the containers"
    )
    pattern: str = Field("", description="shell pattern for names, such as *_DAPI")

    @field_validator("targets")
    @classmethod
    def _check_targets(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for target in value:
            if not _TARGET.fullmatch(target):
                raise ValueError(f"{target!r}: expected Project:1, Dataset:2, Screen:3, Plate:4")
        return value

    @model_validator(mode="after")
    def _check_selection(self) -> WatchSettings:
        if bool(self.kind) != bool(self.pattern):
            raise ValueError("kind and pattern must be set together")
        if not self.targets and not self.pattern:
            raise ValueError("needs targets, or kind and pattern")
        fnmatch.translate(self.pattern)
        return self


class WatcherSettings(_SettingsModel):
    """All settings of a watcher; ``recipes`` are paths by the names that users may use in OMERO."""

    server: ServerSettings = ServerSettings()
    service: ServiceSettings = ServiceSettings()
    status: StatusPageSettings = StatusPageSettings()
    recipes: dict[str, Path] = {}
    watches: tuple[WatchSettings, ...] = ()


def load_settings(path: Path) -> WatcherSettings:
    """Read the settings in a TOML file; paths in it are relative to its folder.

    Raises
    ------
    UsageError
        If the file cannot be read, or a key is unknown or has an invalid value; the message names it.
    """
    try:
        return WatcherSettings.model_validate(_resolve_paths(read_toml(path), path.parent))
    except ValidationError as error:
        raise UsageError(format_validation_error(error, WatcherSettings, str(path))) from error


def _resolve_paths(content: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Make the paths in the settings absolute; they are relative to the folder of the settings file."""
    for section, key in _PATHS:
        held = content.get(section)
        if isinstance(held, dict) and isinstance(held.get(key), str):
            held[key] = _resolve(folder, held[key])
    if isinstance(content.get("recipes"), dict):
        content["recipes"] = {
            n: _resolve(folder, p) if isinstance(p, str) else p for n, p in content["recipes"].items()
        }
    for watch in content.get("watches", []) if isinstance(content.get("watches"), list) else []:
        recipe = watch.get("recipe") if isinstance(watch, dict) else None
        if isinstance(recipe, str) and recipe not in content.get("recipes", {}):
            watch["recipe"] = _resolve(folder, recipe)
    return content


def _resolve(folder: Path, path: str) -> str:
    return str(folder / expand_home(path, str(folder)))


def load_recipes(settings: WatcherSettings) -> Mapping[str, Recipe]:
    """Read the recipes of the settings, by name under [recipes] or by the path that a watch names.

    Raises
    ------
    UsageError
        If a file cannot be read or is not a recipe.
    """
    known = {name: load_recipe(path, {}) for name, path in settings.recipes.items()}
    files = {w.recipe for w in settings.watches} - set(known)
    return known | {file: load_recipe(Path(file), {}) for file in files}
