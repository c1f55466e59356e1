"""Single-scale OME-Zarr 0.4 images, written chunk by chunk with bounded memory."""

from __future__ import annotations

import itertools
import json
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from omero_pixclf import __version__
from omero_pixclf.errors import OutputError
from omero_pixclf.files.atomic import write_atomically
from omero_pixclf.files.axes import format_axistags
from omero_pixclf.files.export.chunks import chunk_buffer_bytes, near_cubic_chunks
from omero_pixclf.files.export.output_array import OutputArray, WriteBlock

__all__ = ["write_zarr", "zarr_buffer_bytes"]

_CHUNK_BYTES = 1_024_000.0
_ARRAY = "s0"
_WHITE = (255, 255, 255)
_TYPES = {"t": "time", "c": "channel", "z": "space", "y": "space", "x": "space"}


@contextmanager
def write_zarr(path: Path, target: OutputArray) -> Iterator[WriteBlock]:
    """Write a single-scale OME-Zarr 0.4 with the array ``s0``; the target's axes are ``tczyx``.

    Raises
    ------
    OutputError
        If it cannot be written, or exists already (as in ilastik, nothing is overwritten).
    """
    if path.exists():
        raise OutputError(f"{path}: exists already; a Zarr store is not overwritten; remove it or choose another name")
    with write_atomically(path) as part:
        array = part / _ARRAY
        array.mkdir(parents=True)
        chunks = _ChunkWriter(array, target)
        (array / ".zarray").write_text(json.dumps(chunks.description(), indent=4), encoding="utf-8")
        yield chunks.write
        chunks.flush()
        _write_json(array / ".zattrs", _array_attributes(target))
        _write_json(part / ".zgroup", {"zarr_format": 2})
        _write_json(part / ".zattrs", _image_attributes(target))


def _write_json(path: Path, content: Any) -> None:
    path.write_text(json.dumps(content, indent=4), encoding="utf-8")


def zarr_buffer_bytes(target: OutputArray) -> int:
    """Return the memory in bytes for chunks that are not complete yet."""
    return chunk_buffer_bytes(target, _chunk_shape(target))


def _chunk_shape(target: OutputArray) -> tuple[int, ...]:
    limits = [1 if k in "tc" else n for k, n in zip(target.keys, target.shape, strict=True)]
    return near_cubic_chunks(limits, _CHUNK_BYTES / target.dtype.itemsize)


