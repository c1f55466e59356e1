"""Uncompressed TIFF and OME-TIFF files, written block by block."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from omero_pixclf.errors import OutputError
from omero_pixclf.files.atomic import write_atomically
from omero_pixclf.files.axes import Axis
from omero_pixclf.files.contiguous import write_contiguous
from omero_pixclf.files.export.output_array import OutputArray, WriteBlock

__all__ = ["write_ome_tiff", "write_plane_tiff"]

_BIG = (4 << 30) - (64 << 20)  # above this, offsets need 64 bits
_OME = {"x": "PhysicalSizeX", "y": "PhysicalSizeY", "z": "PhysicalSizeZ", "t": "TimeIncrement"}
_UNITS = {"micron": "µm", "microns": "µm", "um": "µm", "micrometer": "µm", "nanometer": "nm", "millimeter": "mm"}
_OME_TYPES = {"uint8", "uint16", "uint32", "int8", "int16", "int32", "float32", "float64"}


@contextmanager
def write_ome_tiff(path: Path, target: OutputArray) -> Iterator[WriteBlock]:
    """Write an OME-TIFF with one uncompressed page per ``t``, ``z`` and ``c``; the target's axes are ``tzcyx``.

    Raises
    ------
    OutputError
        If it cannot be written, or OME-TIFF does not have the type.
    """
    if target.dtype.name not in _OME_TYPES:
        raise OutputError(f"{path}: OME-TIFF has no type {target.dtype}; choose another with --export_dtype")
    pixels: dict[str, Any] = {}
    for axis in target.axes:
        pixels.update(_physical_size(axis))
    metadata: dict[str, Any] = {"axes": target.keys.upper(), "Pixels": pixels}
    if target.channels:
        metadata["Channel"] = {"Name": list(target.channels)}
    with _write_contiguous(path, target, ome=True, metadata=metadata, photometric="minisblack") as write:
        yield write


def _physical_size(axis: Axis) -> dict[str, Any]:
    if axis.key not in _OME or not axis.resolution:
        return {}
    name = _OME[axis.key]
    unit = {f"{name}Unit": _UNITS.get(axis.unit, axis.unit)} if axis.unit else {}
    return {name: axis.resolution, **unit}


@contextmanager
def write_plane_tiff(path: Path, target: OutputArray) -> Iterator[WriteBlock]:
    """Write a single ``yx`` or ``yxc`` plane, channels interleaved, uncompressed.

    Raises
    ------
    OutputError
        If it cannot be written.
    """
    samples = target.shape[2] if len(target.shape) == 3 else 1
    layout: dict[str, Any] = {"photometric": "rgb" if samples == 3 else "minisblack", "metadata": None}
    if samples > 1:
        layout["planarconfig"] = "contig"
    with _write_contiguous(path, target, **layout) as write:
        yield write


@contextmanager
def _write_contiguous(path: Path, target: OutputArray, *, ome: bool = False, **layout: Any) -> Iterator[WriteBlock]:
    """Write a TIFF with contiguous pixels: first the empty file, then the blocks at their positions."""
    import tifffile

    with write_atomically(path) as part:
        with tifffile.TiffWriter(part, byteorder="<", ome=ome, bigtiff=target.nbytes > _BIG) as tiff:
            dtype = target.dtype.newbyteorder("<")
            place = tiff.write(
                None, shape=target.shape, dtype=dtype, software="omero_pixclf", returnoffset=True, **layout
            )
        if place is None:
            raise OutputError(f"{path}: tifffile did not store the pixels contiguously")
        offset = place[0]
        with part.open("r+b") as file:

            def write(slices: tuple[slice, ...], block: Any) -> None:
                write_contiguous(file.fileno(), offset, target.shape, slices, np.asarray(block, dtype))

            yield write
