"""How an image is drawn: RenderingDef objects, their defaults, and saving them."""

from __future__ import annotations

from typing import Any

import numpy as np
import omero.model
from omero.rtypes import rbool, rdouble, rint

from omero_pixclf.embedded.call import Call
from omero_pixclf.embedded.pixel_buffer import PixelBuffer
from omero_pixclf.embedded.rendering import ChannelLook
from omero_pixclf.embedded.saving import Saver
from omero_pixclf.embedded.schema import table

__all__ = ["defaults_into", "enumeration", "looks_of", "new_settings", "save_settings", "type_range"]

_ACTIVE_AT_FIRST = 3
_MOST_IN_COLOUR = 10  # images of more channels are shown grey
_COLOURS = ((255, 0, 0), (0, 255, 0), (0, 0, 255))
_GREEN_FROM_NM, _RED_FROM_NM = 500.0, 560.0
_FLOAT_RANGE = (-32768.0, 32767.0)  # what OMERO assumes of floating-point samples without statistics
_DEPTH = 255
_EPSILON = 1e-5


def enumeration(call: Call, kind: str, value: str) -> Any:
    """The loaded enumeration object of a value."""
    row = call.tx.one(f"SELECT id FROM {table(kind).name} WHERE value = ?", (value,))
    found = call.graph.get(kind, row[0])
    call.graph.finish()
    return found


def type_range(dtype: np.dtype[Any]) -> tuple[float, float]:
    """Lowest and highest value of a pixel type."""
    if dtype.kind == "f":
        return _FLOAT_RANGE
    info = np.iinfo(dtype)
    return float(info.min), float(info.max)


def new_settings(call: Call, pixels: Any) -> Any:
    """Settings of a Pixels object, to be filled with `defaults_into`."""
    made = omero.model.RenderingDefI()
    made.pixels = omero.model.PixelsI(pixels.id.val, False)
    made.quantization = omero.model.QuantumDefI()
    for _ in range(pixels.sizeC.val):
        made.addChannelBinding(omero.model.ChannelBindingI())
    return made


def defaults_into(call: Call, settings: Any, pixels: Any, buffer: PixelBuffer | None) -> None:
    """Bring settings to OMERO's defaults; ``buffer`` tells the windows of channels without statistics."""
    settings.defaultZ, settings.defaultT = rint(pixels.sizeZ.val // 2), rint(0)
    colour = 1 < pixels.sizeC.val < _MOST_IN_COLOUR
    settings.model = enumeration(call, "RenderingModel", "rgb" if colour else "greyscale")
    quantum = settings.quantization
    quantum.cdStart, quantum.cdEnd, quantum.bitResolution = rint(0), rint(_DEPTH), rint(_DEPTH)
    linear = enumeration(call, "Family", "linear")
    channels = pixels.copyChannels()
    colours = [_colour(i, c) for i, c in enumerate(channels)]
    for i, (binding, channel) in enumerate(zip(settings.copyWaveRendering(), channels, strict=True)):
        binding.family, binding.coefficient, binding.noiseReduction = linear, rdouble(1.0), rbool(False)
        binding.active = rbool(i < _ACTIVE_AT_FIRST)
        binding.red, binding.green, binding.blue, binding.alpha = (rint(v) for v in (*colours[i][:3], colours[i][3]))
        low, high = _window(channel, i, pixels, buffer, settings.defaultZ.val)
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


def _window(channel: Any, index: int, pixels: Any, buffer: PixelBuffer | None, z: int) -> tuple[float, float]:
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


def looks_of(settings: Any) -> list[ChannelLook | None]:
    """The looks of all channels; None for those that are off."""
    return [_look(binding) if binding.active.val else None for binding in settings.copyWaveRendering()]


def _look(binding: Any) -> ChannelLook:
    maps = binding.copySpatialDomainEnhancement() if binding.isSpatialDomainEnhancementLoaded() else []
    return ChannelLook(
        binding.inputStart.val,
        binding.inputEnd.val,
        binding.family.value.val,
        binding.coefficient.val,
        (binding.red.val, binding.green.val, binding.blue.val),
        binding.alpha.val,
        any(isinstance(m, omero.model.ReverseIntensityContext) for m in maps),
    )


def save_settings(call: Call, settings: Any) -> Any:
    """Store settings as the caller's."""
    settings.pixels = omero.model.PixelsI(settings.pixels.id.val, False)
    saver = Saver(call)
    saved = saver.save(settings)
    saver.flush()
    return saved
