"""IRenderingSettings: reset, copy and save the rendering settings of many images."""
# ruff: noqa: D102 - the operations are OMERO's and documented there

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import omero
import omero.api
from omero.rtypes import rint

from omero_pixclf.embedded.database.fetching import readable_ids
from omero_pixclf.embedded.database.object_model import find_entity
from omero_pixclf.embedded.database.sqlite import ids_parameter
from omero_pixclf.embedded.images.rendering_definitions import (
    apply_defaults,
    apply_window_ranges,
    find_settings_id,
    load_rendering_defs,
    new_settings,
    rendering_def_ids,
    save_settings,
)
from omero_pixclf.embedded.images.resolutions import open_pixels
from omero_pixclf.embedded.server.exceptions import omero_error, security_violation, validation_error
from omero_pixclf.embedded.server.request_context import RequestContext
from omero_pixclf.embedded.server.servant import OmeroService, writes_database
from omero_pixclf.embedded.services.pixels import describe_pixels

__all__ = ["RenderingSettingsService"]

_PIXELS_OF = {
    "Pixels": "SELECT value FROM json_each(:ids)",
    "Image": "SELECT id FROM pixels WHERE image IN (SELECT value FROM json_each(:ids))",
    "Dataset": (
        "SELECT p.id FROM pixels p JOIN datasetimagelink l ON l.child = p.image "
        "WHERE l.parent IN (SELECT value FROM json_each(:ids))"
    ),
    "Project": (
        "SELECT p.id FROM pixels p JOIN datasetimagelink l ON l.child = p.image "
        "JOIN projectdatasetlink j ON j.child = l.parent WHERE j.parent IN (SELECT value FROM json_each(:ids))"
    ),
    "Plate": (
        "SELECT p.id FROM pixels p JOIN wellsample s ON s.image = p.image JOIN well w ON w.id = s.well "
        "WHERE w.plate IN (SELECT value FROM json_each(:ids))"
    ),
    "PlateAcquisition": (
        "SELECT p.id FROM pixels p JOIN wellsample s ON s.image = p.image "
        "WHERE s.plateAcquisition IN (SELECT value FROM json_each(:ids))"
    ),
    "Screen": (
        "SELECT p.id FROM pixels p JOIN wellsample s ON s.image = p.image JOIN well w ON w.id = s.well "
        "JOIN screenplatelink l ON l.child = w.plate WHERE l.parent IN (SELECT value FROM json_each(:ids))"
    ),
}
_COPIED = ("defaultZ", "defaultT", "model")
_COPIED_OF_CHANNEL = ("family", "coefficient", "inputStart", "inputEnd", "active", "noiseReduction")
_COLOUR = ("red", "green", "blue", "alpha", "lookupTable")


