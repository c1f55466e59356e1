"""Who logs in where: the address, and where the password or the session comes from.

Secrets come from OMERO's own session store (``omero login``), the environment, a file with mode 0600 or a prompt on a
terminal; never from an argument's value that a process list shows, and they never appear in a message.
"""

from __future__ import annotations

import re
import stat
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from urllib.parse import quote

from omero_pixclf.connector.sessions.tls import CA_FILE
from omero_pixclf.errors import LoginError, UsageError

__all__ = [
    "Credentials",
    "Login",
    "describe_refused_login",
    "find_credentials",
    "parse_address",
    "read_password_file",
    "read_stored_session",
]

DEFAULT_PORT = 4064
_ADDRESS = re.compile(r"^(?:(?P<user>[^@/]+)@)?(?P<host>\[[0-9a-fA-F:]+\]|[^:@/]+)(?::(?P<port>\d+))?$")
_URL = re.compile(r"^(?P<scheme>wss?|ssl|tcp)://")


@dataclass(frozen=True)
class Login:
    """What the user says about the server, before any secret is known.

    Attributes
    ----------
    host
        ``server``, ``server:4064``, ``user@server:4064`` or ``wss://server/path``;
        empty: where ``omero login`` was last.
    port, user
        Override what ``host`` says.
    group
        Name of the group for new containers and images; results always go to their image's group. Empty: the default.
    key
        An existing session's key, joined and left open at the end.
    sudo
        Name of an administrator who logs in (with the password that is found) on behalf of ``user``.
    password_file
        A file of mode 0600 whose first line is the password.
    ca_file
        Trusted certificates (PEM) by which the server's is verified; None: ``OMERO_PIXCLF_CA_FILE``, else it is not.
    """

    host: str = ""
    port: int | None = None
    user: str = ""
    group: str = ""
    key: str = field(default="", repr=False)
    sudo: str = ""
    password_file: Path | None = None
    ca_file: Path | None = None


@dataclass(frozen=True)
class Credentials:
    """All that is needed to open a session, any number of times.

    ``joins``: the secret is the key of a session that is open already and is left open at the end; ``kept``: it is the
    one that ``omero login`` keeps.
    ``port`` None: the protocol's own (443 for ``wss://``, else 4064).
    """

    host: str
    port: int | None
    user: str
    group: str
    secret: str = field(repr=False)
    joins: bool = False
    sudo: str = ""
    ca_file: Path | None = None
    kept: bool = False

    @property
    def address(self) -> str:
        """``user@host:port`` as ``omero login`` takes it; without the port where it is the usual one."""
        port = "" if self.port in (None, DEFAULT_PORT) or _URL.match(self.host) else f":{self.port}"
        return f"{f'{self.user}@' if self.user else ''}{self.host}{port}"


def parse_address(login: Login) -> Login:
    """The login with user and port taken out of its host.

    Raises
    ------
    UsageError
        For something that is neither ``[user@]host[:port]`` nor a URL.

    Examples
    --------
    >>> parse_address(Login("ada@omero.example:14064"))
    Login(host='omero.example', port=14064, user='ada', group='', sudo='', password_file=None, ca_file=None)
    """
    if not login.host or _URL.match(login.host):
        return login
    found = _ADDRESS.match(login.host)
    if found is None:
        raise UsageError(f"server {login.host!r}: expected host, user@host:port or wss://host/path")
    port = login.port or _parse_port(found["port"])
    if found["port"] and port is None:
        raise UsageError(f"server {login.host!r}: port {found['port'][:9]}, expected 1 to 65535")
    return replace(login, host=found["host"], port=port, user=login.user or found["user"] or "")


def _parse_port(text: str | None) -> int | None:
    """The port that a text names; None where it names none that there can be."""
    number = int(text) if text and re.fullmatch("[0-9]{1,5}", text) else 0
    return number if 0 < number < 2**16 else None


def read_password_file(path: Path) -> str:
    """The first line of a file that only its owner can read.

    Raises
    ------
    LoginError
        Where the file is missing, empty, or open to others.
    """
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
        if mode & 0o077:
            raise LoginError(
                f"{path}: has mode {mode:04o}, expected 0600: others could read the password; run: chmod 600 {path}"
            )
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise LoginError(f"{path}: the password file cannot be read ({error.strerror}); check its path") from error
    except UnicodeDecodeError as error:
        raise LoginError(f"{path}: the password file is no text in UTF-8; write it anew") from error
    if not lines or not lines[0]:
        raise LoginError(f"{path}: the password file is empty; write the password into its first line")
    return lines[0]


