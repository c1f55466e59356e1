"""Reader of the tags in a cellSens ``.vsi`` file: nested volumes of numbered tags, little-endian."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

__all__ = ["Dimension", "Path", "Tag", "has_external_tiles", "read_dimensions", "read_tags"]

_HEADER = struct.Struct("<hhiqi")  # size, version, volume's version, offset and number of its tags
_FIELD = struct.Struct("<iiIi")  # type and flags, tag, offset of the next one, bytes
_FIRST = 8
_HAS_NUMBER, _IS_VOLUME, _IS_INLINE = 1 << 27, 1 << 28, 1 << 30
_TEXT = 8192
_MOST_DEPTH = 30

_IMAGES, _DIMENSION, _ALONG, _MEANING, _NAME = 2001, 2007, 2008, 2023, 2021
_HAS_EXTERNAL_FILE = 20005
_MEANINGS = {1: "z", 2: "t", 4: "c"}

Path = tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class Tag:
    """One value and its path: pairs of tag and number (-1 for none) from the outside in."""

    path: Path
    kind: int
    value: bytes
    inline: int


@dataclass(frozen=True)
class Dimension:
    """An axis of an image beyond x and y: its meaning (``z``, ``c``, ``t`` or unknown) and the names along it."""

    meaning: str
    names: tuple[str, ...]


def read_tags(data: bytes) -> Iterator[Tag]:
    """Yield all values of a file, without those in damaged volumes."""
    yield from _volume(data, _FIRST, ())


def _volume(data: bytes, start: int, path: Path) -> Iterator[Tag]:
    if len(path) > _MOST_DEPTH or not 0 <= start <= len(data) - _HEADER.size:
        return
    *_, first, count = _HEADER.unpack_from(data, start)
    at = start + first
    for _ in range(count & 0xFFFFFFF):
        if not 0 <= at <= len(data) - _FIELD.size:
            return
        flags, tag, following, size = _FIELD.unpack_from(data, at)
        begin = at + _FIELD.size
        number = -1
        if flags & _HAS_NUMBER and begin + 4 <= len(data):
            (number,) = struct.unpack_from("<i", data, begin)
            begin += 4
        here = (*path, (tag, number))
        if flags & _IS_VOLUME and flags & 0xFFFFFF in (0, 1, 2):
            yield from _volume(data, begin, here)
        else:
            inline = bool(flags & _IS_INLINE)
            yield Tag(here, flags & 0xFFFFFF, b"" if inline else data[begin : begin + max(0, size)], size)
        if following == 0 or start + following <= at:
            return
        at = start + following


def has_external_tiles(found: list[Tag]) -> bool:
    """Whether the file says that its pixels are in other files."""
    said = (tag for tag in found if tag.path[-1][0] == _HAS_EXTERNAL_FILE)
    return any(int.from_bytes(tag.value[:4], "little") if tag.value else tag.inline for tag in said)


def read_dimensions(found: list[Tag], image: int) -> tuple[Dimension, ...]:
    """Return the axes of the image with this number, in the order of its tiles' positions."""
    meanings: dict[int, str] = {}
    names: dict[int, dict[int, str]] = {}
    for tag in found:
        place = _place(tag.path, image)
        if place is None:
            continue
        axis, along = place
        names.setdefault(axis, {})
        if tag.path[-1][0] == _MEANING:
            meanings[axis] = _MEANINGS.get(tag.inline, "")
        elif tag.path[-1][0] == _NAME and tag.kind == _TEXT:
            names[axis][along] = tag.value.decode("utf-16-le", "replace").rstrip("\0")
    return tuple(Dimension(meanings.get(i, ""), tuple(n for _, n in sorted(names[i].items()))) for i in sorted(names))


def _place(path: Path, image: int) -> tuple[int, int] | None:
    """Return axis and position that a tag of the image describes; None for other tags."""
    if len(path) < 4 or path[-4] != (_IMAGES, image) or path[-3][0] != _DIMENSION or path[-2][0] != _ALONG:
        return None
    return path[-3][1], path[-2][1]
