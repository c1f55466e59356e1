"""Images of cellSens slides: a ``.vsi`` file with an overview, and tiles in the folder ``_NAME_`` beside it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from omero_pixclf.embedded.series.content import Channel, FilesetContent, PlaneReader, ResolutionLevel, Series
from omero_pixclf.embedded.series.ets import EtsFile
from omero_pixclf.embedded.series.planes import check_sample_type, rgb_channels
from omero_pixclf.embedded.series.tiff import open_tiff_series
from omero_pixclf.embedded.series.vsi_tags import Dimension, Tag, has_external_tiles, read_dimensions, read_tags
from omero_pixclf.errors import ImageError
from omero_pixclf.files.references import check_within

__all__ = ["find_vsi_companions", "open_vsi"]

_STACK = re.compile(r"stack(\d+)")


def find_vsi_companions(path: Path) -> tuple[Path, ...]:
    """Return the files of tiles that belong to a ``.vsi``."""
    found = tuple(sorted((path.parent / f"_{path.stem}_").glob("stack*/*.ets")))
    for file in found:
        check_within(file, path.parent)
    return found


@contextmanager
def open_vsi(path: Path, within: Path) -> Iterator[FilesetContent]:
    """Open the images of a slide: first those of the tiles, then those in the ``.vsi`` itself.

    Raises
    ------
    ImageError
        A file cannot be read, or an image has an axis other than depth, channels and time.
    """
    with ExitStack() as opened:
        described = list(read_tags(path.read_bytes()))
        found: list[Series] = []
        tiles = find_vsi_companions(path)
        if not tiles and has_external_tiles(described):
            raise ImageError(
                f"{path.name} is incomplete: its tiles are in the folder _{path.stem}_ beside it, which is missing or "
                "empty; copy the folder, too"
            )
        for file in tiles:
            ets = opened.enter_context(closing(EtsFile(file)))
            found.append(_series(ets, _axes(file, ets, described)))
        whole = opened.enter_context(open_tiff_series(path, within))
        yield FilesetContent("CellSens", (*found, *whole.series))


def _axes(file: Path, ets: EtsFile, described: list[Tag]) -> tuple[Dimension, ...]:
    """Return the meaning of the axes after x and y; axes of size 1 need none."""
    match = _STACK.fullmatch(file.parent.name)
    named = read_dimensions(described, int(match.group(1)) if match else -1)
    sizes = ets.sizes[2:]
    axes = tuple(named[i] if i < len(named) else Dimension("", ()) for i in range(len(sizes)))
    varying = [axis.meaning for axis, size in zip(axes, sizes, strict=True) if size > 1]
    if "" in varying or len(set(varying)) != len(varying):
        raise ImageError(f"{file.name}: {sizes} places along axes {varying}, expected depth, channels and time")
    if "c" in varying and ets.samples > 1:
        raise ImageError(f"{file.name}: several channels of {ets.samples} samples each")
    return axes


def _series(ets: EtsFile, axes: tuple[Dimension, ...]) -> Series:
    counts = {axis.meaning: size for axis, size in zip(axes, ets.sizes[2:], strict=True) if size > 1}
    order = tuple(axis.meaning if axis.meaning in counts else "" for axis in axes)
    channels = counts.get("c", ets.samples)
    return Series(
        name="",
        z=counts.get("z", 1),
        c=channels,
        t=counts.get("t", 1),
        dtype=check_sample_type(ets.path, ets.dtype),
        levels=tuple(ResolutionLevel(w, h, _reader(ets, i, order)) for i, (w, h) in enumerate(ets.levels)),
        channels=_channels(ets, axes, channels),
    )


def _channels(ets: EtsFile, axes: tuple[Dimension, ...], count: int) -> tuple[Channel, ...]:
    names: Any = next((axis.names for axis in axes if axis.meaning == "c" and len(axis.names) == count), ())
    return tuple(Channel(name) for name in names) if names and ets.samples == 1 else rgb_channels(count)


def _reader(ets: EtsFile, level: int, order: tuple[str, ...]) -> PlaneReader:
    def rows(z: int, c: int, t: int, wanted: slice) -> NDArray[Any]:
        at = {"z": z, "c": c, "t": t, "": 0}
        pixels = ets.rows(tuple(at[meaning] for meaning in order), level, wanted)
        return np.ascontiguousarray(pixels[..., c if ets.samples > 1 else 0])

    return rows
