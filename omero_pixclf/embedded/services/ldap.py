"""ILdap: LDAP is not supported, and the service says so."""
# ruff: noqa: D102 - the operations are OMERO's and documented there

from __future__ import annotations

import omero.api

from omero_pixclf.embedded.server.request_context import RequestContext
from omero_pixclf.embedded.server.servant import OmeroService

__all__ = ["LdapService"]


class LdapService(OmeroService):
    """omero.api.ILdap."""

    interface = omero.api.ILdap

    def getSetting(self, call: RequestContext) -> bool:
        return False
