"""IPixels: creating images without data, describing pixels, stored rendering settings."""
# ruff: noqa: D102 - the operations are OMERO's and documented there

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import omero
import omero.api
import omero.model
from omero.rtypes import rdouble, rint, rlong, rstring, unwrap

from omero_pixclf.embedded.database.fetching import load_path, readable_ids
from omero_pixclf.embedded.database.object_model import find_entity
from omero_pixclf.embedded.database.saving import Saver
from omero_pixclf.embedded.database.schema import table
from omero_pixclf.embedded.images.rendering_definitions import find_settings_id, load_rendering_defs, rendering_def_ids
from omero_pixclf.embedded.server.exceptions import api_usage_error, omero_error, validation_error
from omero_pixclf.embedded.server.request_context import RequestContext
from omero_pixclf.embedded.server.servant import OmeroService, writes_database

__all__ = ["PENDING_SHA1", "PixelsService", "describe_all_pixels", "describe_pixels"]

PENDING_SHA1 = "Pending..."  # sha1 of pixels that are not written yet
_DESCRIPTION = (
    "pixelsType",
    "channels.statsInfo",
    "channels.logicalChannel.photometricInterpretation",
    "channels.logicalChannel.illumination",
    "channels.logicalChannel.mode",
    "channels.logicalChannel.contrastMethod",
)
_BITS = {"bit": 1, "int8": 8, "uint8": 8, "int16": 16, "uint16": 16, "int32": 32, "uint32": 32, "float": 32}
_BITS |= {"double": 64, "complex": 64, "double-complex": 128}


def describe_pixels(call: RequestContext, ident: int) -> Any:
    """Return a Pixels object with type, channels and statistics, not yet finished; None if it is not visible."""
    return next(iter(describe_all_pixels(call, [ident])), None)


def describe_all_pixels(call: RequestContext, ids: Iterable[int]) -> list[Any]:
    """Return several Pixels objects like `describe_pixels`, in the order of their ids; visible ones only."""
    seen = readable_ids(call, "Pixels", ids)
    for path in _DESCRIPTION if seen else ():
        load_path(call, "Pixels", seen, path)
    return [call.graph.get("Pixels", ident) for ident in seen]


class PixelsService(OmeroService):
    """omero.api.IPixels."""

    interface = omero.api.IPixels

    # ---- descriptions ----------------------------------------------------------------------------------------
    def retrievePixDescription(self, call: RequestContext, ident: int) -> Any:
        found = describe_pixels(call, ident)
        call.graph.finish_loading()
        return found

    def getBitDepth(self, call: RequestContext, pixels_type: Any) -> int:
        value = unwrap(pixels_type.value)
        if value not in _BITS:
            raise api_usage_error(f"Unknown type: '{value}'")
        return _BITS[value]

    def getEnumeration(self, call: RequestContext, kind: str, value: str) -> Any:
        name = _enumeration(kind)
        row = call.tx.one(f"SELECT id FROM {table(name).name} WHERE value = ?", (value,))
        found = call.graph.get(name, row[0]) if row else None
        call.graph.finish_loading()
        return found

    def getAllEnumerations(self, call: RequestContext, kind: str) -> list[Any]:
        name = _enumeration(kind)
        ids = [row[0] for row in call.tx.all(f"SELECT id FROM {table(name).name} ORDER BY id")]
        found = call.graph.load(name, ids)
        call.graph.finish_loading()
        return [found[i] for i in ids]

    # ---- rendering settings ----------------------------------------------------------------------------------
    def retrieveRndSettings(self, call: RequestContext, pixels: int) -> Any:
        found = find_settings_id(call, pixels)
        return self._settings(call, [] if found is None else [found])

    def retrieveRndSettingsFor(self, call: RequestContext, pixels: int, user: int) -> Any:
        return self._settings(call, rendering_def_ids(call, pixels, user)[-1:])

    def retrieveAllRndSettings(self, call: RequestContext, pixels: int, user: int) -> list[Any]:
        found = load_rendering_defs(call, rendering_def_ids(call, pixels, user if user >= 0 else None)[::-1])
        owners = call.tx.all("SELECT DISTINCT owner_id FROM renderingdef WHERE pixels = ?", (pixels,))
        call.graph.load("Experimenter", [owner for (owner,) in owners])
        call.graph.finish_loading()
        return found

    def loadRndSettings(self, call: RequestContext, ident: int) -> Any:
        return self._settings(call, readable_ids(call, "RenderingDef", [ident]))

    def _settings(self, call: RequestContext, ids: list[int]) -> Any:
        found = load_rendering_defs(call, ids)
        call.graph.finish_loading()
        return found[0] if found else None

    @writes_database
    def saveRndSettings(self, call: RequestContext, settings: Any) -> None:
        saver = Saver(call)
        saver.save(settings)
        saver.flush()

    # ---- making images ---------------------------------------------------------------------------------------
    @writes_database
    def createImage(
        self,
        call: RequestContext,
        x: int,
        y: int,
        z: int,
        t: int,
        channels: list[int],
        pixels_type: Any,
        name: str,
        description: str,
    ) -> Any:
        if not channels:
            raise validation_error("Channel list must be filled.")
        image = omero.model.ImageI()
        image.name, image.description = rstring(name), rstring(description)
        pixels = _new_pixels({"X": x, "Y": y, "Z": z, "T": t, "C": len(channels)})
        pixels.pixelsType = pixels_type
        pixels.dimensionOrder = _dimension_order("XYZCT")
        for _ in channels:
            channel = omero.model.ChannelI()
            channel.logicalChannel = omero.model.LogicalChannelI()
            pixels.addChannel(channel)
        image.addPixels(pixels)
        return rlong(_save(call, image).id.val)

    @writes_database
    def copyAndResizeImage(
        self,
        call: RequestContext,
        ident: int,
        x: Any,
        y: Any,
        z: Any,
        t: Any,
        channels: list[int],
        name: str,
        copy_stats: bool,
    ) -> Any:
        source = call.graph.get("Image", ident)
        load_path(call, "Image", [ident], "pixels.channels")
        call.graph.finish_loading()
        image = omero.model.ImageI()
        image.name = rstring(name)
        for kept in ("acquisitionDate", "objectiveSettings", "imagingEnvironment", "experiment", "stageLabel"):
            setattr(image, kept, getattr(source, kept))
        image.instrument = source.instrument
        for pixels in source.copyPixels():
            image.addPixels(_resize(call, pixels, {"X": x, "Y": y, "Z": z, "T": t}, channels, None, copy_stats))
        return rlong(_save(call, image).id.val)

    @writes_database
    def copyAndResizePixels(
        self,
        call: RequestContext,
        ident: int,
        x: Any,
        y: Any,
        z: Any,
        t: Any,
        channels: list[int],
        methodology: str,
        copy_stats: bool,
    ) -> Any:
        if not readable_ids(call, "Pixels", [ident]):
            raise _null_pointer(f"no Pixels {ident}")
        source = call.graph.get("Pixels", ident)
        load_path(call, "Pixels", [ident], "channels")
        call.graph.finish_loading()
        image = source.image.id.val
        made = _resize(call, source, {"X": x, "Y": y, "Z": z, "T": t}, channels, methodology, copy_stats)
        saver = Saver(call)
        whole = saver.graph.get("Image", image)
        saver.graph.load_children("Image", [image], "pixels")
        saver.graph.finish_loading()
        whole.addPixels(made)
        saver.save(whole)
        saver.flush()
        return rlong(made.id.val)

    @writes_database
    def setChannelGlobalMinMax(self, call: RequestContext, pixels: int, channel: int, low: float, high: float) -> None:
        if not readable_ids(call, "Pixels", [pixels]):
            raise omero_error(
                omero.InternalException, f"Wrapped Exception: (java.lang.NullPointerException): Pixels {pixels}"
            )
        row = call.tx.one("SELECT id, group_id FROM channel WHERE pixels = ? AND pixels_index = ?", (pixels, channel))
        if row is None:
            raise omero_error(
                omero.InternalException, f"Wrapped Exception: (java.lang.IndexOutOfBoundsException): channel {channel}"
            )
        call = call.in_group(row[1])
        load_path(call, "Channel", [row[0]], "statsInfo")
        found = call.graph.get("Channel", row[0])
        call.graph.finish_loading()
        stats = found.statsInfo or omero.model.StatsInfoI()
        stats.globalMin, stats.globalMax = rdouble(low), rdouble(high)
        found.statsInfo = stats
        _save(call, found)


