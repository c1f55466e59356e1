"""Save: IUpdate.saveAndReturnObject as an omero.cmd request."""

from __future__ import annotations

from typing import Any

import omero.api

from omero_pixclf.embedded.commands.request_errors import RequestError
from omero_pixclf.embedded.database.saving import Saver
from omero_pixclf.embedded.server.request_context import RequestContext

__all__ = ["save"]


def save(call: RequestContext, request: Any) -> Any:
    """Answer a Save request."""
    if request.obj is None:
        raise RequestError("bad-request", "there is nothing to save")
    saver = Saver(call, of_client=True)
    saved = saver.save(request.obj)
    saver.flush()
    return omero.api.SaveRsp(saved)
