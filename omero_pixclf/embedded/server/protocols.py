"""Protocol of the running server: what requests, logins and script processors use of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

from omero_pixclf.embedded.database.sqlite import Database
from omero_pixclf.embedded.server.fault_injection import FaultInjection
from omero_pixclf.embedded.users.sessions import SessionRegistry

__all__ = ["RequestServer"]


class RequestServer(Protocol):
    """What a request needs of its server.

    `omero_pixclf.embedded.server.server.Server` has all of it. The services need more: see
    `omero_pixclf.embedded.server.servant.ServiceHost`.

    Attributes
    ----------
    folder
        The data folder.
    host, port
        The address of the SSL endpoint.
    plain_port
        The port of the endpoint without encryption; None if there is none.
    faults
        The faults that tests inject.
    database, sessions
        The database and the open sessions.
    adapter, communicator
        Ice's object adapter and communicator.
    """

    folder: Path
    host: str
    port: int
    plain_port: int | None
    faults: FaultInjection
    database: Database
    sessions: SessionRegistry
    adapter: Any
    communicator: Any
