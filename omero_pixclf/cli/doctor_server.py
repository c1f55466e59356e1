"""Checks of the server for ``omero-pixclf doctor``: address, certificate, login, groups, tables, permissions."""

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

__all__ = ["CONNECT_TIMEOUT_S", "check_reachable", "check_server", "explain_permissions"]

CONNECT_TIMEOUT_S = 5.0
_URL = re.compile(r"^(?P<scheme>wss|ws|ssl|tcp)://(?P<host>\[[^]]+\]|[^/:]+)(?::(?P<port>\d+))?")
_PORTS = {"wss": 443, "ws": 80, "ssl": DEFAULT_PORT, "tcp": 4063}
_SCRIPT = "omero_pixclf/Pixel_Classification.py"

# A group's permissions: their name, and where a member who is neither leader nor administrator can write results.
_PERMISSIONS = {
    "rw----": ("private", "results only on your own images, visible to you only"),
    "rwr---": ("read-only", "results only on your own images"),
    "rwra--": ("read-annotate", "results on all members' images"),
    "rwrw--": ("read-write", "results on all members' images"),
}


def check_server(
    login: Login, targets: Sequence[str], environ: Mapping[str, str], ask: Callable[[str], str] | None
) -> Iterator[CheckResult]:
    """Yield the results of all checks of the server; checks that depend on a failed one are left out."""
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
        advice = "omero login USER@HOST, or give it: omero-pixclf doctor -s USER@HOST"
        found = "none given, and no session of omero login"
        yield CheckResult("server", "fail" if targets else "warning", f"{found}: not checked", advice)
        return
    yield check_reachable(address.host, address.port)
    yield CheckResult("login", "fail", str(error))


def check_reachable(host: str, port: int | None) -> CheckResult:
    """Check whether the server's address accepts a connection within `CONNECT_TIMEOUT_S` seconds."""
    url = _URL.match(host)
    name = (url["host"] if url else host).strip("[]")
    number = port or (int(url["port"] or _PORTS[url["scheme"]]) if url else DEFAULT_PORT)
    try:
        with socket.create_connection((name, number), timeout=CONNECT_TIMEOUT_S):
            return CheckResult("server", "ok", f"{name}:{number} answers")
    except OSError as error:
        advice = "check the address, whether the server is running, and firewalls"
        return CheckResult("server", "fail", f"{name}:{number}: {error.strerror or error}", advice)


def _check_certificate(found: Credentials) -> CheckResult:
    """Check whether the server's certificate is verified; the login that follows fails if it is the wrong one."""
    if found.ca_file is not None:
        return CheckResult("certificate", "ok", f"verified with {found.ca_file}")
    advice = "give the trusted certificates with --ca-file, or as ca_file under [server]"
    return CheckResult("certificate", "warning", "not verified: omero-py accepts any server's certificate", advice)


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
    """Explain the permissions of the user's groups, the session's group first."""
    context = session.read("login", lambda sf: sf.getAdminService().getEventContext(), group=session.group_id)
    numbers = sorted(set(context.memberOfGroups), key=lambda n: (n != session.group_id, n))
    for number in numbers:
        group = _get_group(session, number)
        name, permissions = group.name.val, str(group.details.permissions)
        if name == "user":  # a group of the system with all users and no data
            continue
        is_leader = session.is_admin or number in context.leaderOfGroups
        yield explain_permissions(name, permissions, is_leader=is_leader, is_current=number == session.group_id)


def _get_group(session: Session, number: int) -> Any:
    return session.read(f"group {number}", lambda sf: sf.getAdminService().getGroup(number))


def explain_permissions(name: str, permissions: str, *, is_leader: bool, is_current: bool) -> CheckResult:
    """Say where results can be written in a group with these permissions (``"rwra--"``).

    ``is_leader`` is for the group's leaders and administrators, ``is_current`` for the session's group.
    """
    word, where = _PERMISSIONS.get(permissions, (permissions, ""))
    if is_leader and permissions != "rw----":
        where = "results on all members' images, as its leader or an administrator"
    here = ", group of this session" if is_current else ""
    limited = "only" in where and not is_leader
    advice = "each owner must run it, for instance with the script in OMERO.web" if limited else ""
    return CheckResult(
        "group", "warning" if advice and is_current else "ok", f"{name} ({word}{here}): {where}".rstrip(": "), advice
    )


def _check_tables(session: Session) -> CheckResult:
    enabled = session.read("tables", lambda sf: sf.sharedResources().areTablesEnabled())
    if enabled:
        return CheckResult("tables", "ok", "enabled on the server")
    advice = "start the server's Tables-0, or use run --no-table"
    return CheckResult("tables", "fail", "disabled on the server: runs that write tables will fail", advice)


def _check_script(session: Session) -> CheckResult:
    from omero_pixclf.connector.scripts import find_script

    if find_script(session, _SCRIPT) is not None:
        return CheckResult("script", "ok", f"{_SCRIPT} is in OMERO.web's menu")
    return CheckResult(
        "script", "ok", "not in OMERO.web's menu", "an administrator can install it: omero-pixclf script install"
    )


def _check_write_permission(session: Session, target: str) -> CheckResult:
    from omero_pixclf.connector.sessions.permissions import explain_refusal

    try:
        reason = explain_refusal(session, target)
    except PixclfError as error:
        reason = str(error)
    if reason is None:
        return CheckResult("rights", "ok", f"{target}: {session.user_name} may write results there")
    advice = "check the number; results go to the image's group, so its owner or a user with permission must run it"
    return CheckResult("rights", "fail", reason, advice)
