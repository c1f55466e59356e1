"""Find server address, user and password or session from options, environment, files and stored sessions.

Secrets come from OMERO's session store (``omero login``), the environment, a file with mode 0600 or a prompt on a
terminal. They never come from a command-line argument, which a process list would show, and no message contains them.
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
    "DEFAULT_PORT",
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
    """The login that a user asks for, before a secret is found.

    Attributes
    ----------
    host
        ``server``, ``server:4064``, ``user@server:4064`` or ``wss://server/path``;
        empty: the last server of ``omero login``.
    port, user
        Override those in ``host``.
    group
        Name of the group for new containers and images; results always go to the group of their image. Empty: the
        user's default group.
    key
        Key of an existing session, which is joined and left open at the end.
    sudo
        Name of an administrator who logs in, with the password found, on behalf of ``user``.
    password_file
        A file of mode 0600 whose first line is the password.
    ca_file
        Trusted certificates (PEM) to verify the server's certificate with; None: ``OMERO_PIXCLF_CA_FILE``. Without
        either, the certificate is not verified.
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
    """Everything needed to open a session, any number of times.

    Attributes
    ----------
    port
        None: the protocol's default (443 for ``wss://``, else 4064).
    secret
        The password or, if ``joins_session``, a session's key.
    joins_session
        Whether to join an open session, which is left open at the end.
    is_stored
        Whether the session key comes from the store of ``omero login``.
    """

    host: str
    port: int | None
    user: str
    group: str
    secret: str = field(repr=False)
    joins_session: bool = False
    sudo: str = ""
    ca_file: Path | None = None
    is_stored: bool = False

    @property
    def address(self) -> str:
        """``user@host:port`` as ``omero login`` accepts it; without the port if it is the default one."""
        port = "" if self.port in (None, DEFAULT_PORT) or _URL.match(self.host) else f":{self.port}"
        return f"{f'{self.user}@' if self.user else ''}{self.host}{port}"


def parse_address(login: Login) -> Login:
    """Return the login with user and port split off its host.

    Raises
    ------
    UsageError
        The host is neither ``[user@]host[:port]`` nor a URL.

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
    """Return the port in a text, 1 to 65535; None for any other text."""
    number = int(text) if text and re.fullmatch("[0-9]{1,5}", text) else 0
    return number if 0 < number < 2**16 else None


def read_password_file(path: Path) -> str:
    """Return the first line of a file that only its owner can read.

    Raises
    ------
    LoginError
        The file is missing, empty, or readable by others.
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
        raise LoginError(f"{path}: the password file is not UTF-8 text; write it again") from error
    if not lines or not lines[0]:
        raise LoginError(f"{path}: the password file is empty; write the password into its first line")
    return lines[0]


def _find_session_folder(environ: Mapping[str, str]) -> Path:
    """Return the folder in which ``omero login`` stores its sessions."""
    chosen = environ.get("OMERO_SESSIONDIR") or environ.get("OMERO_SESSION_DIR")
    if chosen:
        return Path(chosen)
    user = environ.get("OMERO_USERDIR")
    return (Path(user) if user else Path.home() / "omero") / "sessions"


def read_stored_session(login: Login, environ: Mapping[str, str]) -> Credentials | None:
    """Return the stored session of ``omero login`` for this host and user; by default those used last."""
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
    return Credentials(kept.get("omero.host") or host, port, user, login.group, key, joins_session=True, is_stored=True)


def describe_refused_login(found: Credentials) -> str:
    """Return the message for credentials that the server refused, with what to do; it contains no secret."""
    if found.is_stored:
        return (
            f"the session of `omero login` for {found.address} has expired or was closed; log in again: "
            f"omero login {found.address}"
        )
    if found.joins_session:
        return (
            f"no open session on {found.address} has the given key: the session has expired, was closed, or belongs to "
            "another server; log in again, or use another key"
        )
    who = f"administrator {found.sudo}" if found.sudo else f"user {found.user}"
    return (
        f"{found.address}: name or password of {who} refused; check both (the password comes from a password file, "
        "OMERO_PASSWORD or the prompt)"
    )


def _read_line(file: Path) -> str:
    return _read_text(file).strip()


def _read_text(file: Path) -> str:
    """Return the text of a file of the session store; "" if it is missing or cannot be read as UTF-8."""
    try:
        return file.read_text(encoding="utf-8") if file.is_file() else ""
    except (OSError, UnicodeDecodeError):
        return ""


def find_credentials(login: Login, environ: Mapping[str, str], ask: Callable[[str], str] | None) -> Credentials:
    """Find the secret: key, password file, ``OMERO_PASSWORD``, the session of ``omero login``, then ``ask``.

    Raises
    ------
    LoginError
        There is none; the message lists the ways to give one.
    """
    given = environ.get(CA_FILE, "")
    ca_file = login.ca_file or (Path(given) if given else None)
    return replace(_find_credentials(login, environ, ask), ca_file=ca_file)


def _find_credentials(login: Login, environ: Mapping[str, str], ask: Callable[[str], str] | None) -> Credentials:
    login = parse_address(login)
    if login.key:
        host, port = _find_server(login, environ)
        return Credentials(host, port, login.user, login.group, login.key, joins_session=True)
    if login.sudo and not login.user:
        raise UsageError(f"--sudo {login.sudo}: name the user to work as, as USER@HOST or with --user")
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
        raise LoginError("a session key was given, but no server; name the server with --server")
    return host, login.port or _parse_port(port) or DEFAULT_PORT


def _describe_login_options(login: Login) -> str:
    if not login.host:
        return (
            "no server given, and no session of `omero login` found: use `omero login`, or --server USER@HOST "
            "(or OMERO_HOST)"
        )
    who = f"{login.user or 'USER'}@{login.host}"
    address = f"{who}:{login.port}" if login.port not in (None, DEFAULT_PORT) else who
    return (
        f"not logged in to {address}: use `omero login {address}`, or name the user and give a password "
        "(OMERO_PASSWORD, or a password file with mode 0600), or a session key"
    )
