"""Unpacking of imported files: their pixels, written in the server's own layout."""

from __future__ import annotations

import hashlib
import math
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from omero_pixclf.embedded.commands.cancellation import check_cancelled
from omero_pixclf.embedded.series.content import FilesetContent, ResolutionLevel, Series
from omero_pixclf.embedded.storage.data_paths import (
    open_descriptor,
    pixels_path,
    require_space,
    resolution_path,
    write_at,
)

__all__ = ["UnpackedPixels", "move_pixels", "unpack_pixels"]

_BAND_BYTES = 8 << 20


@dataclass(frozen=True)
class UnpackedPixels:
    """The unpacked pixels of one image: a file per resolution, the checksum, and each channel's range."""

    files: tuple[Path, ...]
    sha1: str
    ranges: tuple[tuple[float, float], ...]


def unpack_pixels(content: FilesetContent, folder: Path) -> Iterator[UnpackedPixels]:
    """Write all planes of all images into files of a folder; yield the result image by image.

    Raises
    ------
    ImageError
        The files cannot be read.
    OSError
        The disk has no room for the pixels.
    """
    require_space(folder, sum(_size(series, level) for series in content.series for level in series.levels))
    for number, series in enumerate(content.series):
        yield _unpack_image(series, folder, number)


def _size(series: Series, level: ResolutionLevel) -> int:
    return level.width * level.height * series.z * series.c * series.t * series.dtype.itemsize


def _unpack_image(series: Series, folder: Path, number: int) -> UnpackedPixels:
    files = tuple(folder / f"{number}.{place}" for place in range(len(series.levels)))
    ranges = [[math.inf, -math.inf] for _ in range(series.c)]
    digest = hashlib.sha1(usedforsecurity=False)
    for place, (level, file) in enumerate(zip(series.levels, files, strict=True)):
        with open_descriptor(file, os.O_WRONLY | os.O_CREAT) as descriptor:
            offset = 0
            for channel, band in _bands(series, level):
                check_cancelled()
                if place == 0:
                    low, high = _range(band)
                    ranges[channel] = [min(ranges[channel][0], low), max(ranges[channel][1], high)]
                data = np.ascontiguousarray(band, band.dtype.newbyteorder(">")).data.cast("B")
                if place == 0:
                    digest.update(data)
                write_at(descriptor, data, offset)
                offset += len(data)
    return UnpackedPixels(files, digest.hexdigest(), tuple((low, high) for low, high in ranges))


def _bands(series: Series, level: ResolutionLevel) -> Iterator[tuple[int, Any]]:
    """Yield the channel and a band of rows of all planes, in the order XYZCT."""
    height = max(1, _BAND_BYTES // (level.width * series.dtype.itemsize))
    for t in range(series.t):
        for c in range(series.c):
            for z in range(series.z):
                for top in range(0, level.height, height):
                    rows = slice(top, min(level.height, top + height))
                    yield c, np.asarray(level.read(z, c, t, rows), series.dtype)


def _range(band: Any) -> tuple[float, float]:
    """Return the smallest and largest finite value; (inf, -inf) if there is none."""
    if band.dtype.kind == "f":
        band = band[np.isfinite(band)]
    return (float(band.min()), float(band.max())) if band.size else (math.inf, -math.inf)


def move_pixels(found: UnpackedPixels, folder: Path, ident: int) -> None:
    """Move unpacked pixels to the files of a Pixels object."""
    for level, file in enumerate(found.files):
        target = resolution_path(folder, ident, level) if level else pixels_path(folder, ident)
        target.parent.mkdir(parents=True, exist_ok=True)
        file.replace(target)
