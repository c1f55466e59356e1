"""Rendering settings (RenderingDef): defaults, loading, copying, saving, and rendering with them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import omero.model
from numpy.typing import NDArray
from omero.rtypes import rbool, rdouble, rint

from omero_pixclf.embedded.database.fetching import load_path, readable_ids
from omero_pixclf.embedded.database.saving import Saver
from omero_pixclf.embedded.database.schema import table
from omero_pixclf.embedded.images.pixel_buffer import PixelBuffer
from omero_pixclf.embedded.images.renderer import ChannelRendering, render_rgb
from omero_pixclf.embedded.server.request_context import RequestContext

__all__ = [
    "apply_defaults",
    "apply_window_ranges",
    "channel_renderings",
    "copy_settings",
    "find_settings_id",
    "find_thumbnail_settings_id",
    "load_enumeration",
    "load_rendering_defs",
    "new_settings",
    "render_image",
    "rendering_def_ids",
    "save_settings",
    "type_range",
]

_ACTIVE_AT_FIRST = 3
_MOST_IN_COLOUR = 10  # images with more channels are rendered in greyscale
_COLOURS = ((255, 0, 0), (0, 255, 0), (0, 0, 255))
_GREEN_FROM_NM, _RED_FROM_NM = 500.0, 560.0
_FLOAT_RANGE = (-32768.0, 32767.0)  # OMERO's range of floating-point samples without statistics
_DEPTH = 255
_EPSILON = 1e-5
_RENDERING = (
    "quantization",
    "model",
    "waveRendering.family",
    "waveRendering.spatialDomainEnhancement",
)


def load_enumeration(call: RequestContext, kind: str, value: str) -> Any:
    """Return the loaded enumeration object of a value."""
    row = call.tx.one(f"SELECT id FROM {table(kind).name} WHERE value = ?", (value,))
    found = call.graph.get(kind, row[0])
    call.graph.finish_loading()
    return found


def type_range(dtype: np.dtype[Any]) -> tuple[float, float]:
    """Return the lowest and highest value of a pixel type."""
    if dtype.kind == "f":
        return _FLOAT_RANGE
    info = np.iinfo(dtype)
    return float(info.min), float(info.max)


def new_settings(call: RequestContext, pixels: Any) -> Any:
    """Return unsaved settings of a Pixels object, to be filled by `apply_defaults`."""
    made = omero.model.RenderingDefI()
    made.pixels = omero.model.PixelsI(pixels.id.val, False)
    made.quantization = omero.model.QuantumDefI()
    for _ in range(pixels.sizeC.val):
        made.addChannelBinding(omero.model.ChannelBindingI())
    return made


def apply_defaults(call: RequestContext, settings: Any, pixels: Any, buffer: PixelBuffer | None) -> None:
    """Set OMERO's default settings; ``buffer`` gives the windows of channels without statistics."""
    settings.defaultZ, settings.defaultT = rint(pixels.sizeZ.val // 2), rint(0)
    colour = 1 < pixels.sizeC.val < _MOST_IN_COLOUR
    settings.model = load_enumeration(call, "RenderingModel", "rgb" if colour else "greyscale")
    quantum = settings.quantization
    quantum.cdStart, quantum.cdEnd, quantum.bitResolution = rint(0), rint(_DEPTH), rint(_DEPTH)
    linear = load_enumeration(call, "Family", "linear")
    channels = pixels.copyChannels()
    colours = [_colour(i, c) for i, c in enumerate(channels)]
    for i, binding in enumerate(settings.copyWaveRendering()):
        binding.family, binding.coefficient, binding.noiseReduction = linear, rdouble(1.0), rbool(False)
        binding.active = rbool(i < _ACTIVE_AT_FIRST)
        binding.red, binding.green, binding.blue, binding.alpha = (rint(v) for v in (*colours[i][:3], colours[i][3]))
    apply_window_ranges(settings, pixels, buffer)


def apply_window_ranges(settings: Any, pixels: Any, buffer: PixelBuffer | None) -> None:
    """Set the windows of all channels to the range of their data."""
    for i, (binding, channel) in enumerate(zip(settings.copyWaveRendering(), pixels.copyChannels(), strict=True)):
        low, high = _window(channel, i, buffer, settings.defaultZ.val)
        binding.inputStart, binding.inputEnd = rdouble(low), rdouble(high)


def _colour(index: int, channel: Any) -> tuple[int, int, int, int]:
    own = (channel.red, channel.green, channel.blue, channel.alpha)
    if all(v is not None for v in own):
        return own[0].val, own[1].val, own[2].val, own[3].val
    logical = channel.logicalChannel
    wave = logical.emissionWave or logical.excitationWave if logical is not None and logical.isLoaded() else None
    if wave is None:
        return (*_COLOURS[index % 3], 255)
    place = 2 if wave.getValue() < _GREEN_FROM_NM else 1 if wave.getValue() < _RED_FROM_NM else 0
    return (*_COLOURS[place], 255)


def _window(channel: Any, index: int, buffer: PixelBuffer | None, z: int) -> tuple[float, float]:
    stats = channel.statsInfo
    if stats is not None:
        low, high = stats.globalMin.val, stats.globalMax.val
    elif buffer is not None:
        plane = buffer.plane_array(z, index, 0)
        low, high = float(plane.min()), float(plane.max())
    else:
        low = high = 0.0
    if abs(high - low) < _EPSILON and buffer is not None:
        return type_range(buffer.layout.dtype)
    return low, high


def channel_renderings(settings: Any) -> list[ChannelRendering | None]:
    """Return the rendering of each channel; None for inactive channels."""
    return [_channel_rendering(binding) if binding.active.val else None for binding in settings.copyWaveRendering()]


def _channel_rendering(binding: Any) -> ChannelRendering:
    maps = binding.copySpatialDomainEnhancement() if binding.isSpatialDomainEnhancementLoaded() else []
    return ChannelRendering(
        binding.inputStart.val,
        binding.inputEnd.val,
        binding.family.value.val,
        binding.coefficient.val,
        (binding.red.val, binding.green.val, binding.blue.val),
        binding.alpha.val,
        any(isinstance(m, omero.model.ReverseIntensityContext) for m in maps),
    )


def save_settings(call: RequestContext, settings: Any) -> Any:
    """Save settings as the caller's."""
    settings.pixels = omero.model.PixelsI(settings.pixels.id.val, False)
    saver = Saver(call)
    saved = saver.save(settings)
    saver.flush()
    return saved


def render_image(settings: Any, planes: Any) -> NDArray[np.uint8]:
    """Return the picture (y, x, 3) of an image; ``planes(channel)`` returns the samples of a channel."""
    looks = [(c, look) for c, look in enumerate(channel_renderings(settings)) if look is not None]
    if not looks:
        return np.zeros((*planes(0).shape, 3), np.uint8)
    grey = settings.model.value.val == "greyscale"
    drawn: list[tuple[int, ChannelRendering]] = looks[:1] if grey else looks
    interval = settings.quantization.cdStart.val, settings.quantization.cdEnd.val
    return render_rgb([planes(c) for c, _ in drawn], [look for _, look in drawn], grey=grey, interval=interval)


def rendering_def_ids(call: RequestContext, pixels: int, owner: int | None = None) -> list[int]:
    """Return ids of visible settings of pixels, the last changed one last; of one owner if given."""
    wanted = "" if owner is None else f" AND owner_id = {int(owner)}"
    rows = call.tx.all(f"SELECT id FROM renderingdef WHERE pixels = ?{wanted} ORDER BY update_id, id", (pixels,))
    seen = set(readable_ids(call, "RenderingDef", [row[0] for row in rows]))
    return [row[0] for row in rows if row[0] in seen]


def load_rendering_defs(call: RequestContext, ids: Sequence[int]) -> list[Any]:
    """Load settings with everything that rendering needs; `finish_loading` is still to be called."""
    for path in _RENDERING:
        load_path(call, "RenderingDef", ids, path)
    return [call.graph.get("RenderingDef", i) for i in ids]


def find_settings_id(call: RequestContext, pixels: int) -> int | None:
    """Return the id of the settings an image is rendered with: the caller's own, or its owner's."""
    own = rendering_def_ids(call, pixels, call.caller.user_id)
    if own:
        return own[-1]
    call.graph.get("Pixels", pixels)
    owner = call.tx.one("SELECT owner_id FROM pixels WHERE id = ?", (pixels,))[0]
    return next(iter(rendering_def_ids(call, pixels, owner)[-1:]), None)


def find_thumbnail_settings_id(call: RequestContext, pixels: int) -> int | None:
    """Return the id of a thumbnail's settings; the owner's only if the caller cannot save any."""
    found = find_settings_id(call, pixels)
    owner, group = call.tx.one("SELECT owner_id, group_id FROM pixels WHERE id = ?", (pixels,))
    own = rendering_def_ids(call, pixels, call.caller.user_id)
    return found if own or not call.graph.rights(owner, group).annotate else None


def copy_settings(settings: Any) -> Any:
    """Return new settings with the values of existing ones."""
    made = omero.model.RenderingDefI()
    made.pixels = omero.model.PixelsI(settings.pixels.id.val, False)
    for name in ("defaultZ", "defaultT", "model", "name", "compression"):
        setattr(made, name, getattr(settings, name))
    made.quantization = omero.model.QuantumDefI()
    for name in ("cdStart", "cdEnd", "bitResolution"):
        setattr(made.quantization, name, getattr(settings.quantization, name))
    for source in settings.copyWaveRendering():
        made.addChannelBinding(_copy_binding(source))
    return made


def _copy_binding(source: Any) -> Any:
    made = omero.model.ChannelBindingI()
    for name in ("family", "coefficient", "inputStart", "inputEnd", "active", "noiseReduction"):
        setattr(made, name, getattr(source, name))
    for name in ("red", "green", "blue", "alpha", "lookupTable"):
        setattr(made, name, getattr(source, name))
    maps = source.copySpatialDomainEnhancement() if source.isSpatialDomainEnhancementLoaded() else []
    for found in maps:
        copy = type(found)()
        copy.reverse = getattr(found, "reverse", None)
        made.addCodomainMapContext(copy)
    return made
