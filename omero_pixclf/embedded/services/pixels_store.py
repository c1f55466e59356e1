"""RawPixelsStore: reading and writing planes, tiles and hypercubes as bytes."""
# ruff: noqa: D102 - the operations are OMERO's and documented there

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import omero
import omero.api
import omero.romio
from omero.rtypes import rstring

from omero_pixclf.embedded.database.saving_rights import check_group
from omero_pixclf.embedded.images.pixel_buffer import PixelBuffer, PixelLayout
from omero_pixclf.embedded.images.resolutions import Pyramid, PyramidService, open_pyramid
from omero_pixclf.embedded.images.tile_sequence import TileSequence
from omero_pixclf.embedded.server.exceptions import api_usage_error, omero_error, unreadable_error
from omero_pixclf.embedded.server.request_context import RequestContext
from omero_pixclf.embedded.server.servant import without_transaction

__all__ = ["RawPixelsStore"]

_HISTOGRAM_BINS = 256


class RawPixelsStore(PyramidService):
    """omero.api.RawPixelsStore."""

    interface = omero.api.RawPixelsStore
    stateful = True

    def __init__(self, server: Any, session: Any) -> None:
        super().__init__(server, session)
        self._ident: int | None = None
        self._open: Pyramid | None = None
        self._modified = False
        self._incomplete = False
        self._group, self._image = 0, 0
        self._tiles: TileSequence | None = None

    def setPixelsId(self, call: RequestContext, ident: int, bypass: bool) -> None:
        if self._ident == ident:
            return
        self._leave()
        self._open = open_pyramid(call, ident, write=True)
        self._ident = ident
        self._group, self._image = call.tx.one("SELECT group_id, image FROM pixels WHERE id = ?", (ident,))
        full = self._open.full
        self._tiles = TileSequence(full.layout) if full.writable and full.layout.is_big else None

    def prepare(self, call: RequestContext, ids: list[int]) -> None:
        """Do nothing: opening is fast."""

    @property
    def _pyramid(self) -> Pyramid:
        if self._open is None:
            raise api_usage_error(
                "This RawPixelsStore has not been properly initialized.\n"
                "Please set the pixels id before executing any other methods.\n"
            )
        return self._open

    @property
    def _buffer(self) -> PixelBuffer:
        """The selected resolution for reading; ends the writing of a large image's tiles."""
        current = self._pyramid.current
        if self._tiles is not None:
            self._tiles.end()
        return current

    @property
    def _layout(self) -> PixelLayout:
        return self._buffer.layout

    @property
    def _levels(self) -> Pyramid:
        if self._tiles is not None and not self._tiles.ended:
            raise api_usage_error("In write mode!")
        return self._pyramid

    def _writable(self) -> PixelBuffer:
        """Return the buffer for writing other parts than tiles; InternalException for large images."""
        if self._pyramid.full.layout.is_big:
            raise _unsupported_error("Non-tile based writing unsupported.")
        return self._pyramid.current

    def _leave(self) -> None:
        if self._open is not None:
            self._open.close()
        self._open, self._ident, self._modified, self._incomplete = None, None, False, False
        self._tiles = None

    # ---- sizes -----------------------------------------------------------------------------------------------
    @without_transaction
    def getPixelsId(self, context: Any) -> int | None:
        self._pyramid  # noqa: B018 - raises before setPixelsId
        return self._ident

    @without_transaction
    def getPixelsPath(self, context: Any) -> str:
        return str(self._buffer.path)

    @without_transaction
    def getByteWidth(self, context: Any) -> int:
        return self._layout.width

    @without_transaction
    def isSigned(self, context: Any) -> bool:
        return self._layout.dtype.kind != "u"

    @without_transaction
    def isFloat(self, context: Any) -> bool:
        return self._layout.dtype.kind == "f"

    @without_transaction
    def getRowSize(self, context: Any) -> int:
        return self._layout.row_size

    @without_transaction
    def getPlaneSize(self, context: Any) -> int:
        return self._layout.plane_size

    @without_transaction
    def getStackSize(self, context: Any) -> int:
        return self._layout.stack_size

    @without_transaction
    def getTimepointSize(self, context: Any) -> int:
        return self._layout.timepoint_size

    @without_transaction
    def getTotalSize(self, context: Any) -> int:
        return self._layout.total_size

    @without_transaction
    def getRowOffset(self, context: Any, y: int, z: int, c: int, t: int) -> int:
        return self._layout.offset(y, z, c, t)

    @without_transaction
    def getPlaneOffset(self, context: Any, z: int, c: int, t: int) -> int:
        return self._layout.offset(0, z, c, t)

    @without_transaction
    def getStackOffset(self, context: Any, c: int, t: int) -> int:
        return self._layout.offset(0, 0, c, t)

    @without_transaction
    def getTimepointOffset(self, context: Any, t: int) -> int:
        return self._layout.offset(0, 0, 0, t)

    # ---- reading ---------------------------------------------------------------------------------------------
    @without_transaction
    def getPlane(self, context: Any, z: int, c: int, t: int) -> bytes:
        return self._buffer.plane(z, c, t)

    @without_transaction
    def getPlaneRegion(self, context: Any, z: int, c: int, t: int, count: int, offset: int) -> bytes:
        width, size = self._layout.width, self._layout.plane_size
        if count < 0:
            raise _wrapped_error("java.lang.NegativeArraySizeException", f"{count} samples")
        start = self._layout.offset(0, z, c, t)
        if offset < 0 or offset * width > size:
            raise _wrapped_error("java.lang.IllegalArgumentException", f"{offset} is outside of the plane")
        if (offset + count) * width > size:
            raise omero_error(omero.ResourceError, f"BufferUnderflowException: {count} samples at {offset}")
        return self._buffer.region(start + offset * width, count * width)

    @without_transaction
    def getRegion(self, context: Any, size: int, offset: int) -> bytes:
        if size < 0 or offset < 0:
            raise _wrapped_error("java.lang.IllegalArgumentException", f"negative region {size} at {offset}")
        if offset + size > self._layout.total_size and not self._buffer.writable:
            raise omero_error(omero.ResourceError, "Channel not open for writing - cannot extend file to required size")
        return self._buffer.region(offset, size)

    @without_transaction
    def getRow(self, context: Any, y: int, z: int, c: int, t: int) -> bytes:
        return self._buffer.region(self._layout.offset(y, z, c, t), self._layout.row_size)

    @without_transaction
    def getCol(self, context: Any, x: int, z: int, c: int, t: int) -> bytes:
        self._layout.check(z=z, c=c, t=t)
        if not 0 <= x < self._layout.x:
            raise _wrapped_error("java.lang.IndexOutOfBoundsException", f"column {x}")
        return self._buffer.column(x, z, c, t)

    @without_transaction
    def getStack(self, context: Any, c: int, t: int) -> bytes:
        return self._buffer.region(self._layout.offset(0, 0, c, t), self._layout.stack_size)

    @without_transaction
    def getTimepoint(self, context: Any, t: int) -> bytes:
        return self._buffer.region(self._layout.offset(0, 0, 0, t), self._layout.timepoint_size)

    @without_transaction
    def getTile(self, context: Any, z: int, c: int, t: int, x: int, y: int, w: int, h: int) -> bytes:
        if w * h < 0:
            raise _wrapped_error("java.lang.NegativeArraySizeException", f"{w} x {h} samples")
        return self._buffer.cube((x, y, z, c, t), (w, h, 1, 1, 1), (1,) * 5)

    @without_transaction
    def getHypercube(self, context: Any, offset: Sequence[int], size: Sequence[int], step: Sequence[int]) -> bytes:
        try:
            self._layout.check_cube(offset, size, step)
        except omero.ApiUsageException as error:
            raise _wrapped_error("ome.io.nio.DimensionsOutOfBoundsException", error.message) from error
        return self._buffer.cube(offset, size, step)

    # ---- numbers about the samples ---------------------------------------------------------------------------
    def getHistogram(self, call: RequestContext, channels: list[int], bins: int, global_range: bool, plane: Any) -> Any:
        layout = self._layout
        bins = bins if bins > 0 else _HISTOGRAM_BINS
        z, t, window = _plane_part(layout, plane)
        found = {}
        self._check_channels(channels)
        for channel in channels:
            whole = self._buffer.plane_array(z, channel, t)
            low, high = self._range(call, channel, whole, global_range)
            samples = whole[window].astype(np.float64).ravel()
            samples = samples[(samples >= low) & (samples <= high)]
            width = (high - low) / bins
            places = ((samples - low) / width).astype(np.int64) if width else np.zeros(samples.size, np.int64)
            found[channel] = np.bincount(np.minimum(places, bins - 1), minlength=bins).tolist()
        return found

    def findMinMax(self, call: RequestContext, channels: list[int]) -> dict[int, list[float]]:
        layout = self._layout
        if layout.is_big:
            return {}
        self._check_channels(channels)
        middle = (layout.z - 1) // 2, (layout.t - 1) // 2
        planes = {c: self._buffer.plane_array(middle[0], c, middle[1]) for c in channels}
        return {c: [float(p.min()), float(p.max())] for c, p in planes.items()}

    def _check_channels(self, channels: list[int]) -> None:
        for channel in channels:
            if not 0 <= channel < self._layout.c:
                raise _wrapped_error("java.lang.IndexOutOfBoundsException", f"channel {channel} of {self._layout.c}")

    def _range(self, call: RequestContext, channel: int, plane: Any, global_range: bool) -> tuple[float, float]:
        row = call.tx.one(
            "SELECT s.globalMin, s.globalMax FROM channel c JOIN statsinfo s ON s.id = c.statsInfo "
            "WHERE c.pixels = ? AND c.pixels_index = ?",
            (self._ident, channel),
        )
        if global_range and row is not None and row[1] != 1.0:  # 1.0: not calculated
            return row[0], row[1]
        return float(plane.min()), float(plane.max())

    # ---- writing ---------------------------------------------------------------------------------------------
    @without_transaction
    def setPlane(self, context: Any, data: bytes, z: int, c: int, t: int) -> None:
        self._write_part(data, lambda layout: layout.offset(0, z, c, t), "plane_size")

    @without_transaction
    def setStack(self, context: Any, data: bytes, z: int, c: int, t: int) -> None:
        self._write_part(data, lambda layout: layout.offset(0, 0, c, t), "stack_size")

    @without_transaction
    def setTimepoint(self, context: Any, data: bytes, t: int) -> None:
        self._write_part(data, lambda layout: layout.offset(0, 0, 0, t), "timepoint_size")

    @without_transaction
    def setRow(self, context: Any, data: bytes, y: int, z: int, c: int, t: int) -> None:
        buffer = self._writable()
        buffer.check_writable()
        self._do_write(lambda: buffer.write(buffer.layout.offset(y, z, c, t), data))

    @without_transaction
    def setRegion(self, context: Any, size: int, offset: int, data: bytes) -> None:
        buffer = self._writable()
        self._do_write(lambda: buffer.write(offset, data[:size]))

    @without_transaction
    def setTile(self, context: Any, data: bytes, z: int, c: int, t: int, x: int, y: int, w: int, h: int) -> None:
        buffer = self._pyramid.current
        layout = buffer.layout
        if layout.is_big:
            if self._tiles is None:
                raise api_usage_error("In read-only mode!")
            self._tiles.check(len(data), (z, c, t), (x, y), (w, h))
        elif x != 0:
            raise _unsupported_error("ROMIO pixel buffer only supports 0 offseted tile writes.")
        elif w != layout.x:
            raise _unsupported_error("ROMIO pixel buffer only supports full row writes.")
        if len(data) < w * h * layout.width:
            raise omero_error(omero.ResourceError, f"BufferUnderflowException: {len(data)} bytes for {w} x {h} samples")
        self._do_write(lambda: buffer.write_tile(data, z, c, t, x, y, w, h))

    def _write_part(self, data: bytes, offset: Any, size_name: str) -> None:
        """Write a part whose size must match exactly."""
        buffer = self._writable()
        buffer.check_writable()
        start, size = offset(buffer.layout), getattr(buffer.layout, size_name)
        if len(data) != size:
            kind = "BufferUnderflowException" if len(data) < size else "BufferOverflowException"
            raise omero_error(omero.ResourceError, f"{kind}: {len(data)} bytes instead of {size}")
        self._do_write(lambda: buffer.write(start, data))

    def _do_write(self, write: Callable[[], None]) -> None:
        """Write; after a failure (a full disk) the pixels are marked incomplete."""
        try:
            write()
        except OSError:
            self._incomplete = True
            raise
        self._modified = True

    # ---- the end ---------------------------------------------------------------------------------------------
    @without_transaction
    def calculateMessageDigest(self, context: Any) -> bytes:
        return self._buffer.digest()

    @without_transaction
    def save(self, context: Any) -> Any:
        """Return the Pixels object with the SHA-1 of the written data, for the client to save; None if unchanged.

        It runs in the group of the call's context, as `close` does.
        """
        if not self._modified or self._open is None:
            return None
        if self._incomplete:
            raise omero_error(omero.ResourceError, "not everything could be written: the pixels are not whole")
        digest = self._buffer.digest()
        with self.transaction(context) as call:
            self._check_group(call)
            found = call.graph.get("Pixels", self._ident or 0)
            call.graph.finish_loading()
        found.sha1 = rstring(digest.hex())
        self._modified = False
        return found

    @without_transaction
    def close(self, context: Any) -> None:
        """Store the SHA-1 of data that was written and not saved, and close."""
        try:
            if self._modified and not self._incomplete and self._open is not None:
                digest = self._buffer.digest()
                with self.transaction(context, write=True) as call:
                    self._check_group(call)
                    call.tx.execute("UPDATE pixels SET sha1 = ? WHERE id = ?", (digest.hex(), self._ident))
        finally:
            super().close(context)

    def _check_group(self, call: RequestContext) -> None:
        """Raise SecurityViolation if the call runs in another group than the image's, as a real server does."""
        if call.caller.group_id is not None and call.caller.group_id != self._group:
            raise unreadable_error("ome.model.core.Image", self._image)
        check_group(call, self._group)

    def release(self) -> None:
        self._leave()


def _wrapped_error(kind: str, message: str) -> Any:
    """Return OMERO's exception for an unexpected Java exception."""
    return omero_error(omero.InternalException, f"Wrapped Exception: ({kind}): {message}")


def _unsupported_error(message: str) -> Any:
    return _wrapped_error("java.lang.UnsupportedOperationException", message)


def _plane_part(layout: PixelLayout, plane: Any) -> tuple[int, int, tuple[slice, slice]]:
    """Return z, t, and the rows and columns of a plane definition; the whole first plane for None."""
    if plane is None:
        return 0, 0, (slice(None), slice(None))
    region = plane.region
    x, y = (max(region.x, 0), max(region.y, 0)) if region else (0, 0)
    w, h = (region.width, region.height) if region else (0, 0)
    rows = slice(y, y + h if h > 0 else layout.y)
    return max(plane.z, 0), max(plane.t, 0), (rows, slice(x, x + w if w > 0 else layout.x))
