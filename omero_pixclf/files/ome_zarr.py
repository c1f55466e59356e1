"""OME-Zarr: stores of version 2 and 3 read through zarr, single-scale version 0.4 written chunk by chunk."""

from __future__ import annotations

import itertools
import json
import lzma
import zlib
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from omero_pixclf import __version__
from omero_pixclf.errors import ImageError, OutputError
from omero_pixclf.files.atomic import replacing
from omero_pixclf.files.axes import Axes, Axis, axes_of, axistags_json, guess_keys
from omero_pixclf.files.chunks import near_cube, waiting_bytes
from omero_pixclf.files.references import resolve_reference
from omero_pixclf.files.stored import StoredArray
from omero_pixclf.files.target import Target, Write
from omero_pixclf.image import AXES
from omero_pixclf.validation import parse_json

__all__ = ["group_attributes", "level_names", "open_zarr", "write_zarr", "zarr_waiting"]

_CHUNK_BYTES = 1_024_000.0
_ARRAY = "s0"
_TYPES = {"t": "time", "c": "channel", "z": "space", "y": "space", "x": "space"}


@contextmanager
def open_zarr(path: Path, inside: str | None) -> Iterator[StoredArray]:
    """The full-resolution array of an OME-Zarr image, or the array named ``inside``; plain Zarr arrays as well.

    Raises
    ------
    ImageError
        Where there is no such array, or it cannot be read.
    """
    import zarr

    group, spec, name = _locate(path, inside)
    try:
        array: Any = zarr.open_array(str(group / name) if name else str(group), mode="r")
    except (OSError, ValueError, KeyError, TypeError, RuntimeError, _metadata_error()) as error:
        raise ImageError(f"{path}: no readable Zarr array {name!r}: {error}") from error
    shape, dtype = tuple(array.shape), np.dtype(array.dtype)
    if not 2 <= len(shape) <= 5 or 0 in shape or dtype.kind not in "uifb":
        raise ImageError(f"{path}/{name}: {dtype} of shape {shape}; expected numbers in 2 to 5 dimensions")
    axes, channels = _axes(spec, name, len(shape)), _channels(group)
    yield StoredArray(
        name=str(path) if inside is None else f"{path}/{inside}",
        shape=shape,
        dtype=dtype.newbyteorder("="),
        axes=axes if axes is not None else axes_of(guess_keys(shape)),
        read=lambda slices: _read(path, array, dtype, slices),
        channels=channels,
    )


def level_names(path: Path) -> tuple[str, ...]:
    """Names of the arrays that are an image's resolutions, the largest first; an empty one where the store is an array.

    Raises
    ------
    ImageError
        Where there is no store.
    """
    group, spec, name = _locate(path, None)
    if spec is None:
        return (name,)
    found = (resolve_reference(group, entry["path"], within=path) for entry in spec["datasets"])
    return tuple(level.relative_to(path).as_posix() for level in found)


def _metadata_error() -> type[Exception]:
    """What zarr 2 raises over broken metadata; zarr 3 raises errors that Python knows."""
    import zarr.errors

    found: type[Exception] = getattr(zarr.errors, "MetadataError", ValueError)
    return found


def _read(path: Path, array: Any, dtype: np.dtype[Any], slices: tuple[slice, ...]) -> NDArray[Any]:
    try:
        return np.asarray(array[slices], dtype.newbyteorder("="))
    except (OSError, ValueError, RuntimeError, TypeError, KeyError, zlib.error, lzma.LZMAError) as error:
        raise ImageError(f"{path}: pixels cannot be read: {error}") from error


def _locate(path: Path, inside: str | None) -> tuple[Path, Mapping[str, Any] | None, str]:
    """The group that describes the image, its ``multiscales`` entry and the array's name in that group."""
    parts = inside.split("/") if inside else []
    for depth in range(len(parts), -1, -1):
        group = path.joinpath(*parts[:depth])
        spec = _multiscale(group)
        if spec is not None:
            return group, spec, "/".join(parts[depth:]) or _full_resolution(path, group, spec)
    if not parts and group_attributes(path).get("bioformats2raw.layout") is not None:
        return _locate(path, "0")
    if not path.is_dir():
        raise ImageError(f"{path}: no such store")
    return path, None, inside or ""


def _full_resolution(store: Path, group: Path, spec: Mapping[str, Any]) -> str:
    """The name of the largest array in its group."""
    name = str(spec["datasets"][0]["path"])
    resolve_reference(group, name, within=store, source=group)
    return name


