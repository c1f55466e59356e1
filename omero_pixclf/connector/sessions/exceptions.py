"""Translate exceptions of OMERO and Ice into this package's errors."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import Glacier2
import Ice
import omero
import omero.clients  # needed before the exceptions of Ice and Glacier2 can be used

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
"""All exceptions that a call to the server can raise."""

_DATABASE_BUSY = "ome.conditions.DatabaseBusyException"

# The first matching row is used: subclasses come before their parents.
_TRANSLATIONS: tuple[tuple[tuple[type[BaseException], ...], type[PixclfError], str], ...] = (
    (
        (Glacier2.PermissionDeniedException, omero.AuthenticationException),
        LoginError,
        "name, password or session refused",
    ),
    ((omero.ExpiredCredentialException,), LoginError, "the password has expired"),
    ((omero.RemovedSessionException, omero.SessionTimeoutException), UnreachableError, "the session has ended"),
    ((Glacier2.SessionNotExistException, Ice.ObjectNotExistException), UnreachableError, "the session has ended"),
    ((omero.WrappedCreateSessionException,), LoginError, "the server opened no session"),
    ((Glacier2.CannotCreateSessionException, omero.SessionException), LoginError, "the server opened no session"),
    (
        (Ice.SecurityException,),
        LoginError,
        "the server's certificate is not one that ca_file trusts for this host; check the server's address and the "
        "file",
    ),
    ((Ice.DNSException,), UnreachableError, "unknown host"),
    (
        (Ice.ConnectFailedException,),
        UnreachableError,
        "cannot connect; check the address and that the server is running",
    ),
    ((Ice.SocketException, Ice.TimeoutException, Ice.InvocationTimeoutException), UnreachableError, "connection lost"),
    ((Ice.MarshalException,), ServerError, "the server's answer cannot be decoded"),
    ((Ice.ProtocolException,), UnreachableError, "connection lost"),  # also a broken SSL connection
    (
        (Ice.CommunicatorDestroyedException, Ice.ObjectAdapterDeactivatedException),
        UnreachableError,
        "connection closed",
    ),
    ((omero.OptimisticLockException,), ServerError, "another client changed the object at the same time"),
    ((omero.ConcurrencyException, omero.ShutdownInProgress), UnreachableError, "the server is busy or shutting down"),
    ((omero.SecurityViolation,), NotAllowedError, "permission denied"),
    ((omero.CmdError, omero.ServerError), ServerError, "the server answered with an error"),
    ((omero.ClientError,), UnreachableError, "no session"),
    ((Ice.Exception,), ServerError, "the server's answer cannot be decoded"),
)


def describe_error(error: BaseException) -> str:
    """Return the message of an OMERO or Ice exception on one line, without the server's stack trace."""
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


def translate_error(error: BaseException, activity: str) -> PixclfError:
    """Return our error for an exception of OMERO or Ice; ``activity`` is what was attempted, with ids."""
    if getattr(error, "type", "") == _DATABASE_BUSY:  # a login that waited too long for the database
        return UnreachableError(f"{activity}: the server opened no session: {getattr(error, 'reason', '')}")
    for kinds, ours, meaning in _TRANSLATIONS:
        if isinstance(error, kinds):
            return ours(f"{activity}: {meaning} ({describe_error(error)})")
    raise TypeError(f"{type(error).__name__} is not an exception of OMERO or Ice") from error


@contextmanager
def translate_errors(activity: str) -> Iterator[None]:
    """Raise any exception of OMERO or Ice from the block as one of our errors, chained to its cause."""
    try:
        yield
    except REMOTE_ERRORS as error:
        raise translate_error(error, activity) from error


def make_missing_error(kind: str, ident: int) -> MissingError:
    """Return the error for an object that a query did not find."""
    return MissingError(
        f"{kind}:{ident}: not on the server, or not visible to this user; check the id and the user who logs in"
    )
