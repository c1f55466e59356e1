"""IAdmin: users, groups and the caller's context."""

from __future__ import annotations

from typing import Any

import omero.api

from omero_pixclf.embedded.call import Call
from omero_pixclf.embedded.contexts import event_context
from omero_pixclf.embedded.service import Service

__all__ = ["Admin"]


class Admin(Service):
    """omero.api.IAdmin."""

    interface = omero.api.IAdmin

    def getEventContext(self, call: Call) -> Any:
        return event_context(call)
