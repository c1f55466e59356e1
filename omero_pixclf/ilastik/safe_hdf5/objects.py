"""Parse HDF5 object headers, messages and group links (HDF5 File Format Specification, version 3).

Read are superblocks 0 to 3, both kinds of object headers, groups as symbol tables, as link messages and as dense links.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

from omero_pixclf.ilastik.safe_hdf5.source import UNDEFINED, BrokenFileError, CheckedFile

__all__ = [
    "Message",
    "read_btree_entries",
    "read_links",
    "read_messages",
    "read_root_address",
    "slice_bytes",
    "unpack_fields",
]

_SIGNATURE = b"\x89HDF\r\n\x1a\n"
_MAX_MESSAGES, _MAX_LINKS, _MAX_DEPTH = 1000, 100_000, 16
_LINK_INFO, _LINK, _CONTINUATION, _SYMBOL_TABLE = 0x02, 0x06, 0x10, 0x11


@dataclass(frozen=True)
class Message:
    """A message of an object's header: its type, and its bytes."""

    kind: int
    data: bytes

    def unpack(self, form: str, offset: int = 0) -> tuple[int, ...]:
        """Little-endian numbers at an offset of the message."""
        return unpack_fields(self.data, form, offset)


def unpack_fields(data: bytes, form: str, offset: int = 0) -> tuple[int, ...]:
    """Little-endian numbers out of bytes."""
    try:
        return struct.unpack_from("<" + form, data, offset)
    except struct.error as problem:
        raise BrokenFileError(f"has a header that ends too early ({problem})") from problem


def slice_bytes(data: bytes, offset: int, count: int) -> bytes:
    """Bytes out of bytes, all of them there."""
    if offset < 0 or count < 0 or offset + count > len(data):
        raise BrokenFileError("has a header that ends too early")
    return data[offset : offset + count]


def read_root_address(source: CheckedFile) -> int:
    """Where the root group's header lies."""
    if source.size < 48 or source.read(0, 8) != _SIGNATURE:
        raise BrokenFileError("is not an HDF5 file; expected an ilastik project (.ilp)")
    version = source.read(8, 1)[0]
    at = {0: (13, 24, 64), 1: (13, 28, 68), 2: (9, 12, 36), 3: (9, 12, 36)}.get(version)
    if at is None:
        raise BrokenFileError(f"has an HDF5 superblock of version {version}; known are 0 to 3")
    sizes, base, root = at
    if tuple(source.read(sizes, 2)) != (8, 8) or source.unpack("Q", base) != (0,):
        raise BrokenFileError("has HDF5 addresses of an unusual size or base")
    return source.unpack("Q", root)[0]


def read_messages(source: CheckedFile, address: int) -> list[Message]:
    """All messages of the object header at an address."""
    modern = source.read(address, 4) == b"OHDR"
    found: list[Message] = []
    pending = [_first_block_v2(source, address) if modern else _first_block(source, address)]
    seen: set[int] = set()
    while pending:
        begin, end, ordered = pending.pop()
        if begin in seen:
            raise BrokenFileError("has an object header that leads back to itself")
        seen.add(begin)
        for message in _parse_messages(source.read(begin, end - begin), modern=modern, ordered=ordered):
            if message.kind == _CONTINUATION:
                offset, length = message.unpack("QQ")
                pending.append((offset + 4, offset + length - 4, ordered) if modern else (offset, offset + length, 0))
            found.append(message)
        if len(found) > _MAX_MESSAGES:
            raise BrokenFileError(f"has an object header of more than {_MAX_MESSAGES} messages")
    return found


def _first_block(source: CheckedFile, address: int) -> tuple[int, int, int]:
    version, _, _, _, size = source.unpack("BBHII", address)
    if version != 1:
        raise BrokenFileError(f"has no object header at {address}")
    return address + 16, address + 16 + size, 0


