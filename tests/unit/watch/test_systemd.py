"""Notifications to systemd."""

from __future__ import annotations

import socket
from pathlib import Path

from omero_pixclf.watch.systemd import notify


def test_systemd_is_told_by_its_socket(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(str(tmp_path / "notify"))
        listening.settimeout(5)
        assert notify("READY=1", {"NOTIFY_SOCKET": str(tmp_path / "notify")})
        assert listening.recv(100) == b"READY=1"
    assert not notify("READY=1", {}) and not notify("READY=1", {"NOTIFY_SOCKET": str(tmp_path / "nobody")})
