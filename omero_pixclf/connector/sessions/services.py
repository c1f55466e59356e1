"""OMERO's services within one group: every call on them, and on whatever they return, carries the call context.

A real server runs a call without context in the session's own group. That holds for the calls of stateful services,
too (``save`` of a raw store, the calls on a table, on a delete's handle). So a context that has to be repeated at each
call is forgotten sooner or later; here it belongs to the proxy.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import Ice
import omero.clients  # noqa: F401 - Ice's classes are complete only after it

__all__ = ["ContextProxy", "Services"]


class ContextProxy:
    """A remote object whose calls carry a context; a remote object that a call returns is of the same kind.

    The client's own implicit context (the session's uuid) stays part of every call.
    """

    def __init__(self, proxy: Any, context: Mapping[str, str]) -> None:
        self._context = dict(context)
        self._proxy = proxy.ice_context(self._context)

    def __getattr__(self, operation: str) -> Callable[..., Any]:
        call = getattr(self._proxy, operation)

        def in_context(*arguments: Any) -> Any:
            return _wrap_result(call(*arguments), self._context)

        return in_context


def _wrap_result(result: Any, context: Mapping[str, str]) -> Any:
    return ContextProxy(result, context) if isinstance(result, Ice.ObjectPrx) else result


class Services(ContextProxy):
    """A session's service factory within one group (``omero.api.ServiceFactory``'s own operations).

    Stateless services are looked up once; stateful ones (``createRawPixelsStore``, …) are new each time and belong to
    the caller.
    """

    def __init__(self, factory: Any, context: Mapping[str, str]) -> None:
        super().__init__(factory, context)
        self._known: dict[str, Any] = {}

    def __getattr__(self, operation: str) -> Callable[..., Any]:
        remote = super().__getattr__(operation)
        if not _is_stateless_service(operation):
            return remote

        def look_up() -> Any:
            if operation not in self._known:
                self._known[operation] = remote()
            return self._known[operation]

        return look_up

    def within(self, proxy: Any) -> ContextProxy:
        """A remote object that was part of an answer, so that its calls carry the context, too."""
        return ContextProxy(proxy, self._context)


def _is_stateless_service(operation: str) -> bool:
    return operation == "sharedResources" or (operation.startswith("get") and operation.endswith("Service"))
