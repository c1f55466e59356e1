"""Resolution levels of an image (pyramid), and the operations of OMERO's PyramidService."""
# ruff: noqa: D102 - the operations are OMERO's and documented there

from __future__ import annotations

import shutil
from abc import abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

import omero
import omero.api

from omero_pixclf.embedded.database.sqlite import Transaction, ids_parameter
from omero_pixclf.embedded.images.pixel_buffer import PixelBuffer, PixelLayout
from omero_pixclf.embedded.server.exceptions import api_usage_error, omero_error, validation_error
from omero_pixclf.embedded.server.request_context import RequestContext
from omero_pixclf.embedded.server.servant import OmeroService, without_transaction
from omero_pixclf.embedded.storage.data_paths import pixels_path, resolution_path

__all__ = ["Pyramid", "PyramidService", "copy_levels", "delete_levels", "open_pixels", "open_pyramid", "pixel_layout"]

_LEVELS = "SELECT level, sizeX, sizeY FROM resolution WHERE pixels = ? ORDER BY level"
_IMPORTED = "SELECT 1 FROM pixels p JOIN image i ON i.id = p.image WHERE p.id = ? AND i.fileset IS NOT NULL"


def pixel_layout(call: RequestContext, ident: int) -> tuple[PixelLayout, int, int] | None:
    """Return sizes and type of a Pixels object, its owner and group; None if the caller cannot see it."""
    row = call.tx.one(
        "SELECT p.sizeX, p.sizeY, p.sizeZ, p.sizeC, p.sizeT, k.value, p.owner_id, p.group_id FROM pixels p "
        "JOIN pixelstype k ON k.id = p.pixelsType WHERE p.id = ?",
        (ident,),
    )
    if row is None or not call.caller.may_read(row[6], row[7]):
        return None
    return PixelLayout(*row[:6]), row[6], row[7]


def open_pixels(call: RequestContext, ident: int, *, write: bool = False) -> PixelBuffer:
    """Open the file of a Pixels object; it can be written once, by the first store that opens it."""
    found = pixel_layout(call, ident)
    if found is None:
        raise validation_error(f"Cannot read pixels id={ident}")
    layout, owner, group = found
    path = pixels_path(call.folder, ident)
    new = not path.exists()
    return PixelBuffer(path, layout, writable=write and new and call.graph.rights(owner, group).edit)


def open_pyramid(call: RequestContext, ident: int, *, write: bool = False) -> Pyramid:
    """Open all resolutions of a Pixels object; only a new one, which has the full resolution only, is writable."""
    full = open_pixels(call, ident, write=write)
    smaller = [
        PixelBuffer(resolution_path(call.folder, ident, level), replace(full.layout, x=x, y=y), writable=False)
        for level, x, y in call.tx.all(_LEVELS, (ident,))
    ]
    return Pyramid([full, *smaller], imported=call.tx.one(_IMPORTED, (ident,)) is not None)


def delete_levels(tx: Transaction, ids: Iterable[int]) -> None:
    """Delete the rows of the smaller resolutions of Pixels; their files are removed with the full ones."""
    tx.execute("DELETE FROM resolution WHERE pixels IN (SELECT value FROM json_each(?))", (ids_parameter(ids),))


def copy_levels(call: RequestContext, source: int, target: int) -> None:
    """Copy the smaller resolutions of Pixels to a copy of them."""
    for level, x, y in call.tx.all(_LEVELS, (source,)):
        call.tx.execute("INSERT INTO resolution VALUES (?, ?, ?, ?)", (target, level, x, y))
        shutil.copyfile(resolution_path(call.folder, source, level), resolution_path(call.folder, target, level))


class Pyramid:
    """The buffers of an image's resolutions, the largest first; one of them, at first the largest, is selected.

    OMERO counts levels from the smallest resolution.
    """

    def __init__(self, buffers: Sequence[PixelBuffer], *, imported: bool) -> None:
        self.buffers = tuple(buffers)
        self.level = len(buffers) - 1
        self._imported = imported

    @property
    def full(self) -> PixelBuffer:
        """The full resolution."""
        return self.buffers[0]

    @property
    def current(self) -> PixelBuffer:
        """The selected resolution."""
        return self.buffers[len(self.buffers) - 1 - self.level]

    @property
    def tile_size(self) -> tuple[int, int]:
        """Width and height of the tiles that are read fastest."""
        return self.current.layout.tile_size

    def smallest_with_side(self, side: int) -> PixelBuffer:
        """Return the smallest resolution with a longer side of at least ``side`` pixels, or the full one."""
        fitting = [b for b in self.buffers if max(b.layout.x, b.layout.y) >= side]
        return fitting[-1] if fitting else self.full

    def select_level(self, level: int) -> None:
        """Select a resolution; ApiUsageException for a number out of range."""
        if not self._imported and not self.full.layout.is_big:
            text = "Cannot set resolution levels on a ROMIO pixel buffer."
            raise omero_error(
                omero.InternalException, f"Wrapped Exception: (java.lang.UnsupportedOperationException): {text}"
            )
        if not 0 <= level < len(self.buffers):
            raise api_usage_error(f"resolution level {level} of {len(self.buffers)}")
        self.level = level

    def close(self) -> None:
        """Close the files."""
        for buffer in self.buffers:
            buffer.close()


class PyramidService(OmeroService):
    """The operations of omero.api.PyramidService."""

    @property
    @abstractmethod
    def _pyramid(self) -> Pyramid:
        """The resolutions of the open pixels; ApiUsageException if none are open."""

    @property
    def _levels(self) -> Pyramid:
        """The resolutions, if they may be asked for now."""
        return self._pyramid

    @property
    def _layout(self) -> PixelLayout:
        """Sizes of the selected resolution."""
        return self._pyramid.current.layout

    @without_transaction
    def requiresPixelsPyramid(self, context: Any) -> bool:
        return self._pyramid.full.layout.is_big

    @without_transaction
    def getTileSize(self, context: Any) -> list[int]:
        return list(self._pyramid.tile_size)

    @without_transaction
    def getResolutionLevels(self, context: Any) -> int:
        return len(self._levels.buffers)

    @without_transaction
    def getResolutionLevel(self, context: Any) -> int:
        return self._levels.level

    @without_transaction
    def getResolutionDescriptions(self, context: Any) -> list[Any]:
        layouts = [buffer.layout for buffer in self._levels.buffers]
        return [omero.api.ResolutionDescription(layout.x, layout.y) for layout in layouts]

    @without_transaction
    def setResolutionLevel(self, context: Any, level: int) -> None:
        self._levels.select_level(level)
