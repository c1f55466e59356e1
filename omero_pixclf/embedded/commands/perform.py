"""Registry of the omero.cmd requests: the function that executes each, its steps and transaction."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from typing import Any

from omero_pixclf.embedded.commands.request_errors import RequestError
from omero_pixclf.embedded.server.request_context import RequestContext

__all__ = ["REQUESTS", "RequestCommand", "call_context", "failure_name", "is_writing", "perform", "step_count"]


@dataclass(frozen=True)
class RequestCommand:
    """How a request is executed."""

    where: str  # module.function below omero_pixclf.embedded.commands
    writes: bool = False
    all_groups: bool = False  # runs in all of the user's groups, not in the session's
    steps: int = 1
    dry_steps: int = 0  # steps of a dry run, which writes nothing
    failure: str = "steps-cancel"  # name of an unexpected failure

    def function(self) -> Callable[[RequestContext, Any], Any]:
        """Import and return the function that performs the request."""
        module, name = self.where.split(".")
        found: Callable[[RequestContext, Any], Any] = getattr(
            import_module(f"omero_pixclf.embedded.commands.{module}"), name
        )
        return found


def _graph_change(where: str, steps: int = 6) -> RequestCommand:
    return RequestCommand(where, True, True, steps, steps - 2, "graph-fail")


def _graph_question(where: str) -> RequestCommand:
    return RequestCommand(where, all_groups=True, steps=1, failure="graph-fail")


REQUESTS = {
    "Chgrp2": _graph_change("chgrp.change_group"),
    "Chmod2": _graph_change("chmod.change_permissions"),
    "Chown2": _graph_change("chown.change_owner", steps=7),
    "CurrentSessionsRequest": RequestCommand("server_requests.current_sessions"),
    "Delete2": _graph_change("delete.delete"),
    "DiskUsage2": _graph_question("disk_usage.disk_usage"),
    "DoAll": RequestCommand("composite.do_all"),
    "Duplicate": RequestCommand("duplication.duplicate", writes=True, steps=14, dry_steps=3, failure="graph-fail"),
    "FindChildren": _graph_question("find_related.find_children"),
    "FindParents": _graph_question("find_related.find_parents"),
    "FindPyramids": RequestCommand("image_files.find_pyramids"),
    "LegalGraphTargets": RequestCommand("server_requests.legal_targets"),
    "ListRequests": RequestCommand("server_requests.list_requests"),
    "ManageImageBinaries": RequestCommand("image_files.image_binaries"),
    "OriginalMetadataRequest": RequestCommand("image_files.original_metadata"),
    "Save": RequestCommand("save.save", writes=True, failure="save-failed"),
    "SkipHead": RequestCommand("composite.skip_head", steps=7, failure="graph-fail"),
    "Timing": RequestCommand("server_requests.timing"),
    "UpdateSessionTimeoutRequest": RequestCommand("server_requests.update_timeout", writes=True),
    "UsedFilesRequest": RequestCommand("image_files.used_files"),
}


def _name(request: Any) -> str:
    name = type(request).__name__
    return name[:-1] if name.endswith("I") else name


@cache
def _function(name: str) -> Callable[[RequestContext, Any], Any]:
    return REQUESTS[name].function()


def _command_for(request: Any) -> RequestCommand:
    """Return the command of a request; unknown requests are refused by `perform`."""
    return REQUESTS.get(_name(request), RequestCommand(""))


def _nested_requests(request: Any) -> list[Any]:
    if _name(request) == "DoAll":
        return [part for part in request.requests or [] if part is not None]
    return [request.request] if _name(request) == "SkipHead" and request.request is not None else []


def is_writing(request: Any) -> bool:
    """Whether a request changes the database."""
    parts = _nested_requests(request)
    if parts:
        return any(is_writing(part) for part in parts)
    return _command_for(request).writes and not getattr(request, "dryRun", False)


def call_context(request: Any, context: dict[str, str]) -> dict[str, str]:
    """Return the call context of a request; a SkipHead has that of the request that it wraps."""
    wrapped = _nested_requests(request) if _name(request) == "SkipHead" else []
    spans = _command_for(wrapped[0] if wrapped else request).all_groups
    return {**context, "omero.group": "-1"} if spans else dict(context)


def step_count(request: Any) -> int:
    """Return the number of steps that OMERO's server reports for a request."""
    found = _command_for(request)
    if _name(request) == "Timing":
        return max(1, int(request.steps))
    return found.dry_steps if found.dry_steps and getattr(request, "dryRun", False) else found.steps


def failure_name(request: Any) -> str:
    """Return the name of an unexpected failure of a request."""
    return _command_for(request).failure


def perform(call: RequestContext, request: Any) -> Any:
    """Execute a request in an open transaction.

    Returns
    -------
    omero.cmd.Response
        Never an ERR.

    Raises
    ------
    RequestError
        The request cannot be executed.
    """
    if _name(request) not in REQUESTS:
        raise RequestError(
            "unknown-request", f"{type(request).__name__} is no request of the embedded OMERO", unknown=True
        )
    try:
        return _function(_name(request))(call, request)
    except RequestError as refused:
        if refused.request is None:
            refused.request = request
        raise
