"""OMERO's exceptions with the class names and messages that OMERO's server gives them."""

from __future__ import annotations

import traceback
from typing import Any

import omero
import omero.all  # defines the exceptions

__all__ = [
    "BUSY",
    "JAVA_NAMES",
    "api_usage_error",
    "missing_row_error",
    "omero_error",
    "security_violation",
    "unexpected_error",
    "unreadable_error",
    "validation_error",
]

BUSY = "ome.conditions.DatabaseBusyException"
_BACK_OFF_MS = 5_000

JAVA_NAMES = {
    omero.ApiUsageException: "ome.conditions.ApiUsageException",
    omero.QueryException: "ome.services.query.QueryException",
    omero.ValidationException: "ome.conditions.ValidationException",
    omero.SecurityViolation: "ome.conditions.SecurityViolation",
    omero.ReadOnlyGroupSecurityViolation: "ome.conditions.ReadOnlyGroupSecurityViolation",
    omero.OptimisticLockException: "ome.conditions.OptimisticLockException",
    omero.InternalException: "ome.conditions.InternalException",
    omero.ResourceError: "ome.conditions.ResourceError",
    omero.RemovedSessionException: "ome.conditions.RemovedSessionException",
    omero.SessionTimeoutException: "ome.conditions.SessionTimeoutException",
}


def omero_error(kind: Any, message: str, trace: str = "") -> Any:
    """Return an exception of the omero class ``kind`` with the message, to be raised."""
    return kind(trace, JAVA_NAMES.get(kind, kind.__name__), message)


def api_usage_error(message: str) -> Any:
    """Return an ApiUsageException: the call is wrong."""
    return omero_error(omero.ApiUsageException, message)


def validation_error(message: str) -> Any:
    """Return a ValidationException: the data cannot be stored or does not exist."""
    return omero_error(omero.ValidationException, message)


def security_violation(message: str) -> Any:
    """Return a SecurityViolation: the caller lacks the permission."""
    return omero_error(omero.SecurityViolation, message)


def missing_row_error(qualified: str, ident: int) -> Any:
    """Return the ValidationException for an id without a row."""
    return validation_error(f"No row with the given identifier exists: [{qualified}#{ident}]")


def unreadable_error(qualified: str, ident: int) -> Any:
    """Return the SecurityViolation for an object that the caller may not read."""
    return security_violation(f"Cannot read {qualified}:Id_{ident}")


def unexpected_error(error: BaseException) -> Any:
    """Return the exception for an unexpected error; a full disk and a busy database have their own classes."""
    trace = "".join(traceback.format_exception(error))
    if isinstance(error, TimeoutError) or "database is locked" in str(error):
        return omero.DatabaseBusyException(trace, BUSY, str(error), _BACK_OFF_MS)
    if "disk is full" in str(error) or getattr(error, "errno", None) == 28:
        return omero_error(omero.ResourceError, f"no space left for the server's data: {error}", trace)
    return omero_error(omero.InternalException, f"Wrapped Exception: ({type(error).__name__}): {error}", trace)
