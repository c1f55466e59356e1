"""Decode HDF5 types, dataspaces, layouts and filters of datasets and attributes to numpy arrays.

Read are integers, IEEE floats, booleans, opaque bytes, and strings of fixed or variable length; stored compactly,
contiguously or in chunks, plain or with the filters deflate, shuffle and fletcher32. All else is refused by name.
"""

from __future__ import annotations

import math
import zlib
from dataclasses import dataclass
from typing import Any

import numpy as np

from omero_pixclf.ilastik.safe_hdf5.objects import Message, read_btree_entries, slice_bytes, unpack_fields
from omero_pixclf.ilastik.safe_hdf5.source import UNDEFINED, BrokenFileError, CheckedFile
from omero_pixclf.image import Array

__all__ = ["LAYOUT", "read_attribute", "read_dataset"]

_SPACE, _TYPE, _EXTERNAL, LAYOUT, _FILTERS, _ATTRIBUTE = 0x01, 0x03, 0x07, 0x08, 0x0B, 0x0C
_DEFLATE, _SHUFFLE, _FLETCHER = 1, 2, 3
_FIXED, _FLOAT, _STRING, _OPAQUE, _ENUM, _VARIABLE = 0, 1, 3, 5, 8, 9
_FLOATS = {  # size: bit offset, precision, exponent location and size, mantissa location and size, bias
    2: (0, 16, 10, 5, 0, 10, 15),
    4: (0, 32, 23, 8, 0, 23, 127),
    8: (0, 64, 52, 11, 0, 52, 1023),
}
_CLASSES = {2: "times", 4: "bit fields", 6: "compounds", 7: "references", 10: "arrays"}


@dataclass(frozen=True)
class _Datatype:
    """How an element is stored: a numpy dtype, or text of variable length in the global heap."""

    dtype: np.dtype[Any]
    variable: bool = False


def read_dataset(source: CheckedFile, found: list[Message], largest: int) -> Array:
    """The values of a dataset, given its header's messages.

    Strings come as bytes: ``S`` of fixed length, or objects. Opaque bytes come as ``V``.

    Raises
    ------
    BrokenFileError
        It is malformed, of a type that no project has, stored outside of this file, or larger than ``largest`` bytes.
    """
    by_kind = {message.kind: message for message in found}
    if _EXTERNAL in by_kind:
        raise BrokenFileError("is stored in other files")
    if not {_SPACE, _TYPE, LAYOUT} <= set(by_kind):
        raise BrokenFileError("is not a dataset")
    kind, shape = _parse_datatype(by_kind[_TYPE].data), _parse_shape(by_kind[_SPACE].data)
    size = math.prod(shape) * kind.dtype.itemsize
    if size > largest:
        raise BrokenFileError(f"claims {size} bytes, expected at most {largest}")
    source.reserve(2 * size)
    raw = _read_stored(source, by_kind[LAYOUT], by_kind.get(_FILTERS), shape, kind.dtype.itemsize)
    return _decode_values(source, raw, kind, shape)


def read_attribute(source: CheckedFile, found: list[Message], name: str) -> Array | None:
    """The attribute of that name among an object's messages, or None."""
    for message in found:
        if message.kind == _ATTRIBUTE:
            title, kind, space, data = _split_attribute(message.data)
            if title == name:
                sort, shape = _parse_datatype(kind), _parse_shape(space)
                size = math.prod(shape) * sort.dtype.itemsize
                return _decode_values(source, slice_bytes(data, 0, size), sort, shape)
    return None


def _split_attribute(data: bytes) -> tuple[str, bytes, bytes, bytes]:
    version, flags, name, kind, space = unpack_fields(data, "BBHHH")
    if version not in (1, 2, 3) or (version > 1 and flags & 3):
        raise BrokenFileError("has an attribute of a form that is not read here")
    at = 9 if version == 3 else 8
    pieces = []
    for size in (name, kind, space):
        pieces.append(slice_bytes(data, at, size))
        at += (size + 7) // 8 * 8 if version == 1 else size
    return pieces[0].split(b"\0")[0].decode("utf-8", "replace"), pieces[1], pieces[2], data[at:]


