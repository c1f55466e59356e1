"""IProjection: projections of stacks along z."""
# ruff: noqa: D102 - the operations are OMERO's and documented there

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import omero.api
from numpy.typing import NDArray
from omero.rtypes import rint

from omero_pixclf.embedded.images.pixel_buffer import PixelBuffer, sample_type
from omero_pixclf.embedded.images.renderer import PROJECTIONS
from omero_pixclf.embedded.images.resolutions import open_pixels
from omero_pixclf.embedded.server.exceptions import validation_error
from omero_pixclf.embedded.server.request_context import RequestContext
from omero_pixclf.embedded.server.servant import OmeroService, without_transaction
from omero_pixclf.embedded.services.pixels import PixelsService

__all__ = ["ProjectionService"]


class ProjectionService(OmeroService):
    """omero.api.IProjection."""

    interface = omero.api.IProjection

    def projectStack(
        self,
        call: RequestContext,
        pixels: int,
        kind: Any,
        algorithm: Any,
        t: int,
        c: int,
        step: int,
        start: int,
        end: int,
    ) -> bytes:
        buffer = open_pixels(call, pixels)
        try:
            dtype = buffer.layout.dtype if kind is None else sample_type(kind.value.val)
            return _project(buffer, dtype, algorithm, (c, t), (start, end, step)).tobytes()
        finally:
            buffer.close()

    @without_transaction
    def projectPixels(
        self,
        context: Any,
        pixels: int,
        kind: Any,
        algorithm: Any,
        t_start: int,
        t_end: int,
        channels: list[int],
        step: int,
        z_start: int,
        z_end: int,
        name: str,
    ) -> int:
        """Create an image of projected stacks; return its id."""
        with self.transaction(context) as call:
            source = open_pixels(call, pixels)
        try:
            _check(source, (z_start, z_end, step), t_start, t_end, channels)
            dtype = source.layout.dtype if kind is None else sample_type(kind.value.val)
            image, made, target = self._new_image(context, pixels, kind, (t_end - t_start + 1, channels), name)
            try:
                for t in range(t_start, t_end + 1):
                    for place, c in enumerate(channels):
                        plane = _project(source, dtype, algorithm, (c, t), (z_start, z_end, step))
                        target.write(target.layout.offset(0, 0, place, t - t_start), plane.tobytes())
                digest = target.digest()
            finally:
                target.close()
        finally:
            source.close()
        with self.server.database.writing() as tx:
            tx.execute("UPDATE pixels SET sha1 = ? WHERE id = ?", (digest.hex(), made))
        return image

    def _new_image(
        self, context: Any, pixels: int, kind: Any, size: tuple[int, list[int]], name: str
    ) -> tuple[int, int, PixelBuffer]:
        times, channels = size
        with self.transaction(context, write=True) as call:
            source = call.tx.one("SELECT image FROM pixels WHERE id = ?", (pixels,))[0]
            service = PixelsService(self.server, self.session)
            made = service.copyAndResizeImage(call, source, None, None, rint(1), rint(times), channels, name, False)
            ident = call.tx.one("SELECT id FROM pixels WHERE image = ?", (made.val,))[0]
            if kind is not None:
                call.tx.execute("UPDATE pixels SET pixelsType = ? WHERE id = ?", (kind.id.val, ident))
            call.tx.execute("UPDATE pixels SET methodology = 'Projection' WHERE id = ?", (ident,))
            return int(made.val), int(ident), open_pixels(call, ident, write=True)


def _check(buffer: PixelBuffer, planes: tuple[int, int, int], t_start: int, t_end: int, channels: list[int]) -> None:
    layout = buffer.layout
    start, end, step = planes
    if not 0 <= start <= end < layout.z:
        raise validation_error(f"planes {start} to {end} of {layout.z}")
    if step < 1:
        raise validation_error(f"stepping: {step} <= 0")
    if not 0 <= t_start <= t_end < layout.t:
        raise validation_error(f"time points {t_start} to {t_end} of {layout.t}")
    if not channels or not all(0 <= c < layout.c for c in channels):
        raise validation_error(f"channels {channels} of {layout.c}")


def _project(
    buffer: PixelBuffer, dtype: np.dtype[Any], algorithm: Any, place: tuple[int, int], planes: tuple[int, int, int]
) -> NDArray[Any]:
    """Return one projected plane, clipped to the range of its type."""
    c, t = place
    _check(buffer, planes, t, t, [c])
    start, end, step = planes

    def stack() -> Iterator[NDArray[Any]]:
        return (buffer.plane_array(z, c, t) for z in range(start, end + 1, step))

    found = PROJECTIONS[str(algorithm)](stack())
    if dtype.kind in "iu":
        info = np.iinfo(dtype)
        found = np.clip(found, info.min, info.max)
    return found.astype(dtype)