def _first_block_v2(source: CheckedFile, address: int) -> tuple[int, int, int]:
    version, flags = source.unpack("BB", address + 4)
    if version != 2:
        raise BrokenFileError(f"has an object header of version {version}")
    at = address + 6 + (16 if flags & 0x20 else 0) + (4 if flags & 0x10 else 0)
    width = 1 << (flags & 3)
    size = int.from_bytes(source.read(at, width), "little")
    return at + width, at + width + size, flags & 4


def _parse_messages(data: bytes, *, modern: bool, ordered: int) -> Iterator[Message]:
    at, head = 0, (4 + (2 if ordered else 0)) if modern else 8
    while at + head <= len(data):
        kind, size, flags = unpack_fields(data, "BHB" if modern else "HHB", at)
        body = slice_bytes(data, at + head, size)
        if flags & 2 and kind not in (0, _CONTINUATION):
            body = b""  # stored elsewhere (a committed type); whoever needs it finds it too short and refuses
        yield Message(kind, body)
        at += head + size


def read_links(source: CheckedFile, found: list[Message]) -> dict[str, int | None]:
    """Names of a group's children and where their headers lie; None for links that are not plain hard links."""
    children: dict[str, int | None] = {}
    for message in found:
        if message.kind == _SYMBOL_TABLE:
            tree, heap = message.unpack("QQ")
            children.update(_read_symbol_table(source, tree, heap))
        elif message.kind == _LINK:
            children.update([_parse_link(message.data)])
        elif message.kind == _LINK_INFO:
            flags = message.unpack("BB")[1]
            heap, tree = message.unpack("QQ", 10 if flags & 1 else 2)
            if heap != UNDEFINED:
                children.update(_parse_link(data) for data in _read_dense_links(source, heap, tree))
        if len(children) > _MAX_LINKS:
            raise BrokenFileError(f"has a group of more than {_MAX_LINKS} links")
    return children


def _decode_name(raw: bytes) -> str:
    return raw.decode("utf-8", "surrogateescape")


def _read_symbol_table(source: CheckedFile, tree: int, heap: int) -> Iterator[tuple[str, int | None]]:
    if source.read(heap, 4) != b"HEAP":
        raise BrokenFileError("has a group without names")
    size, _, names_at = source.unpack("QQQ", heap + 8)
    names = source.read(names_at, min(size, max(source.size - names_at, 0)))
    for node in _read_btree_addresses(source, tree, kind=0, key=8):
        if source.read(node, 4) != b"SNOD":
            raise BrokenFileError("has a group whose index is broken")
        (count,) = source.unpack("H", node + 6)
        for offset, address, cache in struct.iter_unpack("<QQI20x", source.read(node + 8, 40 * count)):
            end = names.find(b"\0", offset)
            if offset >= len(names) or end < 0:
                raise BrokenFileError("has a link without a name")
            yield _decode_name(names[offset:end]), None if cache == 2 else address


def _read_btree_addresses(source: CheckedFile, address: int, *, kind: int, key: int) -> Iterator[int]:
    """Addresses in the leaves of a version 1 B-tree."""
    for _, child in read_btree_entries(source, address, kind=kind, key=key):
        yield child


def read_btree_entries(source: CheckedFile, address: int, *, kind: int, key: int) -> Iterator[tuple[bytes, int]]:
    """Keys and addresses in the leaves of a version 1 B-tree whose keys have that many bytes."""
    pending, seen = [(address, -1)], set()
    while pending:
        at, above = pending.pop()
        if at in seen or source.read(at, 4) != b"TREE":
            raise BrokenFileError("has an index that is broken or leads back to itself")
        seen.add(at)
        own, level, count = source.unpack("BBH", at + 4)
        if own != kind or (above >= 0 and level != above - 1) or level > _MAX_DEPTH:
            raise BrokenFileError("has an index of the wrong kind")
        body = source.read(at + 24, count * (key + 8))
        entries = [
            (body[i : i + key], int.from_bytes(body[i + key : i + key + 8], "little"))
            for i in range(0, len(body), key + 8)
        ]
        if level:
            pending += [(child, level) for _, child in reversed(entries)]
        else:
            yield from entries