def _parse_shape(data: bytes) -> tuple[int, ...]:
    version, rank = unpack_fields(data, "BB")
    if version not in (1, 2) or rank > 32 or (version == 2 and unpack_fields(data, "B", 3)[0] == 2):
        raise BrokenFileError("has no extents that are read here")
    shape = unpack_fields(data, f"{rank}Q", 8 if version == 1 else 4)
    if math.prod(shape) > 2**40:
        raise BrokenFileError(f"claims {math.prod(shape)} elements")
    return shape


def _parse_datatype(data: bytes) -> _Datatype:
    head, bits, size = unpack_fields(data, "BBxxI")
    sort = head & 15
    if not 1 <= size <= 2**24:
        raise BrokenFileError(f"has elements of {size} bytes")
    order = ">" if bits & 1 else "<"
    if sort == _FIXED and size in (1, 2, 4, 8) and unpack_fields(data, "HH", 8) == (0, 8 * size):
        return _Datatype(np.dtype(f"{order}{'i' if bits & 8 else 'u'}{size}"))
    if sort == _FLOAT and not bits & 0x40 and unpack_fields(data, "HHBBBBI", 8) == _FLOATS.get(size):
        return _Datatype(np.dtype(f"{order}f{size}"))
    if sort == _STRING:
        return _Datatype(np.dtype(f"S{size}"))
    if sort == _OPAQUE:
        return _Datatype(np.dtype(f"V{size}"))
    if sort == _ENUM and size == 1 and unpack_fields(data, "B", 8)[0] & 15 == _FIXED:
        return _Datatype(np.dtype(bool))
    if sort == _VARIABLE and bits & 15 == 1 and size == 16:
        return _Datatype(np.dtype("V16"), variable=True)
    raise BrokenFileError(f"holds {_CLASSES.get(sort, 'numbers or text in a form')} that no project has")


def _decode_values(source: CheckedFile, raw: bytes, kind: _Datatype, shape: tuple[int, ...]) -> Array:
    if kind.variable:
        texts = np.empty(math.prod(shape), object)
        for i in range(texts.size):
            texts[i] = _read_heap_string(source, raw[16 * i : 16 * i + 16])
        return texts.reshape(shape)
    if kind.dtype.kind == "b":
        return np.asarray(np.frombuffer(raw, np.uint8) != 0).reshape(shape)
    values = np.frombuffer(raw, kind.dtype).reshape(shape)
    return np.asarray(values.astype(kind.dtype.newbyteorder("=")))


def _read_heap_string(source: CheckedFile, reference: bytes) -> bytes:
    """A string of variable length, out of a global heap collection."""
    length, collection, wanted = unpack_fields(reference, "IQI")
    if length == 0:
        return b""
    source.reserve(length)
    if source.read(collection, 4) != b"GCOL":
        raise BrokenFileError("has text that is not there")
    (size,) = source.unpack("Q", collection + 8)
    at, end = collection + 16, min(collection + size, source.size)
    while at + 16 <= end:
        index, _, _, own = source.unpack("HHIQ", at)
        if index == wanted:
            return source.read(at + 16, min(length, own))
        if index == 0:
            break
        at += 16 + (own + 7) // 8 * 8
    raise BrokenFileError("has text that is not there")


def _read_stored(
    source: CheckedFile, layout: Message, filters: Message | None, shape: tuple[int, ...], item: int
) -> bytes:
    size = math.prod(shape) * item
    version, sort = layout.unpack("BB")
    if version not in (3, 4) or (version == 4 and sort == 2):
        raise BrokenFileError(f"has a storage layout of version {version}, which ilastik does not write")
    if sort == 0:
        return slice_bytes(layout.data, 4, size)
    if sort == 1:
        address, length = layout.unpack("QQ", 2)
        if size and (address == UNDEFINED or length < size):
            raise BrokenFileError("has extents but no data")
        return source.read(address, size) if size else b""
    if sort != 2:
        raise BrokenFileError("is a virtual dataset; only what lies in the file itself is read")
    return _read_chunks(source, layout, _parse_filters(filters), shape, item)


