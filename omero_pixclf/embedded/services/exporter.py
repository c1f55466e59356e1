"""Exporter: export of an image as OME-TIFF or OME-XML."""
# ruff: noqa: D102 - the operations are OMERO's and documented there

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import omero.api
import tifffile
from numpy.typing import NDArray

from omero_pixclf.embedded.database.fetching import readable_ids
from omero_pixclf.embedded.images.pixel_buffer import PixelBuffer
from omero_pixclf.embedded.images.resolutions import open_pixels
from omero_pixclf.embedded.server.exceptions import api_usage_error
from omero_pixclf.embedded.server.request_context import RequestContext
from omero_pixclf.embedded.server.servant import OmeroService
from omero_pixclf.embedded.storage.data_paths import read_at, require_space

__all__ = ["Exporter"]

_MOST = 1 << 32  # maximum bytes of a classic TIFF
_LENGTH = {"MICROMETER": "µm", "NANOMETER": "nm", "MILLIMETER": "mm", "METER": "m", "PIXEL": "pixel"}


class Exporter(OmeroService):
    """omero.api.Exporter."""

    interface = omero.api.Exporter
    stateful = True

    def __init__(self, server: Any, session: Any) -> None:
        super().__init__(server, session)
        self._images: list[int] = []
        self._path: Path | None = None

    def addImage(self, call: RequestContext, ident: int) -> None:
        if self._path is not None:
            raise api_usage_error("Cannot add image while in output")
        if not readable_ids(call, "Image", [ident]):
            raise api_usage_error(f"No image with ID {ident}")
        self._images.append(ident)

    def generateTiff(self, call: RequestContext) -> int:
        pixels = self._one_image(call)
        buffer = open_pixels(call, pixels)
        try:
            folder = call.folder / "tmp"
            folder.mkdir(exist_ok=True)
            require_space(folder, buffer.layout.total_size)
            handle, name = tempfile.mkstemp(suffix=".ome.tiff", dir=folder)
            os.close(handle)
            self._forget()
            self._path = Path(name)
            _write_tiff(self._path, buffer, _metadata(call, pixels))
        finally:
            buffer.close()
        return self._path.stat().st_size

    def generateXml(self, call: RequestContext) -> int:
        pixels = self._one_image(call)
        buffer = open_pixels(call, pixels)
        made = tifffile.OmeXml()
        metadata = _metadata(call, pixels)
        layout = buffer.layout
        shape = (layout.t, layout.c, layout.z, layout.y, layout.x)
        planes = layout.t * layout.c * layout.z
        stored = (planes, 1, 1, layout.y, layout.x, 1)
        made.addimage(layout.dtype.newbyteorder("="), shape, stored, axes="TCZYX", **metadata)
        folder = call.folder / "tmp"
        folder.mkdir(exist_ok=True)
        handle, name = tempfile.mkstemp(suffix=".ome.xml", dir=folder)
        os.close(handle)
        self._forget()
        self._path = Path(name)
        self._path.write_text(made.tostring(), encoding="utf-8")
        return self._path.stat().st_size

    def read(self, call: RequestContext, position: int, size: int) -> bytes:
        if self._path is None:
            raise api_usage_error("Call a generate method first")
        there = self._path.stat().st_size
        if not 0 <= position <= there or size < 0:
            raise api_usage_error(f"{size} bytes at {position} of {there}")
        with self._path.open("rb") as source:
            return read_at(source.fileno(), min(size, there - position), position)

    def _one_image(self, call: RequestContext) -> int:
        if len(self._images) != 1:
            raise api_usage_error(f"one image is wanted, {len(self._images)} were added")
        row = call.tx.one("SELECT id FROM pixels WHERE image = ? ORDER BY image_index, id", (self._images[0],))
        if row is None:
            raise api_usage_error(f"image {self._images[0]} has no pixels")
        return int(row[0])

    def _forget(self) -> None:
        if self._path is not None:
            self._path.unlink(missing_ok=True)
            self._path = None

    def release(self) -> None:
        self._forget()


def _metadata(call: RequestContext, pixels: int) -> dict[str, Any]:
    """Return name, pixel sizes and channel names in tifffile's form."""
    image = call.tx.one("SELECT i.name FROM image i JOIN pixels p ON p.image = i.id WHERE p.id = ?", (pixels,))
    sizes = call.tx.one(
        "SELECT physicalSizeX, physicalSizeX_unit, physicalSizeY, physicalSizeY_unit, physicalSizeZ, "
        "physicalSizeZ_unit FROM pixels WHERE id = ?",
        (pixels,),
    )
    found: dict[str, Any] = {"Name": image[0]}
    for axis, (size, unit) in zip("XYZ", (sizes[0:2], sizes[2:4], sizes[4:6]), strict=True):
        if size is not None and unit in _LENGTH:
            found[f"PhysicalSize{axis}"], found[f"PhysicalSize{axis}Unit"] = size, _LENGTH[unit]
    names = call.tx.all(
        "SELECT l.name FROM channel c JOIN logicalchannel l ON l.id = c.logicalChannel WHERE c.pixels = ? "
        "ORDER BY c.pixels_index",
        (pixels,),
    )
    return {**found, "Channel": {"Name": [row[0] or str(i) for i, row in enumerate(names)]}}


def _write_tiff(path: Path, buffer: PixelBuffer, metadata: dict[str, Any]) -> None:
    """Write all planes in the order TCZYX, one at a time."""
    layout = buffer.layout

    def planes() -> Iterator[NDArray[Any]]:
        for t in range(layout.t):
            for c in range(layout.c):
                for z in range(layout.z):
                    yield np.ascontiguousarray(buffer.plane_array(z, c, t), layout.dtype.newbyteorder("="))

    tifffile.imwrite(
        path,
        planes(),
        shape=(layout.t, layout.c, layout.z, layout.y, layout.x),
        dtype=layout.dtype.newbyteorder("="),
        ome=True,
        bigtiff=layout.total_size > _MOST - (1 << 25),
        photometric="minisblack",
        metadata={"axes": "TCZYX", **metadata},
    )