def _parse_link(data: bytes) -> tuple[str, int | None]:
    version, flags = unpack_fields(data, "BB")
    if version != 1:
        raise BrokenFileError(f"has a link of version {version}")
    at, kind = 2, 0
    if flags & 8:
        kind, at = data[at] if at < len(data) else 255, at + 1
    at += (8 if flags & 4 else 0) + (1 if flags & 16 else 0)
    width = 1 << (flags & 3)
    length = int.from_bytes(slice_bytes(data, at, width), "little")
    name = _decode_name(slice_bytes(data, at + width, length))
    return name, unpack_fields(data, "Q", at + width + length)[0] if kind == 0 else None


def _read_dense_links(source: CheckedFile, heap: int, tree: int) -> Iterator[bytes]:
    """Link messages out of a fractal heap, in the order of its index by name (a version 2 B-tree)."""
    store = _FractalHeap.read(source, heap)
    if source.read(tree, 4) != b"BTHD":
        raise BrokenFileError("has a group whose index is broken")
    _, kind, node_size, record, depth, _, _, root, count = source.unpack("BBIHHBBQH", tree + 4)
    if kind != 5 or record != 11 or depth > 1 or node_size > 2**16:
        raise BrokenFileError("has a group of more links than are read here")
    nodes = [(root, count)]
    if depth:
        nodes = []
        width = (((node_size - 10) // record).bit_length() + 7) // 8
        body = source.read(root + 6, count * record + (count + 1) * (8 + width))
        for i in range(count + 1):
            at = count * record + i * (8 + width)
            child, own = int.from_bytes(body[at : at + 8], "little"), body[at + 8 : at + 8 + width]
            nodes.append((child, int.from_bytes(own, "little")))
        for i in range(count):
            yield store.object(source, body[i * record + 4 : (i + 1) * record])
    for address, own_count in nodes:
        if source.read(address, 4) != b"BTLF":
            raise BrokenFileError("has a group whose index is broken")
        body = source.read(address + 6, own_count * record)
        for i in range(own_count):
            yield store.object(source, body[i * record + 4 : (i + 1) * record])


@dataclass(frozen=True)
class _FractalHeap:
    """A fractal heap: direct blocks by where they begin in the heap's own space."""

    width: int
    blocks: tuple[tuple[int, int, int], ...]

    @classmethod
    def read(cls, source: CheckedFile, address: int) -> _FractalHeap:
        if source.read(address, 4) != b"FRHP" or source.unpack("H", address + 7) != (0,):
            raise BrokenFileError("has a group whose heap is broken or filtered")
        table_width, start, most, bits = source.unpack("HQQH", address + 110)
        root, rows = source.unpack("QH", address + 132)
        width = (bits + 7) // 8
        if not rows:
            return cls(width, ((0, start, root),))
        if source.read(root, 4) != b"FHIB" or table_width > 64 or rows > 64 or start > 2**31:
            raise BrokenFileError("has a group whose heap is broken")
        children = struct.unpack(f"<{rows * table_width}Q", source.read(root + 13 + width, 8 * rows * table_width))
        blocks, begin = [], 0
        for i, child in enumerate(children):
            row = i // table_width
            size = start << max(row - 1, 0)
            if size > most:
                raise BrokenFileError("has a group of more links than are read here")
            if child != UNDEFINED:
                blocks.append((begin, size, child))
            begin += size
        return cls(width, tuple(blocks))

    def object(self, source: CheckedFile, identity: bytes) -> bytes:
        """The object of a heap id."""
        if identity[0] & 0x30:
            raise BrokenFileError("has a link with a name that is stored in an unusual way")
        offset = int.from_bytes(identity[1 : 1 + self.width], "little")
        length = int.from_bytes(identity[1 + self.width :], "little")
        for begin, size, address in self.blocks:
            if begin <= offset and offset + length <= begin + size:
                return source.read(address + offset - begin, length)
        raise BrokenFileError("has a link outside of its heap")