def _parse_filters(message: Message | None) -> list[int]:
    """The filters' identities, in the order in which they were applied."""
    if message is None:
        return []
    version, count = message.unpack("BB")
    at, found = (8 if version == 1 else 2), []
    for _ in range(count):
        (identity,) = message.unpack("H", at)
        named = version == 1 or identity >= 256
        title = message.unpack("H", at + 2)[0] if named else 0
        _, values = message.unpack("HH", at + (4 if named else 2))
        at += (8 if named else 6) + ((title + 7) // 8 * 8 if version == 1 else title) + 4 * values
        at += 4 if version == 1 and values % 2 else 0
        found.append(identity)
    unknown = [f for f in found if f not in (_DEFLATE, _SHUFFLE, _FLETCHER)]
    if unknown or len(found) > 8:
        raise BrokenFileError(f"is stored with the filter {unknown[:1]}, which is not read here")
    return found


def _read_chunks(source: CheckedFile, layout: Message, pipeline: list[int], shape: tuple[int, ...], item: int) -> bytes:
    dims = layout.unpack("B", 2)[0]
    tree, *chunk = layout.unpack(f"Q{dims}I", 3)
    if dims != len(shape) + 1 or chunk.pop() != item or not all(chunk):
        raise BrokenFileError("has chunks that do not fit its extents")
    length = math.prod(chunk) * item
    whole = np.zeros(shape, f"V{item}")
    if length > 4 * max(whole.nbytes, 2**20):
        raise BrokenFileError(f"has chunks of {length} bytes for {whole.nbytes} bytes of data")
    expected = math.prod(-(-n // c) for n, c in zip(shape, chunk, strict=True))
    seen = set()
    if tree == UNDEFINED and expected:
        raise BrokenFileError("has extents but no data")
    for key, address in read_btree_entries(source, tree, kind=1, key=8 + 8 * dims) if expected else ():
        stored, skipped, *at = unpack_fields(key, f"II{dims - 1}Q")
        if any(a % c or a >= n for a, c, n in zip(at, chunk, shape, strict=True)) or tuple(at) in seen:
            raise BrokenFileError("has a chunk outside of its extents, or twice")
        seen.add(tuple(at))
        source.reserve(length)
        data = _undo_filters(source.read(address, stored), [] if skipped else pipeline, length, item)
        block = np.frombuffer(data, f"V{item}").reshape(chunk)
        box = tuple(slice(a, min(a + c, n)) for a, c, n in zip(at, chunk, shape, strict=True))
        whole[box] = block[tuple(slice(0, b.stop - b.start) for b in box)]
    if len(seen) != expected:
        raise BrokenFileError(f"has {len(seen)} of {expected} chunks")
    return whole.tobytes()


def _undo_filters(data: bytes, pipeline: list[int], length: int, item: int) -> bytes:
    for identity in reversed(pipeline):
        if identity == _DEFLATE:
            data = _inflate(data, length + 4)
        elif identity == _FLETCHER:
            data = data[:-4]
        else:
            full = len(data) // item * item
            data = np.frombuffer(data[:full], np.uint8).reshape(item, -1).T.tobytes() + data[full:]
    if len(data) != length:
        raise BrokenFileError(f"has a chunk of {len(data)} bytes, expected {length}")
    return data


def _inflate(data: bytes, most: int) -> bytes:
    try:
        return zlib.decompressobj().decompress(data, most)
    except zlib.error as problem:
        raise BrokenFileError(f"has a chunk that cannot be decompressed ({problem})") from problem
