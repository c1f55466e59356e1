"""Test images described by their file name, such as ``cells&sizeX=64&sizeZ=3&series=2.fake``, as in Bio-Formats.

The pixels are a test pattern: a ramp along x, and in the first rows boxes whose values are series, z, c and t.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from omero_pixclf.embedded.series.content import Channel, FilesetContent, PlaneReader, ResolutionLevel, Series
from omero_pixclf.errors import ImageError
from omero_pixclf.files.plates import Plate, WellSample

__all__ = ["open_fake"]

_TYPES = {"float": "float32", "double": "float64", "bit": "uint8"}
_BOX = 10  # side of a box of the pattern
_NUMBERS = {
    "sizeX": 512, "sizeY": 512, "sizeZ": 1, "sizeC": 1, "sizeT": 1, "series": 1, "resolutions": 1, "resolutionScale": 2,
    "screens": 0, "plates": 0, "plateRows": 0, "plateCols": 0, "fields": 0, "plateAcqs": 0,
}  # fmt: skip
_PLATE_PARTS = ("plates", "plateRows", "plateCols", "fields", "plateAcqs")
_LENGTH = re.compile(r"([0-9.eE+-]+)\s*([^0-9.\s]*)")
_MOST_IMAGES = 100_000


@contextmanager
def open_fake(path: Path, _within: Path) -> Iterator[FilesetContent]:
    """Open the images that a file's name describes.

    Raises
    ------
    ImageError
        A value is not a number, or a pixel type is unknown to OMERO.
    """
    yield _content(path)


def _content(path: Path) -> FilesetContent:
    name, keys = _parse_name(path)
    sizes = {key: _number(path, key, keys.get(key), default) for key, default in _NUMBERS.items()}
    on_plates = any(sizes[part] for part in (*_PLATE_PARTS, "screens"))
    if on_plates:
        sizes.update({part: max(1, sizes[part]) for part in _PLATE_PARTS})
    per_plate = sizes["plateRows"] * sizes["plateCols"] * sizes["fields"] * sizes["plateAcqs"]
    count = max(1, sizes["screens"]) * sizes["plates"] * per_plate if on_plates else sizes["series"]
    if not 1 <= count <= _MOST_IMAGES:
        raise ImageError(f"{path.name}: describes {count} images, expected 1 to {_MOST_IMAGES}")
    made = tuple(_series(path, i, name if i == 0 else f"{name} {i + 1}", sizes, keys) for i in range(count))
    return FilesetContent("Fake", made, tuple(_plates(name, sizes)) if on_plates else ())


def _parse_name(path: Path) -> tuple[str, dict[str, str]]:
    """Return the name and the keys in a file's name."""
    name, *pairs = path.name.removesuffix(".fake").split("&")
    return name, dict(pair.split("=", 1) for pair in pairs if "=" in pair)


def _number(path: Path, key: str, text: str | None, default: int) -> int:
    if text is None:
        return default
    if not text.isdigit() or (key.startswith(("size", "reso")) and int(text) < 1):
        raise ImageError(f"{path.name}: {key} is {text!r}, expected a number")
    return int(text)


