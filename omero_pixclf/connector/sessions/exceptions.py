"""What OMERO and Ice raise, translated into omero_pixclf's own errors: once, here, by a table."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import Glacier2
import Ice
import omero
import omero.clients  # Ice's exceptions and Glacier2's are complete only after this

from omero_pixclf.errors import (
    LoginError,
    MissingError,
    NotAllowedError,
    PixclfError,
    ServerError,
    UnreachableError,
)

__all__ = ["REMOTE_ERRORS", "describe_error", "make_missing_error", "translate_error", "translate_errors"]

REMOTE_ERRORS: tuple[type[BaseException], ...] = (Ice.Exception, omero.ClientError, omero.CmdError)
"""Everything that a call to the server can raise."""

_DATABASE_BUSY = "ome.conditions.DatabaseBusyException"

# The first row that fits counts: subclasses stand before their parents.
_TRANSLATIONS: tuple[tuple[tuple[type[BaseException], ...], type[PixclfError], str], ...] = (
    (
        (Glacier2.PermissionDeniedException, omero.AuthenticationException),
        LoginError,
        "name, password or session refused",
    ),
    ((omero.ExpiredCredentialException,), LoginError, "the password has expired"),
    ((omero.RemovedSessionException, omero.SessionTimeoutException), UnreachableError, "the session has ended"),
    ((Glacier2.SessionNotExistException, Ice.ObjectNotExistException), UnreachableError, "the session has ended"),
    ((omero.WrappedCreateSessionException,), LoginError, "no session was given"),
    ((Glacier2.CannotCreateSessionException, omero.SessionException), LoginError, "no session was given"),
    (
        (Ice.SecurityException,),
        LoginError,
        "the server's certificate is not one that ca_file trusts for this host; is it the right server, and the right "
        "file?",
    ),
    ((Ice.DNSException,), UnreachableError, "no such host"),
    ((Ice.ConnectFailedException,), UnreachableError, "no connection; is the address right, does the server run?"),
    ((Ice.SocketException, Ice.TimeoutException, Ice.InvocationTimeoutException), UnreachableError, "connection lost"),
    ((Ice.MarshalException,), ServerError, "the server's answer was not understood"),
    ((Ice.ProtocolException,), UnreachableError, "connection lost"),  # also SSL that breaks off
    (
        (Ice.CommunicatorDestroyedException, Ice.ObjectAdapterDeactivatedException),
        UnreachableError,
        "connection closed",
    ),
    ((omero.OptimisticLockException,), ServerError, "somebody else changed it meanwhile"),
    ((omero.ConcurrencyException, omero.ShutdownInProgress), UnreachableError, "the server is busy or going down"),
    ((omero.SecurityViolation,), NotAllowedError, "refused"),
    ((omero.CmdError, omero.ServerError), ServerError, "the server answered with an error"),
    ((omero.ClientError,), UnreachableError, "no session"),
    ((Ice.Exception,), ServerError, "the server's answer was not understood"),
)


def describe_error(error: BaseException) -> str:
    """What an OMERO or Ice exception says, on one line and without a remote stack trace."""
    if isinstance(error, omero.CmdError):
        answer = error.err
        details = getattr(answer, "parameters", None) or {}
        text = details.get("message") or getattr(answer, "message", "") or getattr(answer, "name", "") or ""
    elif isinstance(error, (Ice.UnknownException,)):
        text = error.unknown
    else:
        text = getattr(error, "message", None) or getattr(error, "reason", None) or str(error)
    first = str(text).strip().splitlines()
    return f"{type(error).__name__}: {first[0].strip()}" if first else type(error).__name__


def translate_error(error: BaseException, doing: str) -> PixclfError:
    """Our error for one of theirs; ``doing`` says what was tried, with ids."""
    if getattr(error, "type", "") == _DATABASE_BUSY:  # a login that had to wait too long
        return UnreachableError(f"{doing}: no session: {getattr(error, 'reason', '')}")
    for kinds, ours, meaning in _TRANSLATIONS:
        if isinstance(error, kinds):
            return ours(f"{doing}: {meaning} ({describe_error(error)})")
    raise TypeError(f"{type(error).__name__} does not come from OMERO") from error


@contextmanager
def translate_errors(doing: str) -> Iterator[None]:
    """Turn whatever OMERO or Ice raises inside into one of ours, chained to its cause."""
    try:
        yield
    except REMOTE_ERRORS as error:
        raise translate_error(error, doing) from error


def make_missing_error(kind: str, ident: int) -> MissingError:
    """The error for an object that a query did not find."""
    return MissingError(
        f"{kind}:{ident}: not on the server, or not visible to this user; check the number, and the user who logs in"
    )
