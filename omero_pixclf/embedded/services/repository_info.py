"""IRepositoryInfo: room on the disk."""
# ruff: noqa: D102 - the operations are OMERO's and documented there

from __future__ import annotations

import shutil
from typing import Any

import omero
import omero.api

from omero_pixclf.embedded.server.exceptions import fault
from omero_pixclf.embedded.server.servant import Service, untransacted

__all__ = ["RepositoryInfo"]

_KIB = 1024


class RepositoryInfo(Service):
    """omero.api.IRepositoryInfo."""

    interface = omero.api.IRepositoryInfo

    @untransacted
    def getFreeSpaceInKilobytes(self, context: Any) -> int:
        return shutil.disk_usage(self.server.folder).free // _KIB

    @untransacted
    def getUsedSpaceInKilobytes(self, context: Any) -> int:
        raise _removed()

    @untransacted
    def getUsageFraction(self, context: Any) -> float:
        raise _removed()

    @untransacted
    def sanityCheckRepository(self, context: Any) -> None:
        raise _removed()

    @untransacted
    def removeUnusedFiles(self, context: Any) -> None:
        raise _removed()


def _removed() -> Any:
    """What OMERO answers since it gave these up."""
    return fault(
        omero.InternalException,
        "This UNSAFE method has been deprecated. Server side functionality has been REMOVED.",
    )
