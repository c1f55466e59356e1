"""What stores and engines say of resolutions: there is only the full one."""
# ruff: noqa: D102 - the operations are OMERO's and documented there

from __future__ import annotations

from abc import abstractmethod
from typing import Any

import omero
import omero.api

from omero_pixclf.embedded.faults import fault, misuse
from omero_pixclf.embedded.pixel_buffer import PixelLayout
from omero_pixclf.embedded.service import Service, untransacted

__all__ = ["OneResolution"]


class OneResolution(Service):
    """The operations of omero.api.PyramidService."""

    @property
    @abstractmethod
    def _layout(self) -> PixelLayout:
        """Sizes of the pixels that are open; ApiUsageException where none are."""

    @untransacted
    def requiresPixelsPyramid(self, context: Any) -> bool:
        return self._layout.is_big

    @untransacted
    def getTileSize(self, context: Any) -> list[int]:
        return list(self._layout.tile_size)

    @untransacted
    def getResolutionLevels(self, context: Any) -> int:
        self._layout  # noqa: B018 - raises where no pixels are open
        return 1

    @untransacted
    def getResolutionLevel(self, context: Any) -> int:
        self._layout  # noqa: B018 - raises where no pixels are open
        return 0

    @untransacted
    def getResolutionDescriptions(self, context: Any) -> list[Any]:
        return [omero.api.ResolutionDescription(self._layout.x, self._layout.y)]

    @untransacted
    def setResolutionLevel(self, context: Any, level: int) -> None:
        if not self._layout.is_big:
            text = "Cannot set resolution levels on a ROMIO pixel buffer."
            raise fault(
                omero.InternalException, f"Wrapped Exception: (java.lang.UnsupportedOperationException): {text}"
            )
        if level != 0:
            raise misuse(f"resolution level {level} of 1")
