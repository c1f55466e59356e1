"""Order of the tiles of a new large image: OMERO writes them into a pyramid and cannot go back.

An image of more than 3192 x 3192 pixels has no plain file of planes. The first tile of a plane sets the size of its
tiles; a plane is finished when a tile of another plane is written; the first read of anything but the tile size ends
the writing. If these rules are broken, a real server raises an exception or stores wrong pixels; here it is always an
exception.
"""

from __future__ import annotations

from omero import InternalException

from omero_pixclf.embedded.images.pixel_buffer import PixelLayout
from omero_pixclf.embedded.server.exceptions import api_usage_error, omero_error

__all__ = ["TileSequence"]


class TileSequence:
    """The tiles written so far to one new image.

    Attributes
    ----------
    ended
        Whether data has been read, so that no more tiles can be written.
    """

    def __init__(self, layout: PixelLayout) -> None:
        self._layout = layout
        self._plane: tuple[int, int, int] | None = None
        self._size = (0, 0)
        self._finished: set[tuple[int, int, int]] = set()
        self.ended = False

    def end(self) -> None:
        """End the writing, because data is read; InternalException if nothing was written."""
        ended, self.ended = self.ended, True
        if self._plane is None:
            raise (
                _format_error("nothing has been written to it yet")
                if not ended
                else api_usage_error("In read-only mode!")
            )

    def check(self, length: int, plane: tuple[int, int, int], corner: tuple[int, int], size: tuple[int, int]) -> None:
        """Raise where a tile of ``length`` bytes at ``corner`` (x, y) of ``plane`` (z, c, t) cannot be written now."""
        if self.ended:
            raise api_usage_error("In read-only mode!")
        layout = self._layout
        limits = (layout.z, layout.c, layout.t)
        if not all(0 <= at < end for at, end in zip(plane, limits, strict=True)):
            raise _format_error(f"there is no plane z, c, t = {plane}")
        if length < size[0] * size[1] * layout.width:
            raise _format_error(f"buffer is too small: {length} bytes for {size[0]} x {size[1]} samples")
        self._begin(plane, size)
        for at, extent, tile, end in zip(corner, size, self._size, (layout.x, layout.y), strict=True):
            if not 0 <= at < end or at % tile or extent != min(tile, end - at):
                raise _format_error(f"a tile at x, y = {corner} of {size} is not on the grid of {self._size}")

    def _begin(self, plane: tuple[int, int, int], size: tuple[int, int]) -> None:
        if plane == self._plane:
            return
        if plane in self._finished:
            raise _format_error(f"the plane z, c, t = {plane} was left for another one and is finished")
        if min(size) < 1:
            raise _format_error(f"{size} is no size of a tile")
        if self._plane is not None:
            self._finished.add(self._plane)
        self._plane, self._size = plane, size


def _format_error(message: str) -> Exception:
    """Return the exception of an error in Bio-Formats' writer or reader."""
    text = f"Wrapped Exception: (java.lang.RuntimeException): loci.formats.FormatException: {message}"
    error: Exception = omero_error(InternalException, text)
    return error
