"""Which function carries out which request of omero.cmd."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from typing import Any

from omero_pixclf.embedded.commands.request_errors import Refused
from omero_pixclf.embedded.server.request_context import Call

__all__ = ["REQUESTS", "context_of", "perform", "step_count", "unplanned", "writes"]


@dataclass(frozen=True)
class Command:
    """How a request is carried out."""

    where: str  # module.function below omero_pixclf.embedded.commands
    writes: bool = False
    all_groups: bool = False  # looks at all of the user's groups, whatever the session's is
    steps: int = 1
    dry_steps: int = 0  # steps of a dry run, which writes nothing
    failure: str = "steps-cancel"  # what an unplanned failure is called

    def function(self) -> Callable[[Call, Any], Any]:
        module, name = self.where.split(".")
        found: Callable[[Call, Any], Any] = getattr(import_module(f"omero_pixclf.embedded.commands.{module}"), name)
        return found


def _graph_change(where: str, steps: int = 6) -> Command:
    return Command(where, True, True, steps, steps - 2, "graph-fail")


def _graph_question(where: str) -> Command:
    return Command(where, all_groups=True, steps=1, failure="graph-fail")


REQUESTS = {
    "Chgrp2": _graph_change("chgrp.change_group"),
    "Chmod2": _graph_change("chmod.change_permissions"),
    "Chown2": _graph_change("chown.change_owner", steps=7),
    "CurrentSessionsRequest": Command("server_requests.current_sessions"),
    "Delete2": _graph_change("delete.delete"),
    "DiskUsage2": _graph_question("disk_usage.disk_usage"),
    "DoAll": Command("composite.do_all"),
    "Duplicate": Command("duplication.duplicate", writes=True, steps=14, dry_steps=3, failure="graph-fail"),
    "FindChildren": _graph_question("find_related.find_children"),
    "FindParents": _graph_question("find_related.find_parents"),
    "FindPyramids": Command("image_files.find_pyramids"),
    "LegalGraphTargets": Command("server_requests.legal_targets"),
    "ListRequests": Command("server_requests.list_requests"),
    "ManageImageBinaries": Command("image_files.image_binaries"),
    "OriginalMetadataRequest": Command("image_files.original_metadata"),
    "Save": Command("save.save", writes=True, failure="save-failed"),
    "SkipHead": Command("composite.skip_head", steps=7, failure="graph-fail"),
    "Timing": Command("server_requests.timing"),
    "UpdateSessionTimeoutRequest": Command("server_requests.update_timeout", writes=True),
    "UsedFilesRequest": Command("image_files.used_files"),
}


def _name(request: Any) -> str:
    name = type(request).__name__
    return name[:-1] if name.endswith("I") else name


@cache
def _function(name: str) -> Callable[[Call, Any], Any]:
    return REQUESTS[name].function()


def _found(request: Any) -> Command:
    """How a request is carried out; unknown ones are refused later, by `perform`."""
    return REQUESTS.get(_name(request), Command(""))


def _parts(request: Any) -> list[Any]:
    if _name(request) == "DoAll":
        return [part for part in request.requests or [] if part is not None]
    return [request.request] if _name(request) == "SkipHead" and request.request is not None else []


def writes(request: Any) -> bool:
    """Whether a request changes the database."""
    parts = _parts(request)
    if parts:
        return any(writes(part) for part in parts)
    return _found(request).writes and not getattr(request, "dryRun", False)


def context_of(request: Any, context: dict[str, str]) -> dict[str, str]:
    """The call context a request runs in; a SkipHead's is that of the request it wraps."""
    wrapped = _parts(request) if _name(request) == "SkipHead" else []
    spans = _found(wrapped[0] if wrapped else request).all_groups
    return {**context, "omero.group": "-1"} if spans else dict(context)


def step_count(request: Any) -> int:
    """How many steps OMERO's server makes of a request; clients see it in the status."""
    found = _found(request)
    if _name(request) == "Timing":
        return max(1, int(request.steps))
    return found.dry_steps if found.dry_steps and getattr(request, "dryRun", False) else found.steps


def unplanned(request: Any) -> str:
    """The name of a failure that no rule foresees."""
    return _found(request).failure


def perform(call: Call, request: Any) -> Any:
    """Carry a request out within an open transaction.

    Returns
    -------
    omero.cmd.Response
        Never an ERR.

    Raises
    ------
    Refused
        Where the request cannot be fulfilled.
    """
    if _name(request) not in REQUESTS:
        raise Refused("unknown-request", f"{type(request).__name__} is no request of the embedded OMERO", unknown=True)
    try:
        return _function(_name(request))(call, request)
    except Refused as refused:
        if refused.request is None:
            refused.request = request
        raise