def _find_session_folder(environ: Mapping[str, str]) -> Path:
    """Where ``omero login`` keeps its sessions."""
    chosen = environ.get("OMERO_SESSIONDIR") or environ.get("OMERO_SESSION_DIR")
    if chosen:
        return Path(chosen)
    user = environ.get("OMERO_USERDIR")
    return (Path(user) if user else Path.home() / "omero") / "sessions"


def read_stored_session(login: Login, environ: Mapping[str, str]) -> Credentials | None:
    """The session that ``omero login`` left for this host and user, or for the last ones where none is named."""
    folder = _find_session_folder(environ)
    if not folder.is_dir():
        return None
    host = login.host or _read_line(folder / "._LASTHOST_")
    of_host = folder / quote(host, safe="")
    user = login.user or _read_line(of_host / "._LASTUSER_")
    key = _read_line(of_host / user / "._LASTSESS_") if host and user else ""
    if not key or not (of_host / user / key).is_file():
        return None
    kept = dict(line.partition("=")[::2] for line in _read_text(of_host / user / key).splitlines())
    port = login.port or _parse_port(kept.get("omero.port")) or DEFAULT_PORT
    return Credentials(kept.get("omero.host") or host, port, user, login.group, key, joins=True, kept=True)


def describe_refused_login(found: Credentials) -> str:
    """What to tell whoever logged in with credentials that the server refuses, and what they can do; no secret."""
    if found.kept:
        return (
            f"the session that `omero login` keeps for {found.address} has expired or was closed; log in again: "
            f"omero login {found.address}"
        )
    if found.joins:
        return (
            f"the session key given is of no open session on {found.address}: the session has expired or was closed, "
            "or is one of another server; log in again, or use another key"
        )
    who = f"administrator {found.sudo}" if found.sudo else f"user {found.user}"
    return (
        f"{found.address}: name or password of {who} refused; check both (the password comes from a password file, "
        "OMERO_PASSWORD or the prompt)"
    )


def _read_line(file: Path) -> str:
    return _read_text(file).strip()


def _read_text(file: Path) -> str:
    """A file of the session store; "" where it is not there or is not what ``omero login`` writes."""
    try:
        return file.read_text(encoding="utf-8") if file.is_file() else ""
    except (OSError, UnicodeDecodeError):
        return ""


def find_credentials(login: Login, environ: Mapping[str, str], ask: Callable[[str], str] | None) -> Credentials:
    """Find the secret: key, password file, ``OMERO_PASSWORD``, ``omero login``'s session, then ``ask``.

    Raises
    ------
    LoginError
        Where there is none; the message says which ways there are.
    """
    given = environ.get(CA_FILE, "")
    ca_file = login.ca_file or (Path(given) if given else None)
    return replace(_find_credentials(login, environ, ask), ca_file=ca_file)


def _find_credentials(login: Login, environ: Mapping[str, str], ask: Callable[[str], str] | None) -> Credentials:
    login = parse_address(login)
    if login.key:
        host, port = _find_server(login, environ)
        return Credentials(host, port, login.user, login.group, login.key, joins=True)
    if login.sudo and not login.user:
        raise UsageError(f"--sudo {login.sudo}: name the user to work as, too, as USER@HOST or with --user")
    password = read_password_file(login.password_file) if login.password_file else environ.get("OMERO_PASSWORD", "")
    if not (login.user and password):
        kept = None if login.sudo else read_stored_session(login, environ)
        if kept is not None:
            return kept
    if login.user and not password and ask is not None:
        password = ask(f"Password for {login.sudo or login.user}@{login.host}: ")
    if not (login.host and login.user and password):
        raise LoginError(_describe_login_options(login))
    return Credentials(login.host, login.port, login.user, login.group, password, sudo=login.sudo)


def _find_server(login: Login, environ: Mapping[str, str]) -> tuple[str, int | None]:
    if login.host:
        return login.host, login.port
    folder = _find_session_folder(environ)
    host, port = (_read_line(folder / name) for name in ("._LASTHOST_", "._LASTPORT_"))
    if not host:
        raise LoginError("a session key was given, but no server: name it with --server")
    return host, login.port or _parse_port(port) or DEFAULT_PORT


def _describe_login_options(login: Login) -> str:
    if not login.host:
        return "no server is named, and `omero login` keeps no session: use it, or --server USER@HOST (or OMERO_HOST)"
    who = f"{login.user or 'USER'}@{login.host}"
    address = f"{who}:{login.port}" if login.port not in (None, DEFAULT_PORT) else who
    return (
        f"not logged in to {address}: use `omero login {address}`, or name the user and set OMERO_PASSWORD, "
        "a password file with mode 0600, or a session key"
    )