class RenderingSettingsService(OmeroService):
    """omero.api.IRenderingSettings."""

    interface = omero.api.IRenderingSettings

    def getRenderingSettings(self, call: RequestContext, pixels: int) -> Any:
        ident = find_settings_id(call, pixels)
        found = load_rendering_defs(call, [] if ident is None else [ident])
        call.graph.finish_loading()
        return found[0] if found else None

    def sanityCheckPixels(self, call: RequestContext, source: Any, target: Any) -> bool:
        raise security_violation("This method allows no remote access.")

    def createNewRenderingDef(self, call: RequestContext, pixels: Any) -> Any:
        raise security_violation("This method allows no remote access.")

    # ---- defaults --------------------------------------------------------------------------------------------
    @writes_database
    def resetDefaultsInSet(self, call: RequestContext, kind: str, ids: list[int]) -> list[int]:
        return self._reset(call, kind, ids)

    @writes_database
    def resetDefaultsByOwnerInSet(self, call: RequestContext, kind: str, ids: list[int]) -> list[int]:
        """Copy the settings of each image's owner."""
        done = []
        for pixels in self._pixels(call, kind, ids):
            row = call.tx.one("SELECT owner_id, image FROM pixels WHERE id = ?", (pixels,))
            found = rendering_def_ids(call, pixels, row[0])
            if found and self._apply(call, found[-1], pixels):
                done.append(row[1])
        return done

    @writes_database
    def resetMinMaxInSet(self, call: RequestContext, kind: str, ids: list[int]) -> list[int]:
        """Set the windows to the range of the data and keep the rest; return ids of Pixels, as OMERO does."""
        found = self._pixels(call, kind, ids)
        for ident in found:
            pixels = describe_pixels(call, ident)
            call.graph.finish_loading()
            settings = self._own_settings(call, pixels)
            buffer = open_pixels(call, ident)
            try:
                if settings.id is None:
                    apply_defaults(call, settings, pixels, buffer)
                else:
                    apply_window_ranges(settings, pixels, buffer)
            finally:
                buffer.close()
            save_settings(call.in_group(pixels.details.group.id.val), settings)
        return found

    @writes_database
    def setOriginalSettingsInSet(self, call: RequestContext, kind: str, ids: list[int]) -> list[int]:
        return self._reset(call, kind, ids)

    @writes_database
    def resetDefaultsInImage(self, call: RequestContext, ident: int) -> None:
        self._reset(call, "Image", [ident])

    @writes_database
    def resetDefaultsForPixels(self, call: RequestContext, ident: int) -> None:
        self._reset(call, "Pixels", [ident])

    @writes_database
    def resetDefaultsInDataset(self, call: RequestContext, ident: int) -> list[int]:
        return self._reset(call, "Dataset", [ident])

    @writes_database
    def setOriginalSettingsInImage(self, call: RequestContext, ident: int) -> None:
        self._reset(call, "Image", [ident])

    @writes_database
    def setOriginalSettingsForPixels(self, call: RequestContext, ident: int) -> None:
        self._reset(call, "Pixels", [ident])

    @writes_database
    def setOriginalSettingsInDataset(self, call: RequestContext, ident: int) -> list[int]:
        return self._reset(call, "Dataset", [ident])

    def _pixels(self, call: RequestContext, kind: str, ids: Iterable[int]) -> list[int]:
        found = find_entity(kind)
        if found is None or found.name not in _PIXELS_OF:
            message = f"Class parameter for changing settings must be in {sorted(_PIXELS_OF)}, not {kind}"
            wrapped = f"Wrapped Exception: (java.lang.IllegalArgumentException): {message}"
            raise omero_error(omero.InternalException, wrapped)
        rows = call.tx.all(_PIXELS_OF[found.name], {"ids": ids_parameter(ids)})
        return readable_ids(call, "Pixels", [row[0] for row in rows])

    def _reset(self, call: RequestContext, kind: str, ids: Iterable[int]) -> list[int]:
        """Reset all images to OMERO's defaults; return the images' ids."""
        images = []
        for ident in self._pixels(call, kind, ids):
            pixels = describe_pixels(call, ident)
            call.graph.finish_loading()
            settings = self._own_settings(call, pixels)
            buffer = open_pixels(call, ident)
            try:
                apply_defaults(call, settings, pixels, buffer)
            finally:
                buffer.close()
            save_settings(call.in_group(pixels.details.group.id.val), settings)
            images.append(pixels.image.id.val)
        return images

    def _own_settings(self, call: RequestContext, pixels: Any) -> Any:
        """Return the caller's settings of an image, or new ones."""
        own = rendering_def_ids(call, pixels.id.val, call.caller.user_id)
        settings = load_rendering_defs(call, own[-1:])[0] if own else new_settings(call, pixels)
        call.graph.finish_loading()
        return settings

    # ---- taking over -----------------------------------------------------------------------------------------
    @writes_database
    def applySettingsToSet(self, call: RequestContext, source: int, kind: str, ids: list[int]) -> dict[bool, list[int]]:
        return self._apply_to(call, source, kind, ids)

    @writes_database
    def applySettingsToImages(self, call: RequestContext, source: int, ids: list[int]) -> dict[bool, list[int]]:
        return self._apply_to(call, source, "Image", ids)

    @writes_database
    def applySettingsToDataset(self, call: RequestContext, source: int, ident: int) -> dict[bool, list[int]]:
        return self._apply_to(call, source, "Dataset", [ident])

    @writes_database
    def applySettingsToProject(self, call: RequestContext, source: int, ident: int) -> dict[bool, list[int]]:
        return self._apply_to(call, source, "Project", [ident])

    @writes_database
    def applySettingsToImage(self, call: RequestContext, source: int, ident: int) -> bool:
        return not self._apply_to(call, source, "Image", [ident])[False]

    @writes_database
    def applySettingsToPixels(self, call: RequestContext, source: int, ident: int) -> bool:
        return not self._apply_to(call, source, "Pixels", [ident])[False]

    def _apply_to(self, call: RequestContext, source: int, kind: str, ids: Iterable[int]) -> dict[bool, list[int]]:
        done: dict[bool, list[int]] = {True: [], False: []}
        targets = self._pixels(call, kind, ids)
        if targets and not readable_ids(call, "Pixels", [source]):
            raise validation_error(f"No pixels set with ID: {source}")
        own = rendering_def_ids(call, source, call.caller.user_id)
        for pixels in targets:
            image = call.tx.one("SELECT image FROM pixels WHERE id = ?", (pixels,))[0]
            taken = pixels == source or (bool(own) and self._apply(call, own[-1], pixels))
            done[taken].append(image)
        return done

    def _apply(self, call: RequestContext, settings: int, target: int) -> bool:
        """Apply settings to an image; return False if type or number of channels do not match."""
        source = load_rendering_defs(call, [settings])[0]
        pixels = describe_pixels(call, target)
        call.graph.finish_loading()
        if not _fits(call, source.pixels.id.val, target):
            return False
        if source.pixels.id.val == target and source.details.owner.id.val == call.caller.user_id:
            return True
        made = self._own_settings(call, pixels)
        _copy(source, made, pixels)
        save_settings(call.in_group(pixels.details.group.id.val), made)
        return True


def _fits(call: RequestContext, source: int, target: int) -> bool:
    sql = "SELECT pixelsType, sizeC FROM pixels WHERE id = ?"
    return bool(call.tx.one(sql, (source,)) == call.tx.one(sql, (target,)))


def _copy(source: Any, target: Any, pixels: Any) -> None:
    for name in _COPIED:
        setattr(target, name, getattr(source, name))
    target.defaultZ = rint(min(source.defaultZ.val, pixels.sizeZ.val - 1))
    target.defaultT = rint(min(source.defaultT.val, pixels.sizeT.val - 1))
    for name in ("cdStart", "cdEnd", "bitResolution"):
        setattr(target.quantization, name, getattr(source.quantization, name))
    for mine, other in zip(target.copyWaveRendering(), source.copyWaveRendering(), strict=True):
        for name in (*_COPIED_OF_CHANNEL, *_COLOUR):
            setattr(mine, name, getattr(other, name))
