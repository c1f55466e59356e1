"""Notify systemd of the service's state through the socket in ``NOTIFY_SOCKET``."""

from __future__ import annotations

import logging
import socket
from collections.abc import Mapping

__all__ = ["notify"]

_log = logging.getLogger(__name__)


def notify(text: str, environ: Mapping[str, str]) -> bool:
    """Send ``READY=1``, ``STATUS=…``, ``WATCHDOG=1`` or ``STOPPING=1``; False if there is no socket to send it to."""
    address = environ.get("NOTIFY_SOCKET", "")
    if not address:
        return False
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as out:
        try:
            # A leading @ means the abstract namespace.
            out.connect("\0" + address[1:] if address.startswith("@") else address)
            out.sendall(text.encode())
        except OSError as error:
            _log.warning("cannot send %s to systemd: %s", text, error)
            return False
    return True
