"""Which function carries out which request of omero.cmd."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from typing import Any

from omero_pixclf.embedded.call import Call
from omero_pixclf.embedded.commands.refusal import Refused
from omero_pixclf.embedded.faults import misuse

__all__ = ["REQUESTS", "check_known", "context_of", "perform", "step_count", "unplanned", "writes"]


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


REQUESTS = {
    "Delete2": _graph_change("deletion.delete"),
    "DoAll": Command("several.do_all"),
    "SkipHead": Command("several.skip_head", all_groups=True, steps=7, failure="graph-fail"),
}


def _name(request: Any) -> str:
    name = type(request).__name__
    return name[:-1] if name.endswith("I") else name


@cache
def _function(name: str) -> Callable[[Call, Any], Any]:
    return REQUESTS[name].function()


def check_known(request: Any) -> None:
    """ApiUsageException where a request is of no kind that is carried out here."""
    if request is None or _name(request) not in REQUESTS:
        raise misuse(f"{'None' if request is None else request.ice_id()} is no request of the embedded OMERO")


def _parts(request: Any) -> list[Any]:
    if _name(request) == "DoAll":
        return [part for part in request.requests or [] if part is not None]
    return [request.request] if _name(request) == "SkipHead" and request.request is not None else []


def writes(request: Any) -> bool:
    """Whether a request changes the database."""
    parts = _parts(request)
    if parts:
        return any(writes(part) for part in parts)
    return REQUESTS[_name(request)].writes and not getattr(request, "dryRun", False)


def context_of(request: Any, context: dict[str, str]) -> dict[str, str]:
    """The call context a request runs in."""
    spans = REQUESTS[_name(request)].all_groups
    return {**context, "omero.group": "-1"} if spans else dict(context)


def step_count(request: Any) -> int:
    """How many steps OMERO's server makes of a request; clients see it in the status."""
    found = REQUESTS[_name(request)]
    return found.dry_steps if found.dry_steps and getattr(request, "dryRun", False) else found.steps


def unplanned(request: Any) -> str:
    """The name of a failure that no rule foresees."""
    return REQUESTS[_name(request)].failure


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
    check_known(request)
    try:
        return _function(_name(request))(call, request)
    except Refused as refused:
        if refused.request is None:
            refused.request = request
        raise