class _ChunkWriter:
    """Collects blocks into chunks; a chunk is compressed and written when it is complete or the buffer is full."""

    def __init__(self, folder: Path, target: OutputArray) -> None:
        from numcodecs import Blosc  # type: ignore[import-untyped]

        self.folder = folder
        self.target = target
        self.shape = _chunk_shape(target)
        self.buffer_bytes = chunk_buffer_bytes(target, self.shape)
        self.codec = Blosc(cname="lz4", clevel=5, shuffle=Blosc.SHUFFLE)
        self.incomplete: OrderedDict[tuple[int, ...], tuple[NDArray[Any], int]] = OrderedDict()

    def description(self) -> dict[str, Any]:
        """Return the content of ``.zarray``."""
        return {
            "zarr_format": 2,
            "shape": list(self.target.shape),
            "chunks": list(self.shape),
            "dtype": self.target.dtype.newbyteorder("<").str,
            "compressor": self.codec.get_config(),
            "fill_value": 0,
            "order": "C",
            "filters": None,
            "dimension_separator": "/",
        }

    def write(self, slices: tuple[slice, ...], block: NDArray[Any]) -> None:
        """Write a block; blocks must not overlap."""
        spans = [range(s.start // n, -(-s.stop // n)) for s, n in zip(slices, self.shape, strict=True)]
        for index in itertools.product(*spans):
            origin = [i * n for i, n in zip(index, self.shape, strict=True)]
            inner = [
                slice(max(s.start, o), min(s.stop, o + n)) for s, o, n in zip(slices, origin, self.shape, strict=True)
            ]
            of = tuple(slice(i.start - s.start, i.stop - s.start) for i, s in zip(inner, slices, strict=True))
            to = tuple(slice(i.start - o, i.stop - o) for i, o in zip(inner, origin, strict=True))
            self._fill(index, to, block[of])

    def _fill(self, index: tuple[int, ...], to: tuple[slice, ...], pixels: NDArray[Any]) -> None:
        chunk, missing = self.incomplete.pop(index) if index in self.incomplete else self._load_or_create(index)
        chunk[to] = pixels
        missing -= pixels.size
        if missing <= 0:
            self._save(index, chunk)
            return
        self.incomplete[index] = (chunk, missing)
        while len(self.incomplete) * chunk.nbytes > self.buffer_bytes and len(self.incomplete) > 1:
            oldest, (early, _) = self.incomplete.popitem(last=False)
            self._save(oldest, early)

    def _load_or_create(self, index: Sequence[int]) -> tuple[NDArray[Any], int]:
        """Return a chunk that was written incomplete, or a new one, and the largest number of missing pixels."""
        inside = [min(n, t - i * n) for i, n, t in zip(index, self.shape, self.target.shape, strict=True)]
        chunk = np.zeros(self.shape, self.target.dtype.newbyteorder("<"))
        file = self._file(index)
        if file.exists():
            chunk.reshape(-1).view(np.uint8)[:] = np.frombuffer(self.codec.decode(file.read_bytes()), np.uint8)
        return chunk, int(np.prod(inside))

    def _save(self, index: Sequence[int], chunk: NDArray[Any]) -> None:
        file = self._file(index)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(self.codec.encode(chunk))

    def _file(self, index: Sequence[int]) -> Path:
        return self.folder.joinpath(*map(str, index))

    def flush(self) -> None:
        """Write all incomplete chunks."""
        while self.incomplete:
            index, (chunk, _) = self.incomplete.popitem(last=False)
            self._save(index, chunk)


def _array_attributes(target: OutputArray) -> dict[str, Any]:
    units = {a.key: a.unit for a in target.axes}
    found: dict[str, Any] = {"axistags": format_axistags(target.axes)}
    if any(units.values()):
        found["axis_units"] = units
    found["display_mode"] = target.display_mode
    if target.drange is not None:
        found["drange"] = np.asarray(target.drange).tolist()
    return found


def _image_attributes(target: OutputArray) -> dict[str, Any]:
    """Return the attributes of the image: pixel size and, for a cutout, its position in the image."""
    ones = [1.0] * len(target.axes)
    sizes = [a.resolution or 1.0 for a in target.axes]
    shift = [o * s for o, s in zip(target.start, sizes, strict=True)]
    entry: dict[str, Any] = {
        "axes": [{"name": a.key, "type": _TYPES[a.key], **({"unit": a.unit} if a.unit else {})} for a in target.axes],
        "datasets": [{"path": _ARRAY, "coordinateTransformations": [{"type": "scale", "scale": ones}]}],
        "version": "0.4",
    }
    steps: list[dict[str, Any]] = []
    if any(s != 1 for s in sizes) or any(shift):
        steps.append({"type": "scale", "scale": sizes})
    if any(shift):
        steps.append({"type": "translation", "translation": shift})
    if steps:
        entry["coordinateTransformations"] = steps
    creator = {"name": "omero_pixclf", "version": __version__}
    return {"_creator": creator, "multiscales": [entry], **_omero(target), **_image_label(target)}


def _omero(target: OutputArray) -> dict[str, Any]:
    """Return names, colours and ranges of the channels for viewers; empty if the channels have no names."""
    if len(target.channels) != target.channel_count or not any(target.channels):
        return {}
    colors = target.colors if len(target.colors) == len(target.channels) else (_WHITE,) * len(target.channels)
    low, high = target.drange or (0, 1 if target.dtype.kind == "f" else np.iinfo(target.dtype).max)
    window = {"min": float(low), "max": float(high), "start": float(low), "end": float(high)}
    channels = [
        {"label": name, "color": "{:02X}{:02X}{:02X}".format(*color), "active": True, "window": window}
        for name, color in zip(target.channels, colors, strict=True)
    ]
    return {"omero": {"version": "0.4", "channels": channels}}


def _image_label(target: OutputArray) -> dict[str, Any]:
    """Return the attributes of a label image: colours and classes of its values, if known."""
    if target.labels is None:
        return {}
    found: dict[str, Any] = {"version": "0.4"}
    if target.labels:
        found["colors"] = [{"label-value": one.value, "rgba": [*one.color, 255]} for one in target.labels]
        found["properties"] = [{"label-value": one.value, "class": one.name} for one in target.labels]
    return {"image-label": found}
