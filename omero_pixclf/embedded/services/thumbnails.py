"""ThumbnailStore: thumbnails of images, rendered on request."""
# ruff: noqa: D102 - the operations are OMERO's and documented there

from __future__ import annotations

from typing import Any

import omero.api

from omero_pixclf.embedded.database.fetching import readable_ids
from omero_pixclf.embedded.images.renderer import encode_jpeg
from omero_pixclf.embedded.images.rendering_definitions import (
    apply_defaults,
    find_thumbnail_settings_id,
    load_rendering_defs,
    new_settings,
    render_image,
    rendering_def_ids,
    save_settings,
)
from omero_pixclf.embedded.images.resolutions import open_pixels, open_pyramid
from omero_pixclf.embedded.server.exceptions import api_usage_error, validation_error
from omero_pixclf.embedded.server.request_context import RequestContext
from omero_pixclf.embedded.server.servant import OmeroService, writes_database
from omero_pixclf.embedded.services.pixels import describe_pixels

__all__ = ["ThumbnailStore"]

_DEFAULT_SIZE = 48
_QUALITY = 0.85


class ThumbnailStore(OmeroService):
    """omero.api.ThumbnailStore."""

    interface = omero.api.ThumbnailStore
    stateful = True

    def __init__(self, server: Any, session: Any) -> None:
        super().__init__(server, session)
        self._pixels: int | None = None
        self._settings: int | None = None

    # ---- what is drawn ---------------------------------------------------------------------------------------
    def setPixelsId(self, call: RequestContext, ident: int) -> bool:
        if not readable_ids(call, "Pixels", [ident]):
            raise validation_error(f"Pixels set with id {ident} not found.")
        self._pixels = ident
        self._settings = find_thumbnail_settings_id(call, ident)
        return self._settings is not None

    def setRenderingDefId(self, call: RequestContext, ident: int) -> None:
        if not readable_ids(call, "RenderingDef", [ident]):
            raise validation_error(f"No rendering definition exists with ID = {ident}")
        self._settings = ident

    def getRenderingDefId(self, call: RequestContext) -> int:
        self._pixels_set()
        if self._settings is None:
            raise api_usage_error("No rendering def")
        return self._settings

    @writes_database
    def resetDefaults(self, call: RequestContext) -> None:
        pixels = describe_pixels(call, self._pixels_set())
        call.graph.finish_loading()
        own = rendering_def_ids(call, pixels.id.val, call.caller.user_id)
        settings = load_rendering_defs(call, own[-1:])[0] if own else new_settings(call, pixels)
        call.graph.finish_loading()
        buffer = open_pixels(call, pixels.id.val)
        try:
            apply_defaults(call, settings, pixels, buffer)
        finally:
            buffer.close()
        if call.caller.group_id is None:
            call = call.in_group(pixels.details.group.id.val)
        self._settings = save_settings(call, settings).id.val

    @writes_database
    def createThumbnail(self, call: RequestContext, width: Any, height: Any) -> None:
        """Save default settings if there are none; thumbnails themselves are rendered on request."""
        _box(width, height)
        self._pixels_set()
        if self._settings is None:
            self.resetDefaults(call)

    @writes_database
    def createThumbnails(self, call: RequestContext) -> None:
        self.createThumbnail(call, None, None)

    @writes_database
    def createThumbnailsByLongestSideSet(self, call: RequestContext, size: Any, ids: list[int]) -> None:
        for ident in readable_ids(call, "Pixels", ids):
            self.setPixelsId(call, ident)
            self.createThumbnail(call, size, size)

    def _pixels_set(self) -> int:
        if self._pixels is None:
            raise api_usage_error("Pixels id not set.")
        return self._pixels

    # ---- pictures --------------------------------------------------------------------------------------------
    def getThumbnail(self, call: RequestContext, width: Any, height: Any) -> bytes:
        return self._render(call, self._pixels_set(), _box(width, height))

    getThumbnailDirect = getThumbnail
    getThumbnailWithoutDefault = getThumbnail

    def getThumbnailByLongestSide(self, call: RequestContext, size: Any) -> bytes:
        return self._render(call, self._pixels_set(), _side(size))

    getThumbnailByLongestSideDirect = getThumbnailByLongestSide

    def getThumbnailForSectionDirect(self, call: RequestContext, z: int, t: int, width: Any, height: Any) -> bytes:
        return self._render(call, self._pixels_set(), _box(width, height), (z, t))

    def getThumbnailForSectionByLongestSideDirect(self, call: RequestContext, z: int, t: int, size: Any) -> bytes:
        return self._render(call, self._pixels_set(), _side(size), (z, t))

    def getThumbnailSet(self, call: RequestContext, width: Any, height: Any, ids: list[int]) -> dict[int, bytes]:
        return {i: self._of_other(call, i, _box(width, height)) for i in readable_ids(call, "Pixels", ids)}

    def getThumbnailByLongestSideSet(self, call: RequestContext, size: Any, ids: list[int]) -> dict[int, bytes]:
        return {i: self._of_other(call, i, _side(size)) for i in readable_ids(call, "Pixels", ids)}

    def isInProgress(self, call: RequestContext) -> bool:
        return False

    def thumbnailExists(self, call: RequestContext, width: Any, height: Any) -> bool:
        """Whether there are settings to render a thumbnail with."""
        self._pixels_set()
        return self._settings is not None

    def _of_other(self, call: RequestContext, ident: int, size: tuple[int, int | None]) -> bytes:
        previous = self._settings
        self._settings = find_thumbnail_settings_id(call, ident)
        try:
            return self._render(call, ident, size)
        finally:
            self._settings = previous

    def _render(
        self, call: RequestContext, ident: int, size: tuple[int, int | None], place: tuple[int, int] | None = None
    ) -> bytes:
        """Return a thumbnail, with OMERO's default settings if the image has none."""
        pixels = describe_pixels(call, ident)
        found = load_rendering_defs(call, [self._settings]) if self._settings is not None else []
        call.graph.finish_loading()
        pyramid = open_pyramid(call, ident)
        try:
            settings = found[0] if found else new_settings(call, pixels)
            if not found:
                apply_defaults(call, settings, pixels, pyramid.full)
            z, t = place if place is not None else (settings.defaultZ.val, settings.defaultT.val)
            buffer = pyramid.smallest_with_side(max(size[0], size[1] or 0))
            drawn = render_image(settings, lambda c: buffer.plane_array(z, c, t))
        finally:
            pyramid.close()
        return encode_jpeg(drawn, size=_fit_size(drawn.shape[1], drawn.shape[0], size), quality=_QUALITY)


def _box(width: Any, height: Any) -> tuple[int, int | None]:
    size = (_DEFAULT_SIZE if v is None else v.val for v in (width, height))
    made = next(size), next(size)
    if min(made) < 1:
        raise api_usage_error(f"{made} is no size of a thumbnail")
    return made


def _side(size: Any) -> tuple[int, int | None]:
    return _box(size, size)[0], None


def _fit_size(x: int, y: int, size: tuple[int, int | None]) -> tuple[int, int]:
    """Return width and height of a thumbnail: a box, or the longest side with the picture's proportions."""
    width, height = size
    if height is not None:
        return width, height
    longest = max(x, y)
    return max(1, x * width // longest), max(1, y * width // longest)
