"""The embedded OMERO: an OMERO-compatible server in Python, for the demo, the tests and offline use."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from omero_pixclf.embedded.server.server import Server, start

__all__ = ["Server", "start"]


def __getattr__(name: str) -> Any:
    if name in __all__:
        from omero_pixclf.embedded.server import server

        return getattr(server, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
