"""Errors that end an omero.cmd request, and the ERR that the client gets."""

from __future__ import annotations

import traceback
from typing import Any

import Ice
import omero
import omero.cmd

__all__ = ["RequestError", "graph_error", "make_error_response"]


class RequestError(Exception):
    """Ends a request; all its changes are rolled back.

    Attributes
    ----------
    name
        OMERO's name of the failure, such as ``graph-fail``.
    graph
        Whether the response is a GraphException, OMERO's ERR for changes that the object graph forbids.
    plain
        Whether the response has no parameters.
    unknown
        Whether the response is an Unknown, OMERO's ERR for unknown requests.
    """

    def __init__(
        self, name: str, message: str, *, graph: bool = False, plain: bool = False, unknown: bool = False
    ) -> None:
        super().__init__(message)
        self.name = name
        self.graph = graph
        self.plain = plain
        self.unknown = unknown
        self.request: Any = None  # the failed one of several requests


def graph_error(message: str) -> RequestError:
    """Return the error for a change that the rules of the object graph forbid."""
    return RequestError("graph-fail", message, graph=True)


def make_error_response(request: Any, error: BaseException, name: str) -> Any:
    """Return the omero.cmd.ERR of a failed request; ``name`` is used for unexpected errors."""
    planned = error if isinstance(error, RequestError) else None
    made = _empty(planned)
    failed = planned.request if planned and planned.request is not None else request
    made.category = failed.ice_id() if failed is not None else ""
    made.name = planned.name if planned else name
    message = _message(error)
    if planned and planned.graph:
        made.message = message
    trace = "".join(traceback.format_exception(error))
    made.parameters = {} if planned and planned.plain else {"message": message, "stacktrace": trace}
    return made


def _empty(planned: RequestError | None) -> Any:
    if planned is not None and planned.unknown:
        return omero.cmd.Unknown()
    return omero.cmd.GraphException() if planned is not None and planned.graph else omero.cmd.ERR()


def _message(error: BaseException) -> str:
    if isinstance(error, (omero.ServerError, Ice.Exception)):
        return str(getattr(error, "message", None) or error)
    return str(error)
