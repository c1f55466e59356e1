"""IRepositoryInfo: free space on the disk."""
# ruff: noqa: D102 - the operations are OMERO's and documented there

from __future__ import annotations

import shutil
from typing import Any

import omero
import omero.api

from omero_pixclf.embedded.server.exceptions import omero_error
from omero_pixclf.embedded.server.servant import OmeroService, without_transaction

__all__ = ["RepositoryInfoService"]

_KIB = 1024


class RepositoryInfoService(OmeroService):
    """omero.api.IRepositoryInfo."""

    interface = omero.api.IRepositoryInfo

    @without_transaction
    def getFreeSpaceInKilobytes(self, context: Any) -> int:
        return shutil.disk_usage(self.server.folder).free // _KIB

    @without_transaction
    def getUsedSpaceInKilobytes(self, context: Any) -> int:
        raise _removed_error()

    @without_transaction
    def getUsageFraction(self, context: Any) -> float:
        raise _removed_error()

    @without_transaction
    def sanityCheckRepository(self, context: Any) -> None:
        raise _removed_error()

    @without_transaction
    def removeUnusedFiles(self, context: Any) -> None:
        raise _removed_error()


def _removed_error() -> Any:
    """Return OMERO's exception for removed operations."""
    return omero_error(
        omero.InternalException,
        "This UNSAFE method has been deprecated. Server side functionality has been REMOVED.",
    )
