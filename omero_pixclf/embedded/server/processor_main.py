"""Process that runs the server's official scripts: omero-py's processor in a session of its own.

`omero_pixclf.embedded.server.script_processors` starts it and writes one line of JSON to its standard input: host,
port, the session's uuid and a folder. It ends when its standard input is closed, that is, with its server.
"""

from __future__ import annotations

import json
import sys
import threading
import uuid
from typing import Any

import Ice
import omero.clients
from omero.processor import ProcessorI
from omero.util import ServerContext
from omero_ext.path import path  # type: ignore[import-untyped]

__all__ = ["main"]

_KEEP_ALIVE_S = 60


def main() -> int:
    """Run jobs until standard input is closed."""
    settings = json.loads(sys.stdin.readline())
    client = omero.client(settings["host"], settings["port"])
    session = client.joinSession(settings["session"])
    client.enableKeepAlive(_KEEP_ALIVE_S)
    stop = threading.Event()
    context = ServerContext("Processor-0", client.ic, stop)
    context.session = session  # used to check running scripts
    processor = _register_processor(client, context, settings["home"])
    sys.stdin.read()
    stop.set()
    processor.cleanup()
    client.__del__()
    return 0


def _register_processor(client: Any, context: Any, home: str) -> Any:
    """Create the processor's servant and register it with the server; it accepts official scripts only."""
    made = ProcessorI(
        context,
        use_session=client.sf,
        accepts_list=[],
        cfg=str(path(home) / "etc" / "ice.config"),
        omero_home=path(home),
        category=client.getCategory(),
    )
    identity = Ice.Identity(f"Processor-{uuid.uuid4()}", client.getCategory())
    context.add_servant(client.adapter, made, ice_identity=identity)
    return made


if __name__ == "__main__":
    sys.exit(main())
