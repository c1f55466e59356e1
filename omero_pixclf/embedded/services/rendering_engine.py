"""RenderingEngine: render planes of an image with settings that can be changed and saved."""
# ruff: noqa: D102 - the operations are OMERO's and documented there

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import Any

import numpy as np
import omero
import omero.api
import omero.model
import omero.romio
from numpy.typing import NDArray
from omero.rtypes import rbool, rdouble, rint, rstring

from omero_pixclf.embedded.images.pixel_buffer import PixelBuffer
from omero_pixclf.embedded.images.plane_definitions import check_plane, region_slices, slice_reader
from omero_pixclf.embedded.images.renderer import PROJECTIONS, encode_jpeg, pack_argb
from omero_pixclf.embedded.images.rendering_definitions import (
    apply_defaults,
    copy_settings,
    find_settings_id,
    load_enumeration,
    load_rendering_defs,
    new_settings,
    render_image,
    rendering_def_ids,
    save_settings,
    type_range,
)
from omero_pixclf.embedded.images.resolutions import Pyramid, PyramidService, open_pyramid
from omero_pixclf.embedded.server.exceptions import api_usage_error, omero_error, validation_error
from omero_pixclf.embedded.server.request_context import RequestContext
from omero_pixclf.embedded.server.servant import without_transaction
from omero_pixclf.embedded.services.pixels import describe_pixels

__all__ = ["RenderingEngine"]