def group_attributes(group: Path) -> Mapping[str, Any]:
    """The attributes of a group of either version; those of OME in version 3 without their envelope."""
    for name in (".zattrs", "zarr.json"):
        file = group / name
        if not file.is_file():
            continue
        try:
            found = parse_json(file.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise ImageError(f"{file}: not readable: {error}") from error
        if name == "zarr.json":
            outer = found.get("attributes", {}) if isinstance(found, dict) else {}
            found = {**outer, **outer.get("ome", {})}
        return found if isinstance(found, dict) else {}
    return {}


def _multiscale(group: Path) -> Mapping[str, Any] | None:
    entries = group_attributes(group).get("multiscales")
    if not isinstance(entries, list) or not entries or not isinstance(entries[0], dict):
        return None
    datasets = entries[0].get("datasets")
    if not isinstance(datasets, list) or not datasets or not all(isinstance(d, dict) and "path" in d for d in datasets):
        raise ImageError(f"{group}: its multiscales metadata names no datasets")
    return entries[0]


def _axes(spec: Mapping[str, Any] | None, name: str, count: int) -> Axes | None:
    """The axes of a multiscales entry with the pixel size of one of its arrays; None where it does not fit."""
    if spec is None:
        return None
    entries = [{"name": a} if isinstance(a, str) else a for a in spec.get("axes", "tczyx")]
    keys = [str(a.get("name", "")) for a in entries]
    if len(keys) != count or set(keys) - set(AXES) or len(set(keys)) != count:
        return None
    scales = [_scale(spec, count), _scale(next((d for d in spec["datasets"] if d["path"] == name), {}), count)]
    known = any(s is not None for s in scales)
    sizes = np.prod([s if s is not None else np.ones(count) for s in scales], axis=0)
    return tuple(
        Axis(k, float(size) if known and e.get("unit") else 0.0, str(e.get("unit", "")))
        for k, e, size in zip(keys, entries, sizes, strict=True)
    )


def _scale(entry: Mapping[str, Any], count: int) -> NDArray[Any] | None:
    for step in entry.get("coordinateTransformations") or ():
        if isinstance(step, dict) and step.get("type") == "scale" and len(step.get("scale") or ()) == count:
            return np.asarray(step["scale"], dtype=float)
    return None


def _channels(group: Path) -> tuple[str, ...]:
    """Names of channels in the ``omero`` part of the metadata."""
    omero = group_attributes(group).get("omero")
    channels = omero.get("channels") if isinstance(omero, dict) else None
    return tuple(str(c.get("label", "")) for c in channels if isinstance(c, dict)) if isinstance(channels, list) else ()


@contextmanager
def write_zarr(path: Path, target: Target) -> Iterator[Write]:
    """Write a single-scale OME-Zarr 0.4 with the array ``s0``; the target's axes are ``tczyx``.

    Raises
    ------
    OutputError
        Where it cannot be written, or the name is taken (as ilastik, nothing is overwritten).
    """
    if path.exists():
        raise OutputError(f"{path}: is there already; a Zarr store is not overwritten")
    with replacing(path) as part:
        array = part / _ARRAY
        array.mkdir(parents=True)
        chunks = _Chunks(array, target)
        (array / ".zarray").write_text(json.dumps(chunks.description(), indent=4), encoding="utf-8")
        yield chunks.write
        chunks.flush()
        _dump(array / ".zattrs", _array_attributes(target))
        _dump(part / ".zgroup", {"zarr_format": 2})
        _dump(part / ".zattrs", _image_attributes(target))


def _dump(path: Path, content: Any) -> None:
    path.write_text(json.dumps(content, indent=4), encoding="utf-8")


def zarr_waiting(target: Target) -> int:
    """Bytes that writing the target may hold back."""
    return waiting_bytes(target, _chunk_shape(target))


def _chunk_shape(target: Target) -> tuple[int, ...]:
    limits = [1 if k in "tc" else n for k, n in zip(target.keys, target.shape, strict=True)]
    return near_cube(limits, _CHUNK_BYTES / target.dtype.itemsize)


class _Chunks:
    """Collects blocks into chunks; a chunk is compressed and written when it is full, or when memory runs short."""

    def __init__(self, folder: Path, target: Target) -> None:
        from numcodecs import Blosc  # type: ignore[import-untyped]

        self.folder = folder
        self.target = target
        self.shape = _chunk_shape(target)
        self.room = waiting_bytes(target, self.shape)
        self.codec = Blosc(cname="lz4", clevel=5, shuffle=Blosc.SHUFFLE)
        self.waiting: OrderedDict[tuple[int, ...], tuple[NDArray[Any], int]] = OrderedDict()

    def description(self) -> dict[str, Any]:
        """The ``.zarray`` of the store."""
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
        """Take a block; blocks do not overlap."""
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
        chunk, missing = self.waiting.pop(index) if index in self.waiting else self._begun(index)
        chunk[to] = pixels
        missing -= pixels.size
        if missing <= 0:
            self._save(index, chunk)
            return
        self.waiting[index] = (chunk, missing)
        while len(self.waiting) * chunk.nbytes > self.room and len(self.waiting) > 1:
            oldest, (early, _) = self.waiting.popitem(last=False)
            self._save(oldest, early)

    def _begun(self, index: Sequence[int]) -> tuple[NDArray[Any], int]:
        """A chunk that was put aside before it was full, or a new one, and how many pixels it still lacks at most."""
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
        """Write what is still waiting."""
        while self.waiting:
            index, (chunk, _) = self.waiting.popitem(last=False)
            self._save(index, chunk)


def _array_attributes(target: Target) -> dict[str, Any]:
    units = {a.key: a.unit for a in target.axes}
    found: dict[str, Any] = {"axistags": axistags_json(target.axes)}
    if any(units.values()):
        found["axis_units"] = units
    found["display_mode"] = target.display_mode
    if target.drange is not None:
        found["drange"] = np.asarray(target.drange).tolist()
    return found


def _image_attributes(target: Target) -> dict[str, Any]:
    """The multiscales metadata of OME-Zarr 0.4: pixel size and, for a part of an image, where it was cut out."""
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
    return {"_creator": {"name": "omero_pixclf", "version": __version__}, "multiscales": [entry]}
