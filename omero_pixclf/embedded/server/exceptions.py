"""OMERO's exceptions, made as its server makes them."""

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
    """An exception of omero's class ``kind`` with the message, ready to raise."""
    return kind(trace, JAVA_NAMES.get(kind, kind.__name__), message)


def api_usage_error(message: str) -> Any:
    """The call makes no sense."""
    return omero_error(omero.ApiUsageException, message)


def validation_error(message: str) -> Any:
    """The data cannot be stored or does not exist."""
    return omero_error(omero.ValidationException, message)


def security_violation(message: str) -> Any:
    """The caller may not do this."""
    return omero_error(omero.SecurityViolation, message)


def missing_row_error(qualified: str, ident: int) -> Any:
    """An id that stands for nothing."""
    return validation_error(f"No row with the given identifier exists: [{qualified}#{ident}]")


def unreadable_error(qualified: str, ident: int) -> Any:
    """An object the caller may not see."""
    return security_violation(f"Cannot read {qualified}:Id_{ident}")


def unexpected_error(error: BaseException) -> Any:
    """What a client is told about an error that nobody planned; a full disk and a busy database are named as such."""
    trace = "".join(traceback.format_exception(error))
    if isinstance(error, TimeoutError) or "database is locked" in str(error):
        return omero.DatabaseBusyException(trace, BUSY, str(error), _BACK_OFF_MS)
    if "disk is full" in str(error) or getattr(error, "errno", None) == 28:
        return omero_error(omero.ResourceError, f"no space left for the server's data: {error}", trace)
    return omero_error(omero.InternalException, f"Wrapped Exception: ({type(error).__name__}): {error}", trace)