class RenderingEngine(PyramidService):
    """omero.api.RenderingEngine."""

    interface = omero.api.RenderingEngine
    stateful = True

    def __init__(self, server: Any, session: Any) -> None:
        super().__init__(server, session)
        self._pixels: Any = None
        self._settings: Any = None
        self._open: Pyramid | None = None
        self._group = 0
        self._quality = 0.85

    # ---- what is drawn ---------------------------------------------------------------------------------------
    def lookupPixels(self, call: RequestContext, ident: int) -> None:
        found = describe_pixels(call, ident)
        call.graph.finish_loading()
        if found is None:
            raise validation_error(f"Pixels object with id {ident} not found.")
        self.release()
        self._pixels, self._settings = found, None
        self._open = open_pyramid(call, ident)
        self._group = int(found.details.group.id.val)

    def lookupRenderingDef(self, call: RequestContext, pixels: int) -> bool:
        ident = find_settings_id(call, pixels)
        if ident is not None:
            self._load(call, ident)
        return ident is not None

    def loadRenderingDef(self, call: RequestContext, ident: int) -> None:
        if call.tx.one("SELECT 1 FROM renderingdef WHERE id = ?", (ident,)) is None:
            raise validation_error(f"No rendering definition exists with ID: {ident}")
        pixels = self._pixels_set().id.val
        sizes = "SELECT pixelsType, sizeC FROM pixels WHERE id = ?"
        other = call.tx.one("SELECT pixels FROM renderingdef WHERE id = ?", (ident,))[0]
        if call.tx.one(sizes, (other,)) != call.tx.one(sizes, (pixels,)):
            raise validation_error(f"The rendering definition {ident} is incompatible with pixels set {pixels}")
        self._load(call, ident)

    def _load(self, call: RequestContext, ident: int) -> None:
        found = load_rendering_defs(call, [ident])[0]
        call.graph.finish_loading()
        self._settings = found

    @without_transaction
    def load(self, context: Any) -> None:
        self._ready()

    @without_transaction
    def updateSettings(self, context: Any, settings: Any) -> None:
        raise api_usage_error("updateSettings takes no settings in the embedded OMERO: set them one by one")

    @property
    def _pyramid(self) -> Pyramid:
        self._pixels_set()
        assert self._open is not None
        return self._open

    @property
    def _buffer(self) -> PixelBuffer:
        return self._pyramid.current

    def _pixels_set(self) -> Any:
        if self._pixels is None or self._open is None:
            raise api_usage_error("RenderingEngine not ready: Pixels object not set.")
        return self._pixels

    def _ready(self) -> Any:
        """Return the current settings."""
        self._pixels_set()
        if self._settings is None:
            raise api_usage_error("RenderingEngine not ready: RenderingDef not loaded.")
        return self._settings

    def _channel(self, index: int) -> Any:
        bindings = self._ready().copyWaveRendering()
        if not 0 <= index < len(bindings):
            raise omero_error(
                omero.InternalException, f"Wrapped Exception: (java.lang.IndexOutOfBoundsException): {index}"
            )
        return bindings[index]

    @without_transaction
    def getPixels(self, context: Any) -> Any:
        return self._pixels_set()

    @without_transaction
    def getRenderingDefId(self, context: Any) -> int:
        settings = self._ready()
        return -1 if settings.id is None else int(settings.id.val)

    # ---- saving ----------------------------------------------------------------------------------------------
    def _saving(self, context: Any, *, write: bool) -> AbstractContextManager[RequestContext]:
        """Open a transaction in the group of the call's context; in the image's group if it spans all groups."""
        spans = context.get("omero.group") == "-1"
        return self.transaction({**context, "omero.group": str(self._group)} if spans else context, write=write)

    @without_transaction
    def resetDefaultSettings(self, context: Any, save: bool) -> int:
        pixels = self._pixels_set()
        with self._saving(context, write=save) as call:
            own = rendering_def_ids(call, pixels.id.val, call.caller.user_id)
            settings = load_rendering_defs(call, own[-1:])[0] if own else new_settings(call, pixels)
            call.graph.finish_loading()
            apply_defaults(call, settings, pixels, self._buffer)
            self._settings = save_settings(call, settings) if save else settings
        return -1 if settings.id is None else int(settings.id.val)

    @without_transaction
    def saveCurrentSettings(self, context: Any) -> None:
        """Save the current settings if they are the caller's own, else a copy of them."""
        settings = self._ready()
        with self._saving(context, write=True) as call:
            own = settings.id is not None and settings.details.owner.id.val == call.caller.user_id
            self._settings = save_settings(call, settings if own else copy_settings(settings))

    @without_transaction
    def saveAsNewSettings(self, context: Any) -> int:
        with self._saving(context, write=True) as call:
            self._settings = save_settings(call, copy_settings(self._ready()))
        return int(self._settings.id.val)

    # ---- settings of the whole image -------------------------------------------------------------------------
    def getAvailableModels(self, call: RequestContext) -> list[Any]:
        return [load_enumeration(call, "RenderingModel", v) for v in ("rgb", "greyscale")]

    def getAvailableFamilies(self, call: RequestContext) -> list[Any]:
        names = ("linear", "polynomial", "exponential", "logarithmic")
        return [load_enumeration(call, "Family", name) for name in names]

    @without_transaction
    def getModel(self, context: Any) -> Any:
        return self._ready().model

    def setModel(self, call: RequestContext, model: Any) -> None:
        settings = self._ready()
        settings.model = call.graph.get("RenderingModel", model.id.val)
        call.graph.finish_loading()

    @without_transaction
    def getDefaultZ(self, context: Any) -> int:
        return int(self._ready().defaultZ.val)

    @without_transaction
    def getDefaultT(self, context: Any) -> int:
        return int(self._ready().defaultT.val)

    @without_transaction
    def setDefaultZ(self, context: Any, z: int) -> None:
        self._ready().defaultZ = rint(z)

    @without_transaction
    def setDefaultT(self, context: Any, t: int) -> None:
        self._ready().defaultT = rint(t)

    @without_transaction
    def getQuantumDef(self, context: Any) -> Any:
        return self._ready().quantization

    @without_transaction
    def setCodomainInterval(self, context: Any, start: int, end: int) -> None:
        if not 0 <= start < end <= 255:
            raise api_usage_error(f"[{start}, {end}] is no interval within [0, 255]")
        quantum = self._ready().quantization
        quantum.cdStart, quantum.cdEnd = rint(start), rint(end)

    @without_transaction
    def isPixelsTypeSigned(self, context: Any) -> bool:
        self._pixels_set()
        return self._samples().kind != "u"

    @without_transaction
    def getPixelsTypeLowerBound(self, context: Any, channel: int) -> float:
        return type_range(self._samples())[0]

    @without_transaction
    def getPixelsTypeUpperBound(self, context: Any, channel: int) -> float:
        return type_range(self._samples())[1]

    def _samples(self) -> np.dtype[Any]:
        self._pixels_set()
        return self._buffer.layout.dtype

    # ---- settings of a channel -------------------------------------------------------------------------------
    @without_transaction
    def isActive(self, context: Any, channel: int) -> bool:
        return bool(self._channel(channel).active.val)

    @without_transaction
    def setActive(self, context: Any, channel: int, active: bool) -> None:
        self._channel(channel).active = rbool(active)

    @without_transaction
    def getChannelWindowStart(self, context: Any, channel: int) -> float:
        return float(self._channel(channel).inputStart.val)

    @without_transaction
    def getChannelWindowEnd(self, context: Any, channel: int) -> float:
        return float(self._channel(channel).inputEnd.val)

    @without_transaction
    def setChannelWindow(self, context: Any, channel: int, start: float, end: float) -> None:
        binding = self._channel(channel)
        binding.inputStart, binding.inputEnd = rdouble(start), rdouble(end)

    @without_transaction
    def getRGBA(self, context: Any, channel: int) -> list[int]:
        binding = self._channel(channel)
        return [binding.red.val, binding.green.val, binding.blue.val, binding.alpha.val]

    @without_transaction
    def setRGBA(self, context: Any, channel: int, red: int, green: int, blue: int, alpha: int) -> None:
        if not all(0 <= v <= 255 for v in (red, green, blue, alpha)):
            raise api_usage_error(f"{(red, green, blue, alpha)} is no colour")
        binding = self._channel(channel)
        binding.red, binding.green, binding.blue, binding.alpha = rint(red), rint(green), rint(blue), rint(alpha)

    @without_transaction
    def getChannelLookupTable(self, context: Any, channel: int) -> str:
        table = self._channel(channel).lookupTable
        return "" if table is None else str(table.val)

    @without_transaction
    def setChannelLookupTable(self, context: Any, channel: int, lookup: str) -> None:
        if lookup:
            raise api_usage_error(f"{lookup}: the embedded OMERO draws channels in plain colours")
        self._channel(channel).lookupTable = rstring(lookup) if lookup else None

    @without_transaction
    def getChannelFamily(self, context: Any, channel: int) -> Any:
        return self._channel(channel).family

    @without_transaction
    def getChannelCurveCoefficient(self, context: Any, channel: int) -> float:
        return float(self._channel(channel).coefficient.val)

    @without_transaction
    def getChannelNoiseReduction(self, context: Any, channel: int) -> bool:
        return bool(self._channel(channel).noiseReduction.val)

    def setQuantizationMap(
        self, call: RequestContext, channel: int, family: Any, coefficient: float, noise: bool
    ) -> None:
        binding = self._channel(channel)
        binding.family = call.graph.get("Family", family.id.val)
        call.graph.finish_loading()
        binding.coefficient, binding.noiseReduction = rdouble(coefficient), rbool(noise)

    @without_transaction
    def getChannelStats(self, context: Any, channel: int) -> list[float]:
        self._channel(channel)
        stats = self._pixels.copyChannels()[channel].statsInfo
        return list(type_range(self._samples())) if stats is None else [stats.globalMin.val, stats.globalMax.val]

    # ---- brightness turned round -----------------------------------------------------------------------------
    @without_transaction
    def getCodomainMapContext(self, context: Any, channel: int) -> list[Any]:
        binding = self._channel(channel)
        return list(binding.copySpatialDomainEnhancement()) if binding.isSpatialDomainEnhancementLoaded() else []

    @without_transaction
    def addCodomainMapToChannel(self, context: Any, mapping: Any, channel: int) -> None:
        if not isinstance(mapping, omero.romio.ReverseIntensityMapContext):
            raise api_usage_error("of codomain maps the embedded OMERO draws ReverseIntensityMapContext only")
        made = omero.model.ReverseIntensityContextI()
        made.reverse = rbool(True)
        self._channel(channel).addCodomainMapContext(made)

    @without_transaction
    def removeCodomainMapFromChannel(self, context: Any, mapping: Any, channel: int) -> None:
        binding = self._channel(channel)
        for found in self.getCodomainMapContext(context, channel):
            if isinstance(found, omero.model.ReverseIntensityContext):
                binding.removeCodomainMapContext(found)

    # ---- pictures --------------------------------------------------------------------------------------------
    @without_transaction
    def getCompressionLevel(self, context: Any) -> float:
        return self._quality

    @without_transaction
    def setCompressionLevel(self, context: Any, percentage: float) -> None:
        self._quality = min(max(percentage, 0.0), 1.0)

    @without_transaction
    def render(self, context: Any, plane: Any) -> Any:
        drawn = self._plane(plane)
        bands = [drawn[:, :, band].tobytes() for band in range(3)]
        return omero.romio.RGBBuffer(bands, drawn.shape[1], drawn.shape[0])

    @without_transaction
    def renderAsPackedInt(self, context: Any, plane: Any) -> list[int]:
        found: list[int] = pack_argb(self._plane(plane)).tolist()
        return found

    @without_transaction
    def renderCompressed(self, context: Any, plane: Any) -> bytes:
        return encode_jpeg(self._plane(plane), quality=self._quality)

    @without_transaction
    def renderProjectedAsPackedInt(
        self, context: Any, algorithm: Any, t: int, step: int, start: int, end: int
    ) -> list[int]:
        found: list[int] = pack_argb(self._project(algorithm, t, step, start, end)).tolist()
        return found

    @without_transaction
    def renderProjectedCompressed(self, context: Any, algorithm: Any, t: int, step: int, start: int, end: int) -> bytes:
        return encode_jpeg(self._project(algorithm, t, step, start, end), quality=self._quality)

    def _plane(self, plane: Any) -> NDArray[np.uint8]:
        settings = self._ready()
        buffer = self._buffer
        rows, columns = region_slices(plane.region)
        step = max(plane.stride, 0) + 1
        samples = slice_reader(buffer, plane)
        return render_image(settings, lambda c: samples(c)[rows, columns][::step, ::step])

    def _project(self, algorithm: Any, t: int, step: int, start: int, end: int) -> NDArray[np.uint8]:
        settings = self._ready()
        buffer = self._buffer
        for z in (start, end):
            check_plane(buffer, z, t)
        if step < 1 or start > end:
            raise api_usage_error(f"no planes from {start} to {end} by {step}")
        reduce = PROJECTIONS[str(algorithm)]

        def stack(channel: int) -> Iterator[NDArray[Any]]:
            return (buffer.plane_array(z, channel, t) for z in range(start, end + 1, step))

        return render_image(settings, lambda c: reduce(stack(c)))

    def release(self) -> None:
        if self._open is not None:
            self._open.close()