def _null_pointer(message: str) -> Any:
    """Return OMERO's exception for a missing object (NullPointerException)."""
    return omero_error(omero.InternalException, f"Wrapped Exception: (java.lang.NullPointerException): {message}")


def _enumeration(kind: str) -> str:
    found = find_entity(kind)
    if found is None or not found.is_enum:
        raise api_usage_error(f"{kind} is no enumeration")
    return found.name


def _dimension_order(value: str) -> Any:
    made = omero.model.DimensionOrderI()
    made.value = rstring(value)
    return made


def _save(call: RequestContext, obj: Any) -> Any:
    saver = Saver(call)
    saved = saver.save(obj)
    saver.flush()
    return saved


def _new_pixels(sizes: dict[str, int]) -> Any:
    pixels = omero.model.PixelsI()
    for axis, size in sizes.items():
        if size <= 0:
            raise api_usage_error(f"values of Pixels.size{axis} must be strictly positive")
        setattr(pixels, f"size{axis}", rint(size))
    pixels.sha1 = rstring(PENDING_SHA1)
    return pixels


def _resize(
    call: RequestContext,
    source: Any,
    sizes: dict[str, Any],
    channels: list[int],
    methodology: str | None,
    copy_stats: bool,
) -> Any:
    """Return new Pixels with another's metadata, other sizes and some of its channels."""
    wanted = {a: unwrap(s) if s is not None else getattr(source, f"size{a}").val for a, s in sizes.items()}
    for axis, size in wanted.items():
        if size < 0:
            raise validation_error(f"size{axis}: {size} <= 0")
    if not channels:
        raise validation_error("Channel List is not null but size == 0")
    known = source.copyChannels()
    for place, channel in enumerate(channels):
        if not 0 <= channel < len(known):
            raise validation_error(f"channel: {place} out of bounds")
    made = _new_pixels({**wanted, "C": len(channels)})
    for kept in ("dimensionOrder", "physicalSizeX", "physicalSizeY", "physicalSizeZ", "pixelsType"):
        setattr(made, kept, getattr(source, kept))
    made.methodology = rstring(methodology) if methodology is not None else None
    made._relatedTo = omero.model.PixelsI(source.id.val, False)
    for channel in channels:
        made.addChannel(_copy_channel(call, known[channel], copy_stats))
    return made


def _copy_channel(call: RequestContext, source: Any, copy_stats: bool) -> Any:
    made = omero.model.ChannelI()
    made.logicalChannel = source.logicalChannel
    if copy_stats:
        if source.statsInfo is None:
            raise _null_pointer("the channel has no statistics")
        row = call.tx.one("SELECT globalMin, globalMax FROM statsinfo WHERE id = ?", (source.statsInfo.id.val,))
        stats = omero.model.StatsInfoI()
        stats.globalMin, stats.globalMax = rdouble(row[0]), rdouble(row[1])
        made.statsInfo = stats
    return made
