"""Compare two result files: names, shapes, types, attributes, pixels."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from omero_pixclf.files.axes import axis_keys
from omero_pixclf.files.opening import open_stored
from omero_pixclf.files.paths import DataPath, split_path
from omero_pixclf.files.stored_array import StoredArray
from omero_pixclf.text import parse_json

__all__ = ["MetadataDifference", "PixelDifference", "compare_metadata", "compare_pixels"]

_SLAB_BYTES = 64 << 20


@dataclass(frozen=True)
class MetadataDifference:
    """A property that differs between two files; None if a file does not have it."""

    fact: str
    ours: Any
    theirs: Any


@dataclass(frozen=True)
class PixelDifference:
    """The difference between the pixels of two files.

    Attributes
    ----------
    largest
        The largest absolute difference. NaN in both files counts as equal, NaN in one as infinite.
    differing, total
        Numbers of values.
    """

    largest: float
    differing: int
    total: int


def compare_metadata(ours: str | DataPath, theirs: str | DataPath) -> list[MetadataDifference]:
    """Return all differences except those of pixels: axes, shape, type, and attributes of HDF5 arrays.

    Raises
    ------
    ImageError
        If a file cannot be read.
    """
    a, b = _read_metadata(ours), _read_metadata(theirs)
    return [MetadataDifference(k, a.get(k), b.get(k)) for k in sorted({*a, *b}) if a.get(k) != b.get(k)]


def _read_metadata(path: str | DataPath) -> dict[str, Any]:
    with open_stored(str(path)) as stored:
        facts: dict[str, Any] = {"axes": axis_keys(stored.axes), "shape": stored.shape, "dtype": stored.dtype.name}
    data = path if isinstance(path, DataPath) else split_path(path)
    return {**facts, **(_attributes(data) if data.kind == ".h5" else {})}


def _attributes(data: DataPath) -> dict[str, Any]:
    """Return the attributes with their types; axistags without insignificant white space."""
    import h5py

    with h5py.File(data.file, "r") as file:
        item = file[data.inside] if data.inside else file[next(iter(file))]
        found = {f"attribute {k}": _to_plain_value(v) for k, v in item.attrs.items()}
        found["chunks"], found["compression"] = item.chunks, (item.compression, item.compression_opts)
    tags = found.get("attribute axistags")
    if isinstance(tags, str):
        found["attribute axistags"] = json.dumps(parse_json(tags))
    return found


def _to_plain_value(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return (value.dtype.name, tuple(value.tolist()))
    return value.decode() if isinstance(value, bytes) else value


def compare_pixels(ours: str | DataPath, theirs: str | DataPath) -> PixelDifference | None:
    """Compare the pixels slab by slab; returns None if the shapes differ.

    Raises
    ------
    ImageError
        If a file cannot be read.
    """
    with open_stored(str(ours)) as a, open_stored(str(theirs)) as b:
        if a.shape != b.shape:
            return None
        largest, differing, total = 0.0, 0, 0
        for slices in _slabs(a):
            gap = _absolute_difference(a.read(slices), b.read(slices))
            largest = max(largest, float(gap.max()))
            differing += int(np.count_nonzero(gap))
            total += gap.size
        return PixelDifference(largest, differing, total)


def _absolute_difference(a: NDArray[Any], b: NDArray[Any]) -> NDArray[Any]:
    gap = np.abs(a.astype(np.float64) - b.astype(np.float64))
    both = (a == b) | (np.isnan(gap) & (a != a) & (b != b))
    return np.where(both, 0.0, np.where(np.isnan(gap), np.inf, gap))


def _slabs(array: StoredArray) -> Iterator[tuple[slice, ...]]:
    """Yield slices along the longest axis that cover the whole array."""
    axis = int(np.argmax(array.shape))
    thick = array.dtype.itemsize * int(np.prod(array.shape, dtype=np.int64)) // array.shape[axis]
    step = max(1, _SLAB_BYTES // max(1, thick))
    for start in range(0, array.shape[axis], step):
        part = slice(start, min(start + step, array.shape[axis]))
        yield tuple(part if i == axis else slice(0, n) for i, n in enumerate(array.shape))
