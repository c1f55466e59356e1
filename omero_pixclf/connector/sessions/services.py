"""OMERO's services with the call context of one group, also for the services that they return.

A server runs a call without a context in the session's own group. This also applies to calls on stateful services
(``save`` of a raw store, calls on a table or on the handle of a delete). A context that must be given with each call
is easily forgotten; here it belongs to the proxy.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import Ice
import omero.clients  # noqa: F401 - needed before Ice's classes can be used

__all__ = ["ContextProxy", "Services"]


class ContextProxy:
    """A proxy of a remote object that adds a context to each call; proxies returned by its calls do the same.

    The client's implicit context (the session's uuid) remains part of every call.
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
    """A session's service factory bound to one group, with the operations of ``omero.api.ServiceFactory``.

    Stateless services are looked up once and cached. Stateful ones (``createRawPixelsStore``, …) are created at each
    call; the caller closes them.
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
        """Return a proxy that was part of a returned structure, with the context added to its calls."""
        return ContextProxy(proxy, self._context)


def _is_stateless_service(operation: str) -> bool:
    return operation == "sharedResources" or (operation.startswith("get") and operation.endswith("Service"))
