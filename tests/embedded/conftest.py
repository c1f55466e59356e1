"""The fixtures of tests/integration: a running server, users and groups, and their clients."""

from __future__ import annotations

from tests.integration.conftest import client, dataset, endpoint, folder, new_lab, own_server, session, team, user

__all__ = ["client", "dataset", "endpoint", "folder", "new_lab", "own_server", "session", "team", "user"]
