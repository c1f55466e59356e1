"""ILdap: there is no directory behind this server, and it says so."""
# ruff: noqa: D102 - the operations are OMERO's and documented there

from __future__ import annotations

import omero.api

from omero_pixclf.embedded.server.request_context import Call
from omero_pixclf.embedded.server.servant import Service

__all__ = ["Ldap"]


class Ldap(Service):
    """omero.api.ILdap."""

    interface = omero.api.ILdap

    def getSetting(self, call: Call) -> bool:
        return False
