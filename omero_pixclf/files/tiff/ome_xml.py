"""Pixel sizes, units and channel names from OME-XML and from ImageJ's metadata."""

from __future__ import annotations

import math
import xml.etree.ElementTree as ET
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from omero_pixclf.files.axes import Axes, Axis

__all__ = [
    "OmeImage",
    "has_entities",
    "imagej_axes",
    "images_with_pixels",
    "named_files",
    "ome_axes",
    "ome_channels",
    "parse_ome_xml",
]

_SIZES = {
    "x": ("PhysicalSizeX", "PhysicalSizeXUnit", "µm"),
    "y": ("PhysicalSizeY", "PhysicalSizeYUnit", "µm"),
    "z": ("PhysicalSizeZ", "PhysicalSizeZUnit", "µm"),
    "t": ("TimeIncrement", "TimeIncrementUnit", "s"),
}


def ome_axes(xml: str, keys: str, image: int = 0) -> Axes:
    """Return the axes of an image of an OME-XML text; missing or invalid sizes are unknown (0)."""
    pixels = _pixels(xml, image)
    if pixels is None:
        return tuple(Axis(k) for k in keys)
    return tuple(_ome_axis(pixels, k) for k in keys)


def _ome_axis(pixels: ET.Element, key: str) -> Axis:
    if key not in _SIZES:
        return Axis(key)
    size_name, unit_name, default_unit = _SIZES[key]
    size = _number(pixels.get(size_name))
    return Axis(key, size, pixels.get(unit_name, default_unit)) if size else Axis(key)


def ome_channels(xml: str, image: int = 0) -> tuple[str, ...]:
    """Return the names of the channels of an image; "" for a channel without a name."""
    pixels = _pixels(xml, image)
    if pixels is None:
        return ()
    return tuple(c.get("Name", "") for c in pixels if _tag(c) == "Channel")


def named_files(xml: str | None) -> tuple[str, ...]:
    """Return the names of the other files that an OME-XML text assigns planes to.

    An entry with the UUID of the text is the file itself, whatever its name is now.
    """
    root = parse_ome_xml(xml or "")
    if root is None:
        return ()
    own = root.get("UUID")
    found = (e.get("FileName", "") for e in root.iter() if _tag(e) == "UUID" and (own is None or e.text != own))
    return tuple(dict.fromkeys(name for name in found if name))


@dataclass(frozen=True)
class OmeImage:
    """An image of an OME-XML text with pixels in TIFF files; ``planes`` is its number of pages."""

    ident: str
    name: str
    pixels: ET.Element
    planes: int


@lru_cache(maxsize=2)
def images_with_pixels(xml: str | None) -> tuple[OmeImage, ...]:
    """Return the images of an OME-XML text in order, without those that have only metadata."""
    root = parse_ome_xml(xml or "")
    if root is None:
        return ()
    found = []
    for image in (e for e in root if _tag(e) == "Image"):
        pixels = [e for e in image if _tag(e) == "Pixels" and any(_tag(c) == "TiffData" for c in e)]
        found += [OmeImage(image.get("ID", ""), image.get("Name", ""), one, _page_count(one)) for one in pixels]
    return tuple(found)


def _page_count(pixels: ET.Element) -> int:
    """Return the number of pages of an image; all samples of a channel are on one page."""
    sizes = [int(_number(pixels.get(f"Size{axis}")) or 1) for axis in "ZCT"]
    channel = next((e for e in pixels if _tag(e) == "Channel"), None)
    samples = int(_number(channel.get("SamplesPerPixel")) or 1) if channel is not None else 1
    return math.prod(sizes) // max(1, samples)


def _tag(element: ET.Element) -> str:
    return element.tag.rpartition("}")[2]


def _pixels(xml: str, image: int) -> ET.Element | None:
    """Return the ``Pixels`` element of an image, by its number among those with pixels; None if there is none."""
    found = images_with_pixels(xml)
    return found[image].pixels if image < len(found) else None


def has_entities(xml: str) -> bool:
    """Whether a text declares XML entities: OME-XML has none, and nested entities can exhaust memory."""
    return "<!DOCTYPE" in xml[:2000] or "<!ENTITY" in xml


@lru_cache(maxsize=2)
def parse_ome_xml(xml: str) -> ET.Element | None:
    """Parse an OME-XML text of any schema version; returns its root, or None if it is not XML.

    The last results are cached, since a plate's text is parsed for each image: do not change them.
    """
    if has_entities(xml):
        return None
    try:
        return ET.fromstring(xml)
    except (ET.ParseError, ValueError):
        return None


def _number(text: Any) -> float:
    try:
        number = float(text)
    except (TypeError, ValueError):
        return 0.0
    return number if math.isfinite(number) and number > 0 else 0.0


def imagej_axes(metadata: dict[str, Any], tags: Any, keys: str) -> Axes:
    """Return the axes of an ImageJ TIFF: pixels per unit from tags, spacing and frame interval from the metadata."""
    unit = _unit(metadata, "unit")
    facts = {
        "x": (_pixel_size(tags.get("XResolution")), unit),
        "y": (_pixel_size(tags.get("YResolution")), _unit(metadata, "yunit") or unit),
        "z": (_number(metadata.get("spacing")), _unit(metadata, "zunit") or unit),
        "t": (_number(metadata.get("finterval")), _unit(metadata, "tunit") or "s"),
    }
    return tuple(Axis(k, *facts[k]) if facts.get(k, (0,))[0] and facts[k][1] != "pixel" else Axis(k) for k in keys)


def _unit(metadata: dict[str, Any], key: str) -> str:
    text = str(metadata.get(key, ""))
    return text.replace("\\u00B5", "µ").replace("\\u00b5", "µ")


def _pixel_size(tag: Any) -> float:
    """Return the size of a pixel from a (pixels, units) tag; nearly integral sizes are rounded."""
    if tag is None or not tag.value[0]:
        return 0.0
    size = _number(tag.value[1] / tag.value[0])
    return float(round(size)) if abs(size - round(size)) < 1e-8 else size