def _series(path: Path, index: int, name: str, sizes: Mapping[str, int], keys: Mapping[str, str]) -> Series:
    dtype = _type(path, keys.get("pixelType", "uint8"))
    scale = max(2, sizes["resolutionScale"])
    shrunk = [scale**i for i in range(sizes["resolutions"])]
    extents = [(sizes["sizeX"] // by, sizes["sizeY"] // by) for by in shrunk]
    if min(extents[-1]) < 1:
        raise ImageError(f"{path.name}: {len(extents)} resolutions leave nothing of {extents[0]}")
    return Series(
        name=name,
        z=sizes["sizeZ"],
        c=sizes["sizeC"],
        t=sizes["sizeT"],
        dtype=dtype,
        levels=tuple(
            ResolutionLevel(w, h, _pattern(index, w, by, dtype)) for (w, h), by in zip(extents, shrunk, strict=True)
        ),
        channels=tuple(_channel(path, c, keys) for c in range(sizes["sizeC"])),
        pixel_size=_pixel_size(path, keys),
        acquired_ms=_parse_date(path, keys.get("acquisitionDate")),
    )


def _type(path: Path, text: str) -> np.dtype[Any]:
    name = _TYPES.get(text, text)
    if name not in ("int8", "uint8", "int16", "uint16", "int32", "uint32", "float32", "float64"):
        raise ImageError(f"{path.name}: no pixel type {text!r}")
    return np.dtype(name)


def _channel(path: Path, index: int, keys: Mapping[str, str]) -> Channel:
    """Return a channel; colours are OME's signed numbers: ``color=65535`` for all, ``color_1=…`` for the second."""
    text = keys.get(f"color_{index}", keys.get("color"))
    if text is None:
        return Channel()
    if not text.removeprefix("-").isdigit():
        raise ImageError(f"{path.name}: colour {text!r}, expected a number")
    number = int(text) & 0xFFFFFFFF
    return Channel(color=(number >> 24, number >> 16 & 255, number >> 8 & 255, number & 255))


def _pixel_size(path: Path, keys: Mapping[str, str]) -> dict[str, tuple[float, str]]:
    found = {}
    for axis in "xyz":
        text = keys.get(f"physicalSize{axis.upper()}")
        if text is None:
            continue
        match = _LENGTH.fullmatch(text)
        if match is None or not _is_positive(match.group(1)):
            raise ImageError(f"{path.name}: size of a pixel {text!r}, expected one such as 0.5 or 0.5µm")
        found[axis] = (float(match.group(1)), match.group(2) or "µm")
    return found


def _is_positive(text: str) -> bool:
    try:
        return float(text) > 0
    except ValueError:
        return False


def _parse_date(path: Path, text: str | None) -> int | None:
    """Parse a date without colons, such as ``2021-05-31_16-58-55``."""
    if text is None:
        return None
    try:
        found = datetime.strptime(text[:19], "%Y-%m-%d_%H-%M-%S").replace(tzinfo=timezone.utc)
    except ValueError as error:
        raise ImageError(f"{path.name}: date {text!r}, expected one such as 2021-05-31_16-58-55") from error
    return int(found.timestamp() * 1000)


def _pattern(series: int, width: int, shrunk: int, dtype: np.dtype[Any]) -> PlaneReader:
    ramp = np.arange(width, dtype=np.int64) * shrunk

    def rows(z: int, c: int, t: int, wanted: slice) -> NDArray[Any]:
        made = np.tile(ramp.astype(dtype), (wanted.stop - wanted.start, 1))
        for place, number in enumerate((series, z, c, t)):
            made[: max(0, _BOX - wanted.start), place * _BOX : (place + 1) * _BOX] = np.asarray(number).astype(dtype)
        return made

    return rows


def _plates(name: str, sizes: Mapping[str, int]) -> Iterator[Plate]:
    """Yield the plates, screen by screen; each screen has as many as ``plates`` says."""
    rows, columns, runs, fields = (sizes[key] for key in ("plateRows", "plateCols", "plateAcqs", "fields"))
    size = rows * columns * runs * fields
    count = max(1, sizes["screens"]) * sizes["plates"]
    for number in range(count):
        well_samples = tuple(_well_sample(number * size, i, (rows, columns, runs, fields)) for i in range(size))
        screen = f"Screen {number // sizes['plates']}" if sizes["screens"] else None
        named = tuple(f"PlateAcquisition {run}" for run in range(runs))
        yield Plate(name if count == 1 else f"{name} {number + 1}", rows, columns, named, well_samples, screen)


def _well_sample(first: int, index: int, shape: tuple[int, int, int, int]) -> WellSample:
    row, column, run, field = (int(i) for i in np.unravel_index(index, shape))
    return WellSample(first + index, row, column, field, run)
