"""Metadata of each image in OME-XML: name, description, date, pixel sizes, channels."""

from __future__ import annotations

import math
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

from omero_pixclf.embedded.series.content import Channel
from omero_pixclf.files.tiff.ome_xml import parse_ome_xml

__all__ = ["ImageMetadata", "read_image_metadata"]

_AXES = ("x", "y", "z")
_DEFAULT_UNIT = "µm"
_NANOMETRES = {"nm": 1.0, "µm": 1e3, "Å": 0.1, "pm": 1e-3, "mm": 1e6}


@dataclass(frozen=True)
class ImageMetadata:
    """Name, description, date, pixel sizes and channels of one image."""

    name: str
    description: str
    acquired_ms: int | None
    pixel_size: dict[str, tuple[float, str]]
    channels: tuple[Channel, ...]


def read_image_metadata(xml: str | None) -> tuple[ImageMetadata, ...]:
    """Return the metadata of all images in an OME-XML text with pixels in TIFF files; () for other texts."""
    root = parse_ome_xml(xml or "")
    return () if root is None else tuple(_image_metadata(i) for i in _children(root, "Image") if _has_pixels(i))


def _has_pixels(image: ET.Element) -> bool:
    return any(_tag(child) == "TiffData" for pixels in _children(image, "Pixels") for child in pixels)


def _tag(element: ET.Element) -> str:
    return element.tag.rpartition("}")[2]


def _children(parent: ET.Element, tag: str) -> Iterator[ET.Element]:
    return (child for child in parent if _tag(child) == tag)


def _image_metadata(image: ET.Element) -> ImageMetadata:
    pixels = next(_children(image, "Pixels"), None)
    return ImageMetadata(
        name=image.get("Name", ""),
        description=_text(image, "Description"),
        acquired_ms=_parse_date(_text(image, "AcquisitionDate")),
        pixel_size=_sizes(pixels) if pixels is not None else {},
        channels=tuple(_channels(pixels)) if pixels is not None else (),
    )


def _text(parent: ET.Element, tag: str) -> str:
    found = next(_children(parent, tag), None)
    return (found.text or "").strip() if found is not None else ""


def _parse_date(text: str) -> int | None:
    try:
        found = datetime.fromisoformat(text.replace("Z", "+00:00"))
    except ValueError:
        return None
    aware = found if found.tzinfo else found.replace(tzinfo=timezone.utc)
    return int(aware.timestamp() * 1000)


def _sizes(pixels: ET.Element) -> dict[str, tuple[float, str]]:
    found = {}
    for axis in _AXES:
        name = f"PhysicalSize{axis.upper()}"
        size = _positive(pixels.get(name))
        if size is not None:
            found[axis] = (size, pixels.get(f"{name}Unit", _DEFAULT_UNIT))
    return found


def _channels(pixels: ET.Element) -> Iterator[Channel]:
    """Yield one channel per sample: an RGB channel counts as three of the same name."""
    for element in _children(pixels, "Channel"):
        samples = int(_positive(element.get("SamplesPerPixel")) or 1)
        made = Channel(
            name=element.get("Name"),
            color=_color(element.get("Color")) if samples == 1 else None,
            emission_nm=_wavelength(element, "Emission"),
            excitation_nm=_wavelength(element, "Excitation"),
        )
        yield from [made] * samples


def _wavelength(element: ET.Element, name: str) -> float | None:
    value = _positive(element.get(f"{name}Wavelength"))
    factor = _NANOMETRES.get(element.get(f"{name}WavelengthUnit", "nm"))
    return value * factor if value is not None and factor is not None else None


def _color(text: str | None) -> tuple[int, int, int, int] | None:
    """Parse OME's colour: a signed 32-bit number, red in the highest byte, alpha in the lowest."""
    try:
        number = int(text or "") & 0xFFFFFFFF
    except ValueError:
        return None
    return (number >> 24, number >> 16 & 255, number >> 8 & 255, number & 255)


def _positive(text: Any) -> float | None:
    try:
        number = float(text)
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) and number > 0 else None
