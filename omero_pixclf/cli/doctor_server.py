"""The doctor's look at the server: is it there, does it let this user in, and what may be written where."""

from __future__ import annotations

import re
import socket
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from omero_pixclf.cli.check_result import CheckResult
from omero_pixclf.connector.sessions.login import (
    DEFAULT_PORT,
    Credentials,
    Login,
    find_credentials,
    parse_address,
)
from omero_pixclf.errors import LoginError, PixclfError

if TYPE_CHECKING:
    from omero_pixclf.connector.sessions.session import Session

__all__ = ["check_reachable", "check_server", "explain_permissions"]

PATIENCE_S = 5.0
_URL = re.compile(r"^(?P<scheme>wss|ws|ssl|tcp)://(?P<host>\[[^]]+\]|[^/:]+)(?::(?P<port>\d+))?")
_PORTS = {"wss": 443, "ws": 80, "ssl": DEFAULT_PORT, "tcp": 4063}
_SCRIPT = "omero_pixclf/Pixel_Classification.py"

# What a group's level means for somebody who is neither its leader nor an administrator.
_LEVELS = {
    "rw----": ("private", "results only on your own images, seen by you alone"),
    "rwr---": ("read-only", "results only on your own images"),
    "rwra--": ("read-annotate", "results on everybody's images"),
    "rwrw--": ("read-write", "results on everybody's images"),
}


def check_server(
    login: Login, targets: Sequence[str], environ: Mapping[str, str], ask: Callable[[str], str] | None
) -> Iterator[CheckResult]:
    """Everything that the server can be asked; nothing is tried after what it depends on has failed."""
    try:
        found = find_credentials(login, environ, ask)
    except LoginError as error:
        yield from _check_without_password(login, targets, error)
        return
    reached = check_reachable(found.host, found.port)
    yield reached
    if reached.state != "fail":
        yield _check_certificate(found)
        yield from _check_login(login, targets, environ, ask)


def _check_without_password(login: Login, targets: Sequence[str], error: LoginError) -> Iterator[CheckResult]:
    address = parse_address(login)
    if not address.host:
        advice = "omero login USER@HOST, or name it: omero-pixclf doctor -s USER@HOST"
        found = "none named, and no session of omero login"
        yield CheckResult("server", "fail" if targets else "warning", f"{found}: not looked at", advice)
        return
    yield check_reachable(address.host, address.port)
    yield CheckResult("login", "fail", str(error))


def check_reachable(host: str, port: int | None) -> CheckResult:
    """Whether something listens at the server's address, within `PATIENCE_S` seconds."""
    url = _URL.match(host)
    name = (url["host"] if url else host).strip("[]")
    number = port or (int(url["port"] or _PORTS[url["scheme"]]) if url else DEFAULT_PORT)
    try:
        with socket.create_connection((name, number), timeout=PATIENCE_S):
            return CheckResult("server", "ok", f"{name}:{number} answers")
    except OSError as error:
        advice = "is the address right, does the server run, does a firewall stand between?"
        return CheckResult("server", "fail", f"{name}:{number}: {error.strerror or error}", advice)


def _check_certificate(found: Credentials) -> CheckResult:
    """Whether the server's certificate is verified; a login that follows says whether it is the right one."""
    if found.ca_file is not None:
        return CheckResult("certificate", "ok", f"verified by {found.ca_file}")
    advice = "name the trusted certificates with --ca-file, or as ca_file under [server]"
    return CheckResult("certificate", "warning", "not verified: omero-py takes any server's certificate", advice)


def _check_login(
    login: Login, targets: Sequence[str], environ: Mapping[str, str], ask: Callable[[str], str] | None
) -> Iterator[CheckResult]:
    from omero_pixclf.connector.sessions.session import connect

    try:
        with connect(login, environ=environ, ask=ask, waits=()) as session:
            yield _describe_user(session)
            yield from _check_groups(session)
            yield _check_tables(session)
            yield _check_script(session)
            for target in targets:
                yield _check_write_permission(session, target)
    except PixclfError as error:
        yield CheckResult("login", "fail", str(error), "omero login, or another password, user or group")


def _describe_user(session: Session) -> CheckResult:
    version = session.read("version", lambda sf: sf.getConfigService().getVersion())
    role = ", an administrator" if session.is_admin else ""
    return CheckResult("login", "ok", f"{session.user_name}{role} on {session.host}, OMERO.server {version}")


def _check_groups(session: Session) -> Iterator[CheckResult]:
    """The user's groups with their levels, the one of this session first."""
    context = session.read("login", lambda sf: sf.getAdminService().getEventContext(), group=session.group_id)
    numbers = sorted(set(context.memberOfGroups), key=lambda n: (n != session.group_id, n))
    for number in numbers:
        group = _get_group(session, number)
        name, level = group.name.val, str(group.details.permissions)
        if name == "user":  # the system's own group, which everybody is in and which holds no data
            continue
        own = session.is_admin or number in context.leaderOfGroups
        yield explain_permissions(name, level, own=own, current=number == session.group_id)


def _get_group(session: Session, number: int) -> Any:
    return session.read(f"group {number}", lambda sf: sf.getAdminService().getGroup(number))


def explain_permissions(name: str, level: str, *, own: bool, current: bool) -> CheckResult:
    """What a group's level (``"rwra--"``) means for results; ``own``: for its leader or an administrator."""
    word, says = _LEVELS.get(level, (level, ""))
    if own and level != "rw----":
        says = "results on everybody's images, as its leader or an administrator"
    here = ", where this session is" if current else ""
    advice = "let each owner run it, for instance by the script in OMERO.web" if "only" in says and not own else ""
    return CheckResult(
        "group", "warning" if advice and current else "ok", f"{name} ({word}{here}): {says}".rstrip(": "), advice
    )


def _check_tables(session: Session) -> CheckResult:
    enabled = session.read("tables", lambda sf: sf.sharedResources().areTablesEnabled())
    if enabled:
        return CheckResult("tables", "ok", "the server keeps tables")
    advice = "start the server's Tables-0, or run with --no-table"
    return CheckResult("tables", "fail", "the server keeps no tables: runs that write them will fail", advice)


def _check_script(session: Session) -> CheckResult:
    from omero_pixclf.connector.scripts import find_script

    if find_script(session, _SCRIPT) is not None:
        return CheckResult("script", "ok", f"{_SCRIPT} is in OMERO.web's menu")
    return CheckResult(
        "script", "ok", "not in OMERO.web's menu", "an administrator puts it there: omero-pixclf script install"
    )


def _check_write_permission(session: Session, target: str) -> CheckResult:
    from omero_pixclf.connector.sessions.permissions import explain_refusal

    try:
        reason = explain_refusal(session, target)
    except PixclfError as error:
        reason = str(error)
    if reason is None:
        return CheckResult("rights", "ok", f"{target}: {session.user_name} may write results there")
    advice = "is the number right? results go to the image's group: its owner, or somebody who may, must run it"
    return CheckResult("rights", "fail", reason, advice)
